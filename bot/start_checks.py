"""What can be seen to be wrong in the settings before anything is begun: by what each command makes of them."""

from __future__ import annotations

import os
from pathlib import Path

from bot.errors import ConfigurationError
from bot.folder import is_ours
from bot.sandbox_setup import egress_words, extra_packages, host_proxy, make_blobs
from bot.settings import Check, Settings


def check_folder(settings: Settings) -> None:
    """Can the data folder be made and written to? Raises ConfigurationError."""
    folder = settings.folder
    _check_writable("THREADBOX_DATA_DIR", folder)
    if folder.exists() and not is_ours(folder):
        raise ConfigurationError(f"THREADBOX_DATA_DIR: {folder} holds other things. Name a folder for Threadbox alone.")


def check_blobs(settings: Settings) -> None:
    """Can there be a blob store at that place? Nothing is made. Raises ConfigurationError."""
    if settings.blobs_url is None:
        return
    if "://" in settings.blobs_url:
        make_blobs(settings)
    else:
        _check_writable("THREADBOX_BLOBS_URL", Path(settings.blobs_url).expanduser().resolve())


def _check_writable(name: str, folder: Path) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigurationError(f"{name}: {place} is not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{name}: I may not write to {place}.")


IMAGE: tuple[Check, ...] = (extra_packages,)
"""For commands that need the sandbox image alone."""
SANDBOX: tuple[Check, ...] = (*IMAGE, egress_words, host_proxy)
"""For those that start sandboxes."""
APP: tuple[Check, ...] = (*SANDBOX, check_folder, check_blobs)
"""For those that open what is kept too."""
