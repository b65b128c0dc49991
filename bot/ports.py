"""What the bot needs of the world, as small Protocols; each has a real implementation and one in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from bot.invocation import Invocation
from bot.model import (
    Attachment,
    CellResult,
    IncomingMessage,
    Json,
    Person,
    Quoted,
    Receipt,
    Reply,
    Request,
    ThreadKey,
    Turn,
    TurnEvent,
)
from bot.options import Scope
from bot.policy import Deed
from bot.stops import Stop
from bot.views import Field, LiveSandbox

Clock = Callable[[], datetime]
Emit = Callable[[TurnEvent], None]
Sign = Literal["seen", "queued", "working", "done", "failed", "stopped"]
GONE = "gone"
"""The id of a reply whose thread is no more, or is closed to us: it is neither changed nor tried again."""


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

        An empty id says that a reply which still grows was not posted yet: it is published when it comes again. GONE
        says that trying again is in vain; what is raised may pass.
        """

    async def update(self, key: ThreadKey, message_id: str, reply: Reply) -> str | None:
        """Change a message of ours; its id where that is another now, as when it became several.

        One that is no more, in a thread that may be no more, is no error.
        """

    async def earlier(self, message: IncomingMessage, limit: int) -> list[Quoted]:
        """What was said in the message's thread before it, oldest first; where the platform keeps it for us to read."""

    async def find(self, key: ThreadKey, reply: Reply) -> str | None:
        """The id of the message that carries this reply's key, if it was posted; None also where it cannot be read."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file that came with a message."""


class Commands(Protocol):
    """What people say to the bot rather than to the agent. Each answer is Markdown for who asked."""

    async def run(self, invocation: Invocation) -> str:
        """Carry out a command such as `config set timeout 30`; what it is not is answered with the help."""

    async def stop(
        self,
        key: ThreadKey,
        person: Person | None = None,
        *,
        before: datetime | None = None,
        turn_id: str | None = None,
    ) -> str:
        """End what runs in a thread, what is queued stays; the words for who asked. Without a person anybody may.

        What was asked after `before` is not meant, nor any turn but `turn_id` where that is named.
        """

    async def reset(self, key: ThreadKey, person: Person | None = None) -> str:
        """Throw a thread's sandbox away; the words for who asked."""

    async def fields(self, key: ThreadKey, person: Person, scope: Scope) -> list[Field]:
        """A form of all options for a scope."""

    async def all_fields(self, key: ThreadKey) -> list[Field]:
        """How every option stands, for whoever looks."""

    async def check(self, deed: Deed, key: ThreadKey, person: Person, author: str | None = None) -> None:
        """Raises Refused when somebody may not do that to what was asked in a thread, or to what `author` asked."""

    async def submit(self, key: ThreadKey, person: Person, scope: Scope, values: Mapping[str, str]) -> dict[str, str]:
        """Set what a form changed, or nothing at all when a field is wrong: the mistakes, by name."""

    async def sandboxes(self, person: Person, platform: str, workspace: str) -> list[LiveSandbox]:
        """The live sandboxes of somebody's threads; an admin's are everybody's."""

    async def judge(self, turn_id: str, person: Person, value: int) -> str:
        """Keep what somebody thinks of an answer, 1 or -1."""

    async def gone(self, place: ThreadKey, *, for_good: bool) -> int:
        """A thread was deleted or closed, or without a thread its channel, or without a channel its workspace.

        What runs there is stopped, what waits withdrawn; sandboxes are removed with what was saved of them, or saved
        and put away where it may be opened again. How many there were.
        """


class Intake(Protocol):
    """Where a platform gives its messages."""

    async def take(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """Claim and queue a message. Raises Refused with the limit named; nothing is kept then."""

    async def claim(self, message: IncomingMessage, platform: Platform) -> Receipt:
        """The first half of `take`: once it returns the message is kept, and will be queued whatever happens."""

    async def check(self, message: IncomingMessage) -> None:
        """Raises Refused where `claim` would; keeps nothing."""

    async def begin(self, receipt: Receipt) -> None:
        """The second half; a receipt without a turn needs none."""

    async def retry(self, turn_id: str, person: Person | None = None) -> Turn:
        """Another turn for the message of an ended one. Raises LookupError, Refused. None: anybody may."""

    async def edited(self, key: ThreadKey, message_id: str, text: str) -> Turn | None:
        """A message was changed: one that waits is changed here too; the turn of one that ran, to offer another run."""

    async def deleted(self, key: ThreadKey, message_id: str) -> None:
        """A message was taken back: one that waits is withdrawn, one that runs is stopped."""


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

    async def run(self, language: str, code: str, *, known: bool = False) -> CellResult:
        """Run code to its end, or to the turn's Stop; `known` where the thread sees it already.

        Raises SandboxError when we fail, not the code.
        """


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
