"""What pip has installed for the thread, and which of it does not fit into what is kept."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from .files import Refused, Workspace

MAX_PACKAGES = 100
MAX_RECORD = 4 * 1024 * 1024  # bytes of one package's list of files
MAX_PATHS = 100_000  # of all packages: as many files as a workspace may have
_ENDING = ".dist-info"


class Package(NamedTuple):
    """One, with its files as paths below the workspace."""

    requirement: str
    paths: set[str]
    size: int


def too_big(workspace: Workspace, room: int) -> tuple[list[str], set[str]]:
    """What is left out where the smallest packages are kept first: as name==version, and all paths of theirs.

    Whole packages: pip takes one for installed that has lost a file, and never mends it.
    """
    left: list[Package] = []
    kept: set[str] = set()
    for package in sorted(_installed(workspace), key=lambda package: package.size):
        if package.size > room:
            left.append(package)
        else:
            room -= package.size
            kept |= package.paths
    paths = {path for package in left for path in package.paths}
    return sorted(package.requirement for package in left), paths - kept


def _installed(workspace: Workspace) -> Iterator[Package]:
    """The names come from folders, what belongs to them from files that the user can forge: at his own cost."""
    pattern = os.path.join(glob.escape(workspace.root), ".local", "lib", "python*", "site-packages", f"*{_ENDING}")
    count = 0
    for folder in sorted(glob.glob(pattern))[:MAX_PACKAGES]:
        name, _, version = os.path.basename(folder)[: -len(_ENDING)].partition("-")
        below = os.path.relpath(folder, workspace.root)
        paths: set[str] = {below}
        try:
            for path in _recorded(workspace, below):
                count += 1
                if count > MAX_PATHS:
                    return
                paths.add(path)
        except Refused:
            continue  # its files are kept or left out one by one
        yield Package(f"{name}=={version}"[:200], paths, sum(_size(workspace, path) for path in paths))


def _recorded(workspace: Workspace, folder: str) -> Iterator[str]:
    """The files that pip noted for a package; caches are made again. Raises Refused."""
    site = os.path.dirname(folder)
    fd, _ = workspace.open_for_reading(f"{folder}/RECORD", MAX_RECORD)
    with open(fd, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            path = os.path.normpath(os.path.join(site, line.rstrip("\n").rsplit(",", 2)[0].strip('"')))
            if path.startswith(".local/") and "__pycache__" not in path:
                yield path


def _size(workspace: Workspace, path: str) -> int:
    try:
        info = os.lstat(os.path.join(workspace.root, path))
    except (OSError, ValueError):
        return 0  # gone, or no path at all
    return info.st_size if stat.S_ISREG(info.st_mode) else 0
