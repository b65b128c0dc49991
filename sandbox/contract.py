"""The ports and values of the sandbox library.

Two ports: an `Engine` keeps containers (Docker, or a process for tests), a `Wire` carries the bytes of one.
What the user's code did, however badly, is a value (`Outcome`); a `SandboxError` means that we failed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from sandbox.limits import Limits

Status = Literal["ok", "error", "timeout", "oom", "interrupted", "output_limit", "crashed", "lost"]
"""`error`: the code raised or returned non-zero; `crashed`: the interpreter died; `lost`: nobody can know."""

LABEL = "threadbox"
LABEL_INSTANCE = "threadbox.instance"
LABEL_ID = "threadbox.id"
LABEL_SPEC = "threadbox.spec"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFile:
    """A file that a run made or changed: path below the workspace, size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Text as it was printed; `stream` is stdout or stderr."""

    text: str
    stream: Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """So many bytes of output are left out at this point; `Sandbox.whole_output` has them while it lives.

    0: nobody knows how many, an earlier host has read them.
    """

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """A rich value, by mime type; see RICH in inside/control.py for those that come."""

    bundle: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    `exit_code` follows the shells: 124 timed out, 137 out of memory, 130 interrupted. `variables_kept` is
    false when the interpreter had to be restarted: every variable of earlier cells is gone, files are not
    (unless `sandbox_lost`). `variables_lost_before` says that they went between the last run and this one.
    """

    status: Status
    exit_code: int
    duration_ms: float = 0.0
    cpu_ms: int = 0
    peak_bytes: int = 0
    memory_bytes: int = 0
    printed_bytes: int = 0
    has_whole_output: bool = False
    error_name: str = ""
    error_message: str = ""
    files: tuple[WorkspaceFile, ...] = ()
    variables_kept: bool = True
    variables_lost_before: bool = False
    sandbox_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The code waits until there is room for it; so many are before it."""

    before: int


RunEvent = Output | Cut | Display | Waiting | Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of ours as the engine lists it; `state` in the engine's words (running, paused, exited)."""

    container_id: str
    sandbox_id: str
    state: str
    created_at: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """The stdio of one container's main process, both ways."""

    def write(self, data: bytes) -> None:
        """Queue bytes for standard input; never blocks. Bytes written after the end are dropped."""

    async def drain(self) -> None:
        """Wait until little is queued, so that a large upload does not fill memory."""

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Deliver standard output to `on_data` from now on, and the end of the stream once to `on_end`."""

    def close(self) -> None:
        """Detach; the container lives on."""


class Engine(Protocol):
    """Keeps containers. Every method raises EngineUnavailable when the engine does not answer."""

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, Wire]:
        """Create, attach to and start a container; its id and wire. Raises ImageMissing, SandboxError.

        Nothing is left behind when it raises or is cancelled.
        """

    async def attach(self, container_id: str) -> Wire:
        """A wire to a container that runs already. Raises SandboxGone."""

    async def remove(self, container_id: str) -> None:
        """End and remove a container; one that is gone already is no error."""

    async def pause(self, container_id: str) -> None:
        """Freeze a container's processes; one that is paused already is no error. Raises SandboxGone."""

    async def unpause(self, container_id: str) -> None:
        """Let them go on; one that is not paused is no error. Raises SandboxGone."""

    async def containers(self) -> list[Container]:
        """The containers of this instance, running or not; never another instance's."""

    async def aclose(self) -> None:
        """Release connections and threads; containers stay."""


@runtime_checkable
class Meter(Protocol):
    """What an Engine may be besides: one that knows what its containers use, and used too much of."""

    async def usage(self, container_id: str) -> tuple[int, float]:
        """Bytes of memory and seconds of processor time that a container uses. Raises SandboxGone."""

    async def ran_out_of_memory(self, container_id: str) -> bool:
        """Whether a container ended for want of memory, as the engine saw it. Raises SandboxGone."""


class Runner(Protocol):
    """What an agent or executor needs of a sandbox."""

    def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """Run code, yielding events as they come and exactly one Outcome, last.

        Closing the iterator or cancelling its consumer interrupts the code. Raises UnsupportedLanguage,
        SandboxBusy.
        """


Json = dict[str, Any]
