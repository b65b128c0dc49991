"""Files of the workspace as the supervisor sees them: listed, read and written without ever following a link."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_ENTRIES = 5000  # entries looked at in one scan
MAX_SECONDS = 0.05  # time one scan may take
MAX_DEPTH = 10  # folders below the workspace
MAX_LISTED = 200  # files named in one outcome
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Refused(Exception):
    """A path or file that is not handed over; the text says why."""


class Stamp(NamedTuple):
    """What must differ for a file to count as changed."""

    inode: int
    size: int
    mtime_ns: int


class Workspace:
    """The folder of the user's files."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._seen: dict[str, Stamp] = {}

    def changes(self) -> list[dict[str, Any]]:
        """Regular files new or changed since the last call, hidden folders left out, as {path, size}."""
        now = dict(self._scan())
        changed = [path for path, stamp in now.items() if self._seen.get(path) != stamp]
        self._seen = now
        return [{"path": path, "size": now[path].size} for path in sorted(changed)[:MAX_LISTED]]

    def _scan(self) -> Iterator[tuple[str, Stamp]]:
        stop_at = time.monotonic() + MAX_SECONDS
        folders = [("", 0)]
        left = MAX_ENTRIES
        while folders:
            folder, depth = folders.pop()
            try:
                with os.scandir(os.path.join(self.root, folder)) as entries:
                    for entry in entries:
                        left -= 1
                        if left < 0 or time.monotonic() > stop_at:
                            return
                        if entry.name.startswith(".") or entry.name == "__pycache__":
                            continue
                        path = os.path.join(folder, entry.name)
                        if entry.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                            folders.append((path, depth + 1))
                        elif entry.is_file(follow_symlinks=False):
                            info = entry.stat(follow_symlinks=False)
                            yield path, Stamp(info.st_ino, info.st_size, info.st_mtime_ns)
            except OSError:
                continue

    def open_for_reading(self, path: str, limit: int) -> tuple[int, int]:
        """A descriptor and the size of a regular file of at most `limit` bytes. Raises Refused."""
        *folders, name = _parts(path)
        folder = self._folder(folders, create=False)
        try:
            fd = os.open(name, READ_FLAGS, dir_fd=folder)
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error
        finally:
            os.close(folder)
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode) and info.st_size <= limit:
            return fd, info.st_size
        os.close(fd)
        if not stat.S_ISREG(info.st_mode):
            raise Refused(f"{path}: not a regular file")
        raise Refused(f"{path}: {info.st_size} bytes, over the limit of {limit}")

    def upload(self, path: str) -> Upload:
        """A file that takes its place at `path` once it is complete. Raises Refused."""
        *folders, name = _parts(path)
        return Upload(self._folder(folders, create=True), name)

    def _folder(self, names: list[str], *, create: bool) -> int:
        fd = open_folder(self.root)
        for name in names:
            try:
                if create:
                    try:
                        os.mkdir(name, 0o755, dir_fd=fd)
                    except FileExistsError:
                        pass
                inner = open_folder(name, fd)
            except OSError as error:
                raise Refused(f"{name}: {error.strerror}") from error
            finally:
                os.close(fd)
            fd = inner
        return fd


class Upload:
    """One file on its way in: written beside its place, then renamed over it."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self._part = f".upload-{os.urandom(6).hex()}"
        self.error: str | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._fd = os.open(self._part, flags, 0o644, dir_fd=folder)
        except OSError:
            os.close(folder)
            raise

    def write(self, data: bytes) -> None:
        """Append; the first failure (no space left, say) is kept for `finish`."""
        if self.error is None:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError as error:
                self.error = str(error.strerror)

    def finish(self) -> str | None:
        """Put the file in its place; the error's text where that failed."""
        os.close(self._fd)
        try:
            if self.error is None:
                os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            else:
                os.unlink(self._part, dir_fd=self._folder)
        except OSError as error:
            self.error = str(error.strerror)
            try:
                os.unlink(self._part, dir_fd=self._folder)
            except OSError:
                pass  # the user's code took it
        os.close(self._folder)
        return self.error


def open_folder(name: str, folder: int | None = None) -> int:
    """A descriptor of a folder that is no link. Raises OSError."""
    # not O_DIRECTORY: with it gVisor follows a link although O_NOFOLLOW is there too
    fd = os.open(name, READ_FLAGS, dir_fd=folder)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)


def _parts(path: str) -> list[str]:
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise Refused(f"{path[:80]!r} is not a path in the workspace") from error
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or len(parts) > MAX_DEPTH + 1 or ".." in parts or "\0" in path or len(path) > 1024:
        raise Refused(f"{path[:80]!r} is not a path in the workspace")
    return parts
