"""The words of the bot: threads, messages, turns, what happens in a turn, and the replies it is told with.

Everything here is a value. `Reply` is the neutral form of one message of ours; each platform gives it its own look.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadKey:
    """Where a conversation is, in the platform's own ids."""

    platform: str
    workspace: str
    channel: str
    thread: str

    def is_within(self, place: ThreadKey) -> bool:
        """Whether this is, or is in, a place; what is empty of the place is any."""
        named = ((place.workspace, self.workspace), (place.channel, self.channel), (place.thread, self.thread))
        return place.platform == self.platform and all(wanted in ("", given) for wanted, given in named)


Standing = Literal["member", "guest", "external", "bot", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who speaks. `standing`: what they are to the workspace; `unknown` when the platform would not say."""

    id: str
    name: str
    standing: Standing = "member"
    is_admin: bool = False
    groups: tuple[str, ...] = ()
    """The roles that they have now, in the platform's ids; not kept with their messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message; `source` is what the platform needs to fetch it."""

    name: str
    size: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """A message as a platform delivered it, mentions of us taken out of the text.

    `for_us`: it mentions us or came by direct message. Others are kept as the thread's context and answered
    only where the thread's follow-ups are; `for_others` says that it is addressed to somebody else.
    """

    key: ThreadKey
    message_id: str
    author: Person
    text: str
    sent_at: datetime
    for_us: bool
    attachments: tuple[Attachment, ...] = ()
    for_others: bool = False
    in_thread: bool = False
    """Whether others had spoken in this thread before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """What somebody had said in a thread before we were asked."""

    speaker: str
    text: str
    attachments: tuple[Attachment, ...] = ()


TurnStatus = Literal["queued", "running", "done", "failed", "stopped", "joined"]
"""`joined`: the message came during a run, which took it up."""
ENDED: frozenset[TurnStatus] = frozenset({"done", "failed", "stopped", "joined"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer to one message. The id is `<thread>-<arrival number, zero-padded>`: it sorts in arrival order."""

    id: str
    thread_id: str
    key: ThreadKey
    message: IncomingMessage
    status: TurnStatus
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file or picture that a run made, kept in the blob store. Its bytes and name are the user's code's: hostile."""

    id: str
    name: str
    mime: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a message; `answer` is what to tell its author at once, if anything."""

    kind: Literal["turn", "command", "context", "duplicate", "ignored"]
    turn: Turn | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the agent is asked: who said what, what was said before, and what else it should know.

    `notes` are ours: a new sandbox, files that came along. `images` are of the message, for models that see.
    """

    speaker: str
    text: str
    notes: tuple[str, ...] = ()
    context: tuple[Quoted, ...] = ()
    images: tuple[bytes, ...] = ()
    model: str = ""
    prompt: str = ""


# ---- what happens in a turn


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the agent's words, as they come."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDone:
    """The agent's words up to here, whole; they replace the pieces."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStarted:
    """Code begins to run."""

    language: str
    code: str
    known: bool = False
    """Whether the thread sees it already, in the message that it came with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutput:
    """The code printed something."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """How a cell ended, with all that is shown of it; plain JSON when it is recorded."""

    status: str
    exit_code: int
    output: str
    duration_ms: float = 0.0
    cpu_ms: int = 0
    peak_bytes: int = 0
    """The most memory that the sandbox had in use, its files included."""
    cut_bytes: int = 0
    message: str = ""
    shown: tuple[Artifact, ...] = ()
    files: tuple[Artifact, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines of ours, for the thread and the model: what is missing, and what came back."""
    variables_kept: bool = True
    variables_lost_before: bool = False
    sandbox_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDone:
    """The code ended."""

    result: CellResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A line of the bot's own, not the agent's: a limit, a loss, a failure."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The turn is over."""

    status: TurnStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a model call cost."""

    tokens: int


TurnEvent = TextDelta | TextDone | CellStarted | CellOutput | CellDone | Said | Used | Ended


# ---- replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Markdown of the agent's; never HTML."""

    markdown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Code that was run; `hidden` where people chose not to see it."""

    language: str
    source: str
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What code printed."""

    text: str
    cut_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image to show in place."""

    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to download; HTML and SVG may be shown, but only sealed off."""

    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line about the run or the turn."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


Block = Text | Code | Printed | Picture | File | Notice
Action = Literal["retry", "rerun", "reset", "feedback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One message of ours. (`turn_id`, `part`) is its stable key: the same key is the same message, ever."""

    turn_id: str
    part: int
    blocks: tuple[Block, ...]
    final: bool
    actions: tuple[Action, ...] = ()

    @property
    def key(self) -> str:
        """The stable key as text."""
        return f"{self.turn_id}.{self.part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedReply:
    """A reply as the outbox has it; no `message_id` means that its posting is unclear."""

    reply: Reply
    message_id: str | None
