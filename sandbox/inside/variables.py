"""Variables of the interpreter to bytes and back, each on its own; runs in the kernel, and nothing here is trusted.

What refers to the interpreter's namespace (functions, methods) refers to it again after loading, not to a copy of it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
from collections.abc import Iterator
from typing import Any

_RECORD = struct.Struct(">II")  # lengths of the JSON header and of the pickle
MAX_NAMED = 200  # names told of either kind
NAMESPACE = "namespace"


class TooBig(Exception):
    """A variable over its bound."""


class _Bounded(io.RawIOBase):
    """Writes to a descriptor at a place, up to a limit."""

    def __init__(self, fd: int, start: int, limit: int) -> None:
        self._fd = fd
        self.position = start
        self._end = start + limit

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.position + len(view) > self._end:
            raise TooBig
        written = 0
        while written < len(view):
            written += os.pwrite(self._fd, view[written:], self.position + written)
        self.position += written
        return written


def _pickler(namespace: dict[str, Any]) -> Any:
    """A pickler class for which the interpreter's namespace is a name, not a value."""
    import cloudpickle
    from cloudpickle import cloudpickle as internals

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, value: Any) -> Any:
            return NAMESPACE if value is namespace else None

        def _dynamic_function_reduce(self, function: Any) -> Any:
            reduced = super()._dynamic_function_reduce(function)
            if function.__globals__ is not namespace:
                return reduced
            make, arguments, state, *rest = reduced
            state[1]["__globals__"] = {}  # else every function carries copies of what it refers to
            return make, (arguments[0], namespace, *arguments[2:]), state, *rest

    assert hasattr(internals.Pickler, "_dynamic_function_reduce")  # noqa: S101 - the hook we hang on
    return Pickler


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, namespace: dict[str, Any]) -> None:
        super().__init__(file)
        self._namespace = namespace

    def persistent_load(self, name: Any) -> Any:
        if name != NAMESPACE:
            raise pickle.UnpicklingError(f"unknown reference {name!r}")
        return self._namespace


def save(shell: Any, fd: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Write the variables to `fd`, as many as fit; what was kept and what was not, with the reason."""
    until = time.monotonic() + float(limits["seconds"])
    namespace = shell.user_ns
    pickler = _pickler(namespace)
    kept: list[str] = []
    lost: list[list[str]] = []
    position = 0
    for names in _groups(shell):
        try:
            if time.monotonic() > until:
                raise TimeoutError("no time was left")
            room = min(int(limits["each"]), int(limits["all"]) - position)
            position = _write(fd, position, names, namespace[names[0]], pickler, room)
            kept += names
        except KeyboardInterrupt:
            lost += [[name, "took too long"] for name in names]
        except BaseException as error:  # noqa: BLE001 - whatever the user's own pickling raises
            lost += [[name, _why(error)] for name in names]
    os.ftruncate(fd, position)
    return {"kept": kept[:MAX_NAMED], "kept_count": len(kept), "lost": lost[:MAX_NAMED], "cwd": os.getcwd()}


def _groups(shell: Any) -> Iterator[list[str]]:
    """Names of the user's variables, those of one object together, so that they are one object again."""
    groups: dict[int, list[str]] = {}
    for name, value in list(shell.user_ns.items()):
        if isinstance(name, str) and not name.startswith("_") and name not in shell.user_ns_hidden:
            groups.setdefault(id(value), []).append(name)
    yield from groups.values()


def _write(fd: int, position: int, names: list[str], value: Any, pickler: Any, room: int) -> int:
    header = json.dumps({"names": names}).encode()
    start = position + _RECORD.size + len(header)
    target = _Bounded(fd, start, room)
    buffered = io.BufferedWriter(target, 1 << 16)
    pickler(buffered, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    buffered.flush()
    # the head comes last: a record without one is not there
    os.pwrite(fd, _RECORD.pack(len(header), target.position - start) + header, position)
    return target.position


def _why(error: BaseException) -> str:
    if isinstance(error, TooBig):
        return "too big"
    if isinstance(error, OSError):
        return "no room was left"
    return str(error)[:120] or type(error).__name__


def load(shell: Any, fd: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Put the variables that `save` wrote back into the namespace; what came and what did not."""
    until = time.monotonic() + float(limits["seconds"])
    kept: list[str] = []
    lost: list[list[str]] = []
    for names, body in _records(fd):
        try:
            if time.monotonic() > until:
                raise TimeoutError("no time was left")
            value = _Unpickler(io.BytesIO(body), shell.user_ns).load()
            shell.user_ns.update(dict.fromkeys(names, value))
            kept += names
        except KeyboardInterrupt:
            lost += [[name, "took too long"] for name in names]
        except BaseException as error:  # noqa: BLE001 - whatever the user's own unpickling raises
            lost += [[name, _why(error)] for name in names]
    try:
        os.chdir(str(limits.get("cwd") or "."))
    except OSError:
        pass  # a folder that was not saved: the workspace itself will do
    return {"kept": kept[:MAX_NAMED], "kept_count": len(kept), "lost": lost[:MAX_NAMED]}


def _records(fd: int) -> Iterator[tuple[list[str], bytes]]:
    position = 0
    while len(head := os.pread(fd, _RECORD.size, position)) == _RECORD.size:
        header_size, size = _RECORD.unpack(head)
        if header_size == 0:
            return  # written by nobody: the save was cut off here
        position += _RECORD.size
        header = json.loads(os.pread(fd, header_size, position))
        position += header_size
        yield [str(name) for name in header["names"]], os.pread(fd, size, position)
        position += size
