"""What pip has installed for the thread, beyond what the image has."""

from __future__ import annotations

import glob
import os

MAX_PACKAGES = 100
_ENDING = ".dist-info"


def installed(home: str) -> list[str]:
    """Requirements as name==version, by the names of folders alone: the files in them are the user's to forge."""
    folders = glob.glob(os.path.join(home, ".local", "lib", "python*", "site-packages", f"*{_ENDING}"))
    found: list[str] = []
    for folder in sorted(folders)[:MAX_PACKAGES]:
        name, _, version = os.path.basename(folder)[: -len(_ENDING)].partition("-")
        found.append(f"{name}=={version}"[:200])
    return found
