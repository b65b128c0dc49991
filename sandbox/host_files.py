"""Files of the host that are copied into a sandbox, and files of a sandbox that are written on the host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal

from sandbox.errors import FileRefused
from sandbox.limits import MIB

MAX_COPIED_FILES = 200  # of one folder
MAX_COPIED_BYTES = 64 * MIB  # of one file
SAME_NAME_MOST = 10_000


def read_files(root: Path) -> list[tuple[str, bytes]]:
    """The regular files below `root`, made if it is not there, as (name, content); links are left out."""
    root.mkdir(parents=True, exist_ok=True)
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    small = [path for path in paths[:MAX_COPIED_FILES] if path.stat().st_size <= MAX_COPIED_BYTES]
    return [(path.relative_to(root).as_posix(), path.read_bytes()) for path in small]


def write_inside(root: Path, name: str, data: bytes) -> Path:
    """Write a file that a sandbox named, below `root` whatever the name; links in `root` are not followed.

    Raises FileRefused.
    """
    return _write(root, name, data, "wb")


def write_beside(root: Path, name: str, data: bytes) -> Path:
    """The same, but what is there already stays: the name then gets a number.

    Raises FileRefused.
    """
    path = PurePosixPath(name)
    for number in range(1, SAME_NAME_MOST + 1):
        with suppress(FileExistsError):
            numbered = name if number == 1 else str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            return _write(root, numbered, data, "xb")
    raise FileRefused(f"{SAME_NAME_MOST:,} files are called {name} already")


def _write(root: Path, name: str, data: bytes, mode: Literal["wb", "xb"]) -> Path:
    parts = name.split("/")
    if not name or ".." in parts or name.startswith("/") or "\0" in name:
        raise FileRefused(f"{name!r} is no name for a file")
    target = root.joinpath(*parts)
    for folder in reversed(target.relative_to(root).parents):
        if (root / folder).is_symlink():
            raise FileRefused(f"{folder} is a link")
    if mode == "wb" and (target.is_symlink() or target.is_dir()):
        raise FileRefused(f"{name} is a link or a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open(mode) as file:
            file.write(data)
    except OSError as error:
        if isinstance(error, FileExistsError) and target.parent.is_dir():
            raise
        raise FileRefused(f"{name}: {error.strerror}") from error
    return target
