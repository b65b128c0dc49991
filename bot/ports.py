"""What the bot needs of the world, as small Protocols; each has a real implementation and one in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from bot.invocation import Invocation
from bot.model import (
    Artifact,
    Attachment,
    CellResult,
    IncomingMessage,
    Json,
    Person,
    PostedReply,
    Quoted,
    Receipt,
    Reply,
    Request,
    ThreadKey,
    Turn,
    TurnEvent,
    TurnStatus,
)
from bot.options import Scope
from bot.policy import Deed
from bot.stops import Stop
from bot.views import Entry, Field, LiveSandbox, ThreadSummary, Usage

Clock = Callable[[], datetime]
Emit = Callable[[TurnEvent], None]
Sign = Literal["seen", "queued", "working", "done", "failed", "stopped"]


class Platform(Protocol):
    """Where people are. Calls may raise; delivery tries again, bounded."""

    name: str
    edit_seconds: float
    """The least time between two edits of one message."""
    hold_seconds: float
    """How long a reply that grows is held back first: one that is whole by then is posted once and never edited."""
    outlives_us: bool
    """Whether people still see the thread after our process has ended, so that a cut-off turn is worth resuming."""
    keeps_history: bool
    """Whether it keeps what was said before us; if not, what is not for us is kept here."""

    async def mark(self, message: IncomingMessage, sign: Sign) -> None:
        """Show on somebody's message how its turn stands; again with another sign replaces the first."""

    async def publish(self, key: ThreadKey, reply: Reply) -> str:
        """Post a new message in the thread; its id. The platform keeps `reply.key` with it where it can.

        An empty id says that a reply which still grows was not posted yet: it is published when it comes again.
        """

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> None:
        """Change a message of ours."""

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """What was said in the message's thread before it, oldest first; where the platform keeps it for us to read."""

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

    async def start(self, turn_id: str) -> bool:
        """Record that a turn runs; false when it has ended meanwhile: another took its message up."""

    async def finish(
        self, turn_id: str, status: TurnStatus, state: Json | None, *, tokens: int = 0, cpu_ms: int = 0
    ) -> None:
        """Record how a turn ended, what it cost and what the agent remembers from it, in one transaction.

        No `state` changes no memory.
        """

    async def agent_state(self, thread_id: str) -> Json | None:
        """The agent's memory of a thread."""

    async def begin_run(self, request_id: str, turn_id: str) -> bool:
        """Record that code is about to run; false when it was recorded before: its outcome is unknown."""

    async def has_sandbox(self, thread_id: str) -> bool:
        """Whether code has run in this thread."""


class Waiting(Protocol):
    """Messages that wait for their turn, or may yet change."""

    async def is_behind(self, turn: Turn) -> bool:
        """Whether another turn of the thread comes before this one."""

    async def join(self, turn_id: str) -> list[IncomingMessage]:
        """Have a running turn take up what waits in its thread; those messages, and all it took up before."""

    async def joined(self, turn_id: str) -> list[IncomingMessage]:
        """What a turn took up, in arrival order."""

    async def context(self, turn: Turn, limit: int) -> list[IncomingMessage]:
        """What was said in the thread since its last turn and was not for us, oldest first."""

    async def edit(self, key: ThreadKey, message_id: str, text: str) -> Turn | None:
        """Change a message's text; its latest turn. None when nothing changed or nobody knows the message."""

    async def turn_of(self, key: ThreadKey, message_id: str) -> Turn | None:
        """The latest turn of a message."""

    async def first(self, key: ThreadKey) -> Turn | None:
        """The next turn of a thread that has not begun."""

    async def withdraw(self, turn_id: str) -> bool:
        """End a turn that has not begun; whether that was so."""


class People(Protocol):
    """Who asked for what."""

    async def requesters(self, key: ThreadKey) -> frozenset[str]:
        """Whose messages became turns in a thread."""

    async def usage(self, platform: str, workspace: str, person_id: str | None, since: datetime) -> Usage:
        """What a person's requests took since then, or everybody's."""

    async def engaged(self, platform: str, since: datetime, limit: int) -> list[tuple[ThreadKey, str]]:
        """Threads with a turn and a message since then, newest first, each with the id of its last message."""


class Choices(Protocol):
    """What people chose, as they wrote it; which events came before."""

    async def stored(self, key: ThreadKey) -> Mapping[Scope, Mapping[str, str]]:
        """The options that bear on a thread, by scope and name."""

    async def set(self, key: ThreadKey, scope: Scope, name: str, value: str, by: str) -> None:
        """Keep an option for the workspace, channel or thread of `key`."""

    async def unset(self, key: ThreadKey, scope: Scope, name: str) -> bool:
        """Forget an option; whether there was one."""

    async def judge(self, turn_id: str, person_id: str, value: int) -> bool:
        """Keep what somebody thinks of an answer, 1 or -1; false when there is no such turn."""

    async def is_new(self, platform: str, event_id: str) -> bool:
        """Whether an event that is no message comes for the first time (in 24 hours)."""


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

    async def reply(self, key: str) -> Reply | None:
        """A reply by its stable key."""


class Commands(Protocol):
    """What people say to the bot rather than to the agent. Each answer is Markdown for who asked."""

    async def run(self, invocation: Invocation) -> str:
        """Carry out a command such as `config set timeout 30`; what it is not is answered with the help."""

    async def stop(self, key: ThreadKey, person: Person | None = None) -> str:
        """End what runs in a thread, what is queued stays; the words for who asked. None: anybody may."""

    async def reset(self, key: ThreadKey, person: Person | None = None) -> str:
        """Throw a thread's sandbox away; the words for who asked."""

    async def fields(self, key: ThreadKey, person: Person, scope: Scope) -> list[Field]:
        """A form of all options for a scope."""

    async def all_fields(self, key: ThreadKey) -> list[Field]:
        """How every option stands, for whoever looks."""

    async def check(self, deed: Deed, key: ThreadKey, person: Person) -> None:
        """Raises Refused when somebody may not do that to what was asked in a thread."""

    async def submit(self, key: ThreadKey, person: Person, scope: Scope, values: Mapping[str, str]) -> dict[str, str]:
        """Set what a form changed, or nothing at all when a field is wrong: the mistakes, by name."""

    async def sandboxes(self, person: Person, platform: str, workspace: str) -> list[LiveSandbox]:
        """The live sandboxes of somebody's threads; an admin's are everybody's."""

    async def judge(self, turn_id: str, person: Person, value: int) -> str:
        """Keep what somebody thinks of an answer, 1 or -1."""


class Intake(Protocol):
    """Where a platform gives its messages."""

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """Claim and queue a message. Raises Refused with the limit named; nothing is kept then."""

    async def claim(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """The first half of `take`: once it returns the message is kept, and will be queued whatever happens."""

    async def begin(self, receipt: Receipt) -> None:
        """The second half; a receipt without a turn needs none."""

    async def retry(self, turn_id: str, person: Person | None = None) -> Turn:
        """Another turn for the message of an ended one. Raises LookupError, Refused. None: anybody may."""

    async def edited(self, key: ThreadKey, message_id: str, text: str) -> Turn | None:
        """A message was changed: one that waits is changed here too; the turn of one that ran, to offer another run."""

    async def deleted(self, key: ThreadKey, message_id: str) -> None:
        """A message was taken back: one that waits is withdrawn, one that runs is stopped."""


class Artifacts(Protocol):
    """Files and pictures, in the blob store."""

    async def save(self, turn_id: str | None, name: str, mime: str, data: bytes, *, key: str | None = None) -> Artifact:
        """Keep bytes under a new id; `turn_id` is None for what a person sent. The same `key` is the same artifact."""

    async def load(self, artifact_id: str) -> tuple[Artifact, bytes]:
        """An artifact with its bytes. Raises LookupError."""

    async def shown_as(self, artifact_id: str) -> str | None:
        """What the platform calls a file, once `show_as` kept it."""

    async def show_as(self, artifact_id: str, platform_id: str) -> None:
        """Keep what the platform calls a file, before it is shown: a second try finds it, and doubles nothing."""


class TurnQueue(Protocol):
    """Runs turns: one at a time in a thread, in arrival order, each to its end although the process dies."""

    async def enqueue(self, turn_id: str, thread_id: str) -> None:
        """Have a turn run; again with the same id is no error and runs nothing twice."""


class Steps(Protocol):
    """The record of what a turn has done, so that a turn that begins again repeats nothing."""

    async def step(self, name: str, work: Callable[[], Awaitable[Json]]) -> Json:
        """The result of `work`, or the recorded one when this step of this turn was done before."""


class Cells(Protocol):
    """Runs code for a turn; what happens is emitted, recorded and returned."""

    async def run(self, language: str, code: str) -> CellResult:
        """Run code to its end, or to the turn's Stop. Raises SandboxError when we fail, not the code."""


Steer = Callable[[], Awaitable[list[Request]]]
"""What people said since: requests that the running turn takes up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTools:
    """What an agent works with in one turn."""

    cells: Cells
    steps: Steps
    emit: Emit
    stop: Stop
    steer: Steer


class Agent(Protocol):
    """Answers a message, running code on the way."""

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        """Emit the answer and return the memory to keep. Raises ModelFailed, BudgetSpent, Stopped.

        A failure carries the memory to keep as its attribute `memory`.
        """
