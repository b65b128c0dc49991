"""Files of the workspace as one stream of records and back. Supervisors write and read it; to the host it is bytes.

A record is a length, a JSON header and, for a file, its bytes. Nothing is followed and nothing is trusted on the way
in: a stream that was tampered with spoils one workspace at most.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Iterator
from typing import Any

from .files import READ_FLAGS, Refused, Workspace, open_folder
from .frames import MAX_PAYLOAD
from .packages import too_big

MAX_HEADER = 16 * 1024  # bytes of one record's JSON
MAX_DEPTH = 40  # folders below the workspace; site-packages are deep
MAX_NAMED = 20  # of what is left out; the rest is counted
SKIPPED = {".tmp", ".cache", ".ipython", "__pycache__"}  # made again by whoever needs them
LAST = ".local"  # packages can be installed again: what people made is saved first
_LENGTH = struct.Struct(">I")


class LeftOut:
    """What did not come along: the first names and the count of all."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.count = 0

    def add(self, name: str, why: str) -> None:
        """Note one."""
        self.count += 1
        if len(self.names) < MAX_NAMED:
            self.names.append(f"{name[:200]} ({why})")


class Packer:
    """Walks the workspace and yields its records, up to `limit` bytes of files."""

    def __init__(self, workspace: Workspace, limit: int) -> None:
        self._workspace = workspace
        self._limit = limit
        self._left_paths: set[str] = set()
        self.left_packages: list[str] = []
        """Those that there is no room for, as name==version."""
        self.left_out = LeftOut()
        self.files = 0
        self.bytes = 0

    def chunks(self) -> Iterator[bytes]:
        """The records of everything, the installed packages last."""
        root = open_folder(self._workspace.root)
        try:
            for name in sorted(os.listdir(root), key=lambda name: (name == LAST, name)):
                if name == LAST:
                    self.left_packages, self._left_paths = too_big(self._workspace, self._limit - self.bytes)
                if name not in SKIPPED:
                    yield from self._entry(root, name, name, 0)
        finally:
            os.close(root)

    def _entry(self, folder: int, name: str, path: str, depth: int) -> Iterator[bytes]:
        if path in self._left_paths:
            return
        try:
            yield from self._open_entry(folder, name, path, depth)
        except OSError as error:
            self.left_out.add(path, str(error.strerror).lower())

    def _open_entry(self, folder: int, name: str, path: str, depth: int) -> Iterator[bytes]:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            yield record({"k": "link", "p": path, "l": os.readlink(name, dir_fd=folder)})
        elif stat.S_ISDIR(info.st_mode):
            yield from self._folder(folder, name, path, depth, info)
        elif not stat.S_ISREG(info.st_mode):
            self.left_out.add(path, "not a regular file")
        elif info.st_size > self._limit - self.bytes:
            self.left_out.add(path, f"{info.st_size:,} bytes")
        else:
            yield from self._file(folder, name, path, info)

    def _folder(self, folder: int, name: str, path: str, depth: int, info: os.stat_result) -> Iterator[bytes]:
        if depth >= MAX_DEPTH:
            self.left_out.add(path, f"deeper than {MAX_DEPTH} folders")
            return
        head = record({"k": "dir", "p": path, "m": info.st_mode & 0o777})
        if not self._left_paths:
            yield head
            head = b""  # else only with something in it: Python imports the empty folder of a package that was left out
        inner = open_folder(name, folder)
        try:
            for entry in sorted(os.listdir(inner)):
                if entry not in SKIPPED:
                    for piece in self._entry(inner, entry, f"{path}/{entry}", depth + 1):
                        if head:
                            yield head
                            head = b""
                        yield piece
        finally:
            os.close(inner)

    def _file(self, folder: int, name: str, path: str, info: os.stat_result) -> Iterator[bytes]:
        fd = os.open(name, READ_FLAGS, dir_fd=folder)
        try:
            size = info.st_size
            yield record({"k": "file", "p": path, "s": size, "m": info.st_mode & 0o777, "t": info.st_mtime_ns})
            yield from read_exactly(fd, size)
        finally:
            os.close(fd)
        self.files += 1
        self.bytes += size


def record(header: dict[str, Any]) -> bytes:
    """A header as the stream has it; a name that is no UTF-8 keeps its bytes as surrogates."""
    data = json.dumps(header).encode()
    return _LENGTH.pack(len(data)) + data


def read_exactly(fd: int, size: int) -> Iterator[bytes]:
    """`size` bytes of a file from its start; one that is shorter by now is filled up with zeros."""
    position = 0
    while position < size:
        data = os.pread(fd, min(MAX_PAYLOAD, size - position), position)
        data = data or bytes(min(MAX_PAYLOAD, size - position))
        position += len(data)
        yield data


class Unpacker:
    """Takes the stream in pieces cut anywhere and puts the files in their places; `variables` gets what is for them."""

    def __init__(self, workspace: Workspace, variables: int) -> None:
        self._root = workspace.root
        self._variables = variables
        self._buffer = bytearray()
        self._left = 0  # bytes of the record's body still to come
        self._fd = -1
        self._header: dict[str, Any] = {}
        self.left_out = LeftOut()
        self.files = 0
        self.variable_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take a piece. Raises Refused for what is no stream of records."""
        self._buffer += data
        while self._buffer:
            if self._left:
                taken = bytes(self._buffer[: self._left])
                del self._buffer[: len(taken)]
                self._body(taken)
            elif not self._begin():
                return

    def _begin(self) -> bool:
        if len(self._buffer) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_HEADER:
            raise Refused("the saved state is damaged")
        if len(self._buffer) < _LENGTH.size + length:
            return False
        data = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        try:
            header = json.loads(data)
            self._left = int(header.get("s", 0))
            path = str(header.get("p", ""))
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise Refused("the saved state is damaged") from error
        if self._left < 0:
            raise Refused("the saved state is damaged")
        self._header = header
        try:
            self._place(header, path)
        except (OSError, Refused) as error:
            self.left_out.add(path, str(error))
        if self._left == 0:
            self._end()
        return True

    def _place(self, header: dict[str, Any], path: str) -> None:
        kind = header.get("k")
        if kind == "vars":
            self._fd = os.dup(self._variables)
            self.variable_bytes = self._left
            return
        *folders, name = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in (*folders, name) or "\0" in path:
            raise Refused("not a path in the workspace")
        folder = self._folder(folders)
        try:
            if kind == "dir":
                os.mkdir(name, 0o700, dir_fd=folder)
            elif kind == "link":
                os.symlink(str(header.get("l")), name, dir_fd=folder)
            elif kind == "file":
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(name, flags, 0o600, dir_fd=folder)
        except FileExistsError:
            return  # the image or the supervisor made it before us
        finally:
            os.close(folder)

    def _folder(self, names: list[str]) -> int:
        fd = open_folder(self._root)
        for name in names:
            try:
                inner = open_folder(name, fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _body(self, data: bytes) -> None:
        self._left -= len(data)
        if self._fd >= 0:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError as error:
                self.left_out.add(str(self._header.get("p")), str(error.strerror).lower())
                os.close(self._fd)
                self._fd = -1
        if self._left == 0:
            self._end()

    def _end(self) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self._header.get("k") == "file":
            self.files += 1
            os.fchmod(fd, int(self._header.get("m", 0o600)) & 0o777)
            moment = int(self._header.get("t", 0))
            os.utime(fd, ns=(moment, moment))
        os.close(fd)
