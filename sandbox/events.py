"""Frames of a run as events. Whatever is in them may be forged by the code that ran: it is bounded and made plain."""

from __future__ import annotations

import codecs
from typing import Literal

from sandbox.channel import decode_json
from sandbox.contract import Cut, Display, Json, Outcome, Output, RunEvent, WorkspaceFile
from sandbox.errors import SandboxError
from sandbox.inside.frames import Frame, Kind
from sandbox.limits import Limits


class TextStreams:
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


class Displays:
    """Puts the bodies of a display together as they come, up to `limit_bytes`."""

    def __init__(self, limit_bytes: int = Limits().display_bytes) -> None:
        self._limit_bytes = limit_bytes
        self._wanted: list[tuple[str, int]] = []
        self._body = bytearray()

    def announce(self, frame: Frame) -> None:
        """The mime types and sizes of the bodies to come."""
        self._body.clear()
        try:
            mimes = decode_json(frame.payload).get("mimes", [])
            self._wanted = [(str(mime), max(0, int(size))) for mime, size in mimes]
        except (ValueError, TypeError, OverflowError, SandboxError):  # forged by the cell: there is nothing to show
            self._wanted = []
        if sum(size for _, size in self._wanted) > self._limit_bytes:
            self._wanted = []

    def body(self, frame: Frame) -> list[Display]:
        """The display, once its last body is complete."""
        if not self._wanted:
            return []
        self._body += frame.payload
        if len(self._body) < sum(size for _, size in self._wanted):
            return []
        bundle: dict[str, bytes] = {}
        position = 0
        for mime, size in self._wanted:
            bundle[mime] = bytes(self._body[position : position + size])
            position += size
        self._wanted = []
        return [Display(bundle=bundle)]


def decode(frame: Frame, text: TextStreams, display: Displays) -> list[RunEvent]:
    """The events that a frame of a run completes. Raises SandboxError for an outcome that makes no sense."""
    match frame.kind:
        case Kind.STDOUT | Kind.STDERR:
            return list(text.decode(frame.kind, frame.payload))
        case Kind.DISPLAY:
            display.announce(frame)
            return []
        case Kind.DATA:
            return list(display.body(frame))
        case Kind.NOTE:
            count = decode_json(frame.payload).get("cut")
            return [Cut(count=count)] if isinstance(count, int) else []
        case Kind.END:
            rest = [*text.decode(Kind.STDOUT, b"", final=True), *text.decode(Kind.STDERR, b"", final=True)]
            return [*rest, outcome(decode_json(frame.payload))]
        case _:
            return []


def is_start(frame: Frame) -> bool:
    """Whether the supervisor says that an interpreter is being started before the code can run."""
    return frame.kind is Kind.NOTE and "starts" in decode_json(frame.payload)


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


def outcome(end: Json) -> Outcome:
    """The supervisor's outcome as a value. Raises SandboxError for a status of no known kind, or for nonsense."""
    said = end.get("status")
    status = _STATUSES.get(said) if isinstance(said, str) else None
    if status is None:
        raise SandboxError(f"The sandbox refused to run the code ({said[:100] if isinstance(said, str) else '?'}).")
    try:
        return _known_outcome(status, end)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
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
        memory_bytes=int(end.get("memory", 0)),
        printed_bytes=int(end.get("printed", 0)),
        has_whole_output=bool(end.get("whole")),
        error_name=_valid(error.get("name", ""), 100),
        error_message=_valid(error.get("message", ""), 2000),
        files=tuple(files),
        variables_kept=end.get("kernel") != "lost",
        variables_lost_before=bool(end.get("lost_before")),
    )


def lost(status: Literal["timeout", "oom", "lost"], exit_code: int, message: str) -> Outcome:
    """The outcome of a run whose sandbox is gone."""
    return Outcome(
        status=status,
        exit_code=exit_code,
        error_name="SandboxLost",
        error_message=message,
        variables_kept=False,
        sandbox_lost=True,
    )
