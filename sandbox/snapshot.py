"""A sandbox's files and variables out to the blob store and back into another sandbox.

The stream is made by one supervisor and read by another; the host stores it, and believes of it only the summary,
which it bounds. Whose failure a failure is: ours (the store) raises, the user's (what cannot be kept) is named.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from sandbox.blobs import Blobs
from sandbox.channel import decode_json, end_of
from sandbox.contract import Json
from sandbox.errors import BlobsUnavailable, SandboxBusy, SandboxError, SandboxGone
from sandbox.inside.frames import Frame, Kind
from sandbox.limits import MIB
from sandbox.sandbox import DOWNLOAD_WINDOW, Sandbox

MAX_NAMES = 200  # of a summary, and characters of a name
OVERHEAD = 64 * MIB  # of a stream beyond the bytes of files and variables: headers of many small files


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotLimits:
    """Bounds on what is kept of one sandbox, in MiB before compression, and on the time that it takes."""

    files_mib: int = 256
    variables_mib: int = 128
    variable_mib: int = 64
    variables_seconds: float = 5.0
    """What pickling all variables may take; what is left then is lost and named."""
    load_seconds: float = 15.0
    """What unpickling may take; importing pandas is part of it."""
    transfer_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What came along and what did not, by name."""

    files: int = 0
    variables: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """Variables and files that did not come along, each with its reason in brackets."""
    left_packages: tuple[str, ...] = ()
    """Installed packages that there was no room for, as name==version."""
    cwd: str = ""

    def to_json(self) -> Json:
        """For a record."""
        return {
            "files": self.files,
            "variables": list(self.variables),
            "lost": list(self.lost),
            "left_packages": list(self.left_packages),
            "cwd": self.cwd,
        }

    @classmethod
    def from_json(cls, value: Json) -> Summary:
        """What `to_json` gave."""
        return cls(
            files=value["files"],
            variables=tuple(value["variables"]),
            lost=tuple(value["lost"]),
            left_packages=tuple(value.get("left_packages", ())),
            cwd=value["cwd"],
        )


class Snapshots:
    """Saves and restores."""

    def __init__(self, blobs: Blobs, limits: SnapshotLimits | None = None) -> None:
        self._blobs = blobs
        self.limits = limits or SnapshotLimits()

    async def save(self, sandbox: Sandbox, name: str) -> tuple[Summary, int]:
        """Keep a live, unpaused sandbox; the summary and the bytes stored.

        Raises BlobsUnavailable when the store fails, EngineUnavailable or SandboxSilent when the sandbox cannot be
        reached, another SandboxError when it does not deliver.
        """
        try:
            return await self._save(sandbox, name)
        except SandboxGone:
            await sandbox.revive()
            return await self._save(sandbox, name)

    async def _save(self, sandbox: Sandbox, name: str) -> tuple[Summary, int]:
        reading = _Reading(sandbox, self.limits)
        try:
            limits = self.limits
            seconds = limits.transfer_seconds + limits.variables_seconds + sandbox.limits.start_seconds
            async with asyncio.timeout(seconds):
                size = await self._blobs.put(name, reading.chunks())
        except TimeoutError as error:
            if reading.waits_for_sandbox:
                raise SandboxError("The state was not there in time.") from error
            raise BlobsUnavailable("The store did not take the state in time.") from error
        return _summary(reading.end), size

    async def restore(self, sandbox: Sandbox, name: str, saved: Summary) -> Summary:
        """Fill a fresh sandbox; what came back. Raises StateMissing, BlobsUnavailable, SandboxError."""
        try:
            return await self._restore(sandbox, name, saved)
        except SandboxGone:
            await sandbox.revive()
            return await self._restore(sandbox, name, saved)  # over what came back of it

    async def _restore(self, sandbox: Sandbox, name: str, saved: Summary) -> Summary:
        limits = self.limits
        start = sandbox.limits.start_seconds
        request = {"op": "restore", "seconds": limits.load_seconds, "start": start, "cwd": saved.cwd}
        stream = sandbox.open(request)
        end: Json = {}
        sent = False
        try:
            async with asyncio.timeout(limits.transfer_seconds + limits.load_seconds + start):
                async for piece in self._blobs.get(name):
                    await stream.send(piece)
                stream.finish()
                sent = True
                async for frame in stream.frames():
                    end = end_of(frame)
        except TimeoutError as error:
            if not sent:
                raise BlobsUnavailable("The store did not give the state in time.") from error
            raise SandboxError("The state was not back in time.") from error
        finally:
            if not end:
                stream.interrupt()
        if end.get("status") != "ok":
            raise SandboxError(f"The sandbox did not take its state ({str(end.get('error'))[:200]}).")
        back = _summary(end)
        missing = [f"{name} (lost)" for name in saved.variables if name not in back.variables]
        named = {text.partition(" (")[0] for text in back.lost}
        lost = (*saved.lost, *back.lost, *(text for text in missing if text.partition(" (")[0] not in named))
        return replace(saved, files=back.files, variables=back.variables, lost=lost[:MAX_NAMES])

    async def delete(self, name: str) -> None:
        """Forget a saved state. Raises BlobsUnavailable."""
        await self._blobs.delete(name)


class _Reading:
    """The stream of one save, and whom it waits for."""

    def __init__(self, sandbox: Sandbox, limits: SnapshotLimits) -> None:
        self._sandbox = sandbox
        self._left = (limits.files_mib + limits.variables_mib) * MIB + OVERHEAD
        self._request: Json = {
            "op": "save",
            "files": limits.files_mib * MIB,
            "each": limits.variable_mib * MIB,
            "all": limits.variables_mib * MIB,
            "seconds": limits.variables_seconds,
            "start": sandbox.limits.start_seconds,
        }
        self.waits_for_sandbox = False
        self.end: Json = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes; an end that is not good raises, so that no half of a state is kept."""
        stream = self._sandbox.open(self._request)
        stream.credit(DOWNLOAD_WINDOW)
        try:
            self.waits_for_sandbox = True
            async for frame in stream.frames():
                if frame.kind is Kind.END:
                    self.end = _good_end(frame)
                elif frame.kind is Kind.DATA:
                    self._take(len(frame.payload))
                    stream.credit(len(frame.payload))
                    self.waits_for_sandbox = False
                    yield frame.payload
                    self.waits_for_sandbox = True
            self.waits_for_sandbox = False
        finally:
            if not self.end:
                stream.interrupt()  # else it would wait for our credit, and refuse the next save

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise SandboxError("The sandbox sends more than was asked for.")


def blob_name(key: str) -> str:
    """A new name for a key's state: names of people's channels stay out of the store, and no save replaces another."""
    return f"state/{hashlib.sha256(key.encode()).hexdigest()[:40]}-{os.urandom(6).hex()}"


def _good_end(frame: Frame) -> Json:
    end = decode_json(frame.payload)
    if end.get("status") == "busy":
        raise SandboxBusy("Something runs in the sandbox.")
    if end.get("status") != "ok":
        raise SandboxError(f"The sandbox did not give its state ({str(end.get('error'))[:200]}).")
    return end


def _summary(end: Json) -> Summary:
    """A supervisor's summary, bounded: the kernel, which the user owns, wrote part of it."""
    variables = end.get("variables")
    variables = variables if isinstance(variables, dict) else {}
    lost = [_named(item) for item in _list(variables.get("lost"))]
    left = [_text(item) for item in _list(end.get("left"))]
    return Summary(
        files=end["files"] if isinstance(end.get("files"), int) else 0,
        variables=tuple(_text(name) for name in _list(variables.get("kept"))),
        lost=(*lost, *left)[:MAX_NAMES],
        left_packages=tuple(_text(name) for name in _list(end.get("left_packages"))),
        cwd=_text(variables.get("cwd") or ""),
    )


def _list(value: object) -> list[object]:
    return value[:MAX_NAMES] if isinstance(value, list) else []


def _named(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_text(value[0])} ({_text(value[1])})"
    return "something"


def _text(value: object) -> str:
    return str(value)[:MAX_NAMES].encode("utf-8", "replace").decode()
