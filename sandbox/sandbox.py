"""One sandbox: code in, events out, files both ways, with the host's own clock over all of it."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

from sandbox.channel import Channel, Stream, decode_json
from sandbox.contract import Cut, Display, Engine, Json, Outcome, Output, RunEvent, WorkspaceFile
from sandbox.errors import FileRefused, SandboxBusy, SandboxError, SandboxGone, UnsupportedLanguage
from sandbox.inside.frames import Frame, Kind
from sandbox.limits import HOST_GRACE_SECONDS, INTERRUPT_GRACE_SECONDS, START_SECONDS, Limits

SHELLS = {"bash", "sh", "shell"}
PYTHONS = {"python", "py", "python3"}
DOWNLOAD_WINDOW = 512 * 1024  # bytes of a download on their way


def canonical_language(language: str) -> Literal["python", "shell"]:
    """The language a block is run as. Raises UnsupportedLanguage."""
    name = language.strip().lower()
    if name in PYTHONS:
        return "python"
    if name in SHELLS:
        return "shell"
    raise UnsupportedLanguage(
        f"Cannot run {language or 'a block with no language'!r}; the sandbox runs python and bash."
    )


class Sandbox:
    """A live container with a channel to it. One run at a time; transfers may go on beside it."""

    def __init__(self, engine: Engine, container_id: str, channel: Channel, limits: Limits) -> None:
        self.container_id = container_id
        self.limits = limits
        self.boot = ""
        self._engine = engine
        self._channel = channel
        self._running: Stream | None = None

    @classmethod
    async def start(cls, engine: Engine, sandbox_id: str, limits: Limits) -> Sandbox:
        """Create a container and greet it. Leaves nothing behind when it raises or is cancelled."""
        container_id, wire = await engine.create(sandbox_id, limits)
        channel = Channel(wire, epoch=1, nonce=os.urandom(16).hex())
        sandbox = cls(engine, container_id, channel, limits)
        try:
            async with asyncio.timeout(START_SECONDS):
                sandbox.boot = (await channel.hello()).boot
        except TimeoutError as error:
            await sandbox.remove()
            raise SandboxError(f"The sandbox did not answer within {START_SECONDS:g} s of its start.") from error
        except BaseException:
            await sandbox.remove()
            raise
        return sandbox

    @property
    def is_alive(self) -> bool:
        """Whether the stream to the container stands."""
        return not self._channel.gone.is_set()

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._running is not None

    async def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """See contract.Runner. When the container ends under a run, its Outcome is `lost` or the reason we know."""
        kind = canonical_language(language)
        body = code.encode("utf-8", "replace")
        if len(body) > self.limits.code_bytes:
            raise SandboxError(f"The code has {len(body):,} bytes; a cell may have {self.limits.code_bytes:,}.")
        if self._running is not None:
            raise SandboxBusy
        timeout = timeout_seconds or self.limits.timeout_seconds
        stream = self._channel.open(self._request(kind, timeout, request_id or os.urandom(8).hex()))
        self._running = stream
        ended = False
        try:
            async for event in self._events(stream, body, timeout):
                ended = isinstance(event, Outcome)
                yield event
        finally:
            self._running = None
            if not ended:
                await asyncio.shield(self._abandon(stream))

    def _request(self, kind: str, timeout: float, request_id: str) -> Json:
        limits = self.limits
        caps = {
            "head": limits.output_head_bytes,
            "tail": limits.output_tail_bytes,
            "whole": limits.output_whole_bytes,
            "display": limits.display_bytes,
        }
        return {"op": "run", "id": request_id, "boot": self.boot, "language": kind, "timeout": timeout, "caps": caps}

    async def _events(self, stream: Stream, body: bytes, timeout: float) -> AsyncIterator[RunEvent]:
        text = _TextStreams()
        display = _Displays()
        try:
            async with asyncio.timeout(timeout + INTERRUPT_GRACE_SECONDS + HOST_GRACE_SECONDS):
                await stream.send(body)
                stream.finish()
                async for frame in stream.frames():
                    for event in _decode(frame, text, display):
                        yield event
        except TimeoutError:
            await self.remove()
            yield _lost("timeout", 124, "The sandbox stopped answering and was removed.")
        except SandboxGone:
            await self.remove()
            yield _lost("lost", 1, "The sandbox ended while the code ran.")

    def interrupt(self) -> None:
        """Stop the run under way, if there is one: within 2 s it ends with status `interrupted`."""
        if self._running is not None:
            self._running.interrupt()

    async def _abandon(self, stream: Stream) -> None:
        """Interrupt a run whose reader left, and wait until the sandbox is free again, or remove it."""
        stream.interrupt()
        try:
            async with asyncio.timeout(2 * INTERRUPT_GRACE_SECONDS + HOST_GRACE_SECONDS):
                async for _ in stream.frames():
                    pass
        except (TimeoutError, SandboxGone):
            await self.remove()

    async def put_file(self, path: str, data: bytes) -> None:
        """Write a file below the workspace, folders included. Raises FileRefused, SandboxGone."""
        stream = self._channel.open({"op": "put", "path": path})
        await stream.send(data)
        stream.finish()
        async for frame in stream.frames():
            _check_end(frame)

    async def get_file(self, path: str, *, limit_bytes: int) -> bytes:
        """Read a regular file of the workspace. Raises FileRefused (no such file, a link, over the limit)."""
        return await self._download({"op": "get", "path": path, "limit": limit_bytes}, limit_bytes)

    async def whole_output(self, request_id: str) -> bytes:
        """Everything a recent run printed, when that was more than was streamed. Raises FileRefused."""
        return await self._download({"op": "output", "id": request_id}, self.limits.output_whole_bytes * 2)

    async def _download(self, request: Json, limit_bytes: int) -> bytes:
        stream = self._channel.open(request)
        stream.credit(DOWNLOAD_WINDOW)
        parts: list[bytes] = []
        count = 0
        async for frame in stream.frames():
            _check_end(frame)
            if frame.kind is Kind.DATA:
                parts.append(frame.payload)
                count += len(frame.payload)
                if count > limit_bytes:
                    raise FileRefused(f"The file is over the limit of {limit_bytes:,} bytes.")
                stream.credit(len(frame.payload))
        return b"".join(parts)

    async def ping(self) -> None:
        """Return once the supervisor has answered. Raises SandboxGone."""
        await self._channel.ping()

    async def remove(self) -> None:
        """End the sandbox and remove its container; again is no error."""
        self._channel.close()
        await self._engine.remove(self.container_id)


def _check_end(frame: Frame) -> None:
    if frame.kind is Kind.END:
        end = decode_json(frame.payload)
        if end.get("status") != "ok":
            raise FileRefused(str(end.get("error"))[:500])


def _lost(status: Literal["timeout", "lost"], exit_code: int, message: str) -> Outcome:
    return Outcome(
        status=status,
        exit_code=exit_code,
        error_name="SandboxLost",
        error_message=message,
        variables_kept=False,
        sandbox_lost=True,
    )


class _TextStreams:
    """UTF-8 of two streams, cut anywhere, as text; what is no UTF-8 becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoders = {
            Kind.STDOUT: codecs.getincrementaldecoder("utf-8")("replace"),
            Kind.STDERR: codecs.getincrementaldecoder("utf-8")("replace"),
        }

    def decode(self, kind: Kind, data: bytes, *, final: bool = False) -> list[Output]:
        """The text that is complete so far."""
        text = self._decoders[kind].decode(data, final)
        name: Literal["stdout", "stderr"] = "stdout" if kind is Kind.STDOUT else "stderr"
        return [Output(text=text, stream=name)] if text else []


class _Displays:
    """Puts the bodies of a display together as they come."""

    def __init__(self) -> None:
        self._wanted: list[tuple[str, int]] = []
        self._body = bytearray()

    def announce(self, frame: Frame) -> None:
        """The mime types and sizes of the bodies to come."""
        self._body.clear()
        try:
            mimes = decode_json(frame.payload).get("mimes", [])
            self._wanted = [(str(mime), max(0, int(size))) for mime, size in mimes]
        except (ValueError, TypeError):  # forged by the cell: there is nothing to show
            self._wanted = []

    def body(self, frame: Frame) -> list[Display]:
        """The display, once its last body is complete."""
        self._body += frame.payload
        if not self._wanted or len(self._body) < sum(size for _, size in self._wanted):
            return []
        bundle: dict[str, bytes] = {}
        position = 0
        for mime, size in self._wanted:
            bundle[mime] = bytes(self._body[position : position + size])
            position += size
        self._wanted = []
        return [Display(bundle=bundle)]


def _decode(frame: Frame, text: _TextStreams, display: _Displays) -> list[RunEvent]:
    match frame.kind:
        case Kind.STDOUT | Kind.STDERR:
            return list(text.decode(frame.kind, frame.payload))
        case Kind.DISPLAY:
            display.announce(frame)
            return []
        case Kind.DATA:
            return list(display.body(frame))
        case Kind.NOTE:
            return [Cut(count=int(decode_json(frame.payload).get("cut", 0)))]
        case Kind.END:
            rest = [*text.decode(Kind.STDOUT, b"", final=True), *text.decode(Kind.STDERR, b"", final=True)]
            return [*rest, _outcome(decode_json(frame.payload))]
        case _:
            return []


def _valid(value: object, limit: int) -> str:
    """Text of the sandbox without lone surrogates, which UTF-8 cannot carry."""
    return str(value)[:limit].encode("utf-8", "replace").decode()


_STATUSES: dict[str, Literal["ok", "error", "timeout", "oom", "interrupted", "output_limit", "crashed"]] = {
    "ok": "ok",
    "error": "error",
    "timeout": "timeout",
    "oom": "oom",
    "interrupted": "interrupted",
    "output_limit": "output_limit",
    "crashed": "crashed",
}


def _outcome(end: Json) -> Outcome:
    """The supervisor's outcome as a value. Raises SandboxError for a status of no known kind, or for nonsense."""
    status = _STATUSES.get(str(end.get("status")))
    if status is None:
        raise SandboxError(f"The sandbox refused to run the code ({end.get('status')}).")
    try:
        return _known_outcome(status, end)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SandboxError("The sandbox sent an outcome that makes no sense.") from error


def _known_outcome(
    status: Literal["ok", "error", "timeout", "oom", "interrupted", "output_limit", "crashed"], end: Json
) -> Outcome:
    error = end.get("error") or {}
    files = [WorkspaceFile(path=str(item["path"]), size=int(item["size"])) for item in end.get("files") or []]
    return Outcome(
        status=status,
        exit_code=int(end.get("exit_code", 1)),
        duration_ms=float(end.get("duration_ms", 0)),
        cpu_ms=int(end.get("cpu_ms", 0)),
        peak_bytes=int(end.get("peak_bytes", 0)),
        printed_bytes=int(end.get("printed", 0)),
        has_whole_output=bool(end.get("whole")),
        error_name=_valid(error.get("name", ""), 100),
        error_message=_valid(error.get("message", ""), 2000),
        files=tuple(files),
        variables_kept=end.get("kernel") != "lost",
        variables_lost_before=bool(end.get("lost_before")),
    )
