"""What the bot needs of the world, as small Protocols; each has a real implementation and one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal, Protocol

from bot.model import (
    Artifact,
    Attachment,
    CellResult,
    Entry,
    IncomingMessage,
    Json,
    PostedReply,
    Receipt,
    Reply,
    Request,
    ThreadKey,
    ThreadSummary,
    Turn,
    TurnEvent,
    TurnStatus,
)

Clock = Callable[[], datetime]
Emit = Callable[[TurnEvent], None]
Sign = Literal["seen", "working", "done", "failed", "stopped"]


class Platform(Protocol):
    """Where people are. Calls may raise; delivery tries again, bounded."""

    name: str
    edit_seconds: float
    """The least time between two edits of one message."""
    outlives_us: bool
    """Whether people still see the thread after our process has ended, so that a cut-off turn is worth resuming."""

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """Show on somebody's message how its turn stands; again with another sign replaces the first."""

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """Post a new message in the thread; its id. The platform keeps `reply.key` with it where it can."""

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """Change a message of ours."""

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """The id of the message that carries this reply's key, if it was posted."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file that came with a message."""


class Inbox(Protocol):
    """Messages and the turns they become."""

    async def claim(self, message: IncomingMessage, *, answer: bool) -> Turn | None:
        """Keep a message, and with `answer` its turn, in one transaction; None when it was claimed before."""

    async def message_of(self, turn_id: str) -> IncomingMessage:
        """The message of a turn that has ended. Raises LookupError for any other."""

    async def again(self, turn_id: str) -> Turn:
        """Another turn for the message of an ended one. Raises LookupError, or Refused while there is one at work."""

    async def abandon(self, platform: str) -> None:
        """End the unfinished turns of a platform whose people are gone with the process that they wrote to."""

    async def unfinished(self) -> list[Turn]:
        """Turns that are queued or running, in arrival order."""

    async def queued_by(self, author_id: str, platform: str) -> int:
        """How many of a person's turns wait or run."""

    async def is_engaged(self, key: ThreadKey) -> bool:
        """Whether we have had a turn in this thread."""


class Turns(Protocol):
    """What a running turn reads and writes."""

    async def turn(self, turn_id: str) -> Turn:
        """A turn with its message. Raises LookupError."""

    async def start(self, turn_id: str) -> None:
        """Record that a turn runs."""

    async def finish(self, turn_id: str, status: TurnStatus, state: Json | None) -> None:
        """Record how a turn ended and what the agent remembers from it, in one transaction; None changes no memory."""

    async def agent_state(self, thread_id: str) -> Json | None:
        """The agent's memory of a thread."""

    async def begin_run(self, request_id: str, turn_id: str) -> bool:
        """Record that code is about to run; false when it was recorded before: its outcome is unknown."""

    async def has_sandbox(self, thread_id: str) -> bool:
        """Whether code has run in this thread."""


class Outbox(Protocol):
    """Replies by their stable key."""

    async def replies(self, turn_id: str) -> list[PostedReply]:
        """What was written for a turn, in part order."""

    async def write(self, reply: Reply) -> None:
        """Keep a reply before it is posted, or its newer content."""

    async def posted(self, reply: Reply, message_id: str) -> None:
        """Record the platform's id of a reply."""


class History(Protocol):
    """Threads as a page or a command shows them."""

    async def threads(self, platform: str, channel: str, limit: int) -> list[ThreadSummary]:
        """The newest threads of a channel."""

    async def entries(self, key: ThreadKey, limit: int) -> list[Entry]:
        """The newest messages of a thread with their replies, oldest first."""


class Commands(Protocol):
    """What people say to the bot rather than to the agent."""

    def stop(self, key: ThreadKey) -> bool:
        """End what runs in a thread, what is queued stays; whether anything ran."""

    async def reset(self, key: ThreadKey) -> str:
        """Throw a thread's sandbox away; the words for who asked."""


class Intake(Protocol):
    """Where a platform gives its messages."""

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """Claim and queue a message. Raises Refused with the limit named; nothing is kept then."""

    async def retry(self, turn_id: str) -> Turn:
        """Another turn for the message of an ended one. Raises LookupError, Refused."""


class Artifacts(Protocol):
    """Files and pictures, in the blob store."""

    async def save(self, turn_id: str | None, name: str, mime: str, data: bytes) -> Artifact:
        """Keep bytes under a new id; `turn_id` is None for what a person sent."""

    async def load(self, artifact_id: str) -> tuple[Artifact, bytes]:
        """An artifact with its bytes. Raises LookupError."""


class TurnQueue(Protocol):
    """Runs turns: one at a time in a thread, in arrival order, each to its end although the process dies."""

    async def enqueue(self, turn_id: str, thread_id: str) -> None:
        """Have a turn run; again with the same id is no error and runs nothing twice."""


class Steps(Protocol):
    """The record of what a turn has done, so that a turn that begins again repeats nothing."""

    async def step(self, name: str, work: Callable[[], Awaitable[Json]]) -> Json:
        """The result of `work`, or the recorded one when this step of this turn was done before."""


class Stop:
    """Asks a running turn to end; waited for by whatever it is doing."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: Literal["person", "time"] = "person"

    @property
    def is_set(self) -> bool:
        """Whether the turn was asked to end."""
        return self._event.is_set()

    def set(self, reason: Literal["person", "time"] = "person") -> None:
        """Ask."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    async def wait(self) -> None:
        """Return once asked."""
        await self._event.wait()


class Cells(Protocol):
    """Runs code for a turn; what happens is emitted, recorded and returned."""

    async def run(self, language: str, code: str) -> CellResult:
        """Run code to its end, or to the turn's Stop. Raises SandboxError when we fail, not the code."""


class Agent(Protocol):
    """Answers a message, running code on the way."""

    async def answer(
        self, request: Request, memory: Json | None, cells: Cells, steps: Steps, emit: Emit, stop: Stop
    ) -> Json | None:
        """Emit the answer and return the memory to keep. Raises ModelFailed, BudgetSpent, Stopped.

        A failure carries the memory to keep as its attribute `memory`.
        """
