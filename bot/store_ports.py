"""What the bot keeps, as small Protocols; `bot.store` has them on SQL, `bot.artifacts` with a blob store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from bot.model import (
    Artifact,
    IncomingMessage,
    Json,
    PostedReply,
    Reply,
    ThreadKey,
    Turn,
    TurnStatus,
)
from bot.options import Scope
from bot.views import Cost, Entry, ThreadSummary, Usage


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

    async def queued_by(self, author_id: str, platform: str) -> int:
        """How many of a person's turns wait; those that run do not count."""

    async def is_engaged(self, key: ThreadKey) -> bool:
        """Whether we have had a turn in this thread."""


class Turns(Protocol):
    """What a running turn reads and writes."""

    async def turn(self, turn_id: str) -> Turn:
        """A turn with its message. Raises LookupError."""

    async def start(self, turn_id: str) -> bool:
        """Record that a turn runs; false when it has ended meanwhile: another took its message up."""

    async def finish(self, turn_id: str, status: TurnStatus, state: Json | None, cost: Cost | None = None) -> None:
        """Record how a turn ended, what it cost and what the agent remembers from it, in one transaction.

        No `state` changes no memory.
        """

    async def agent_state(self, thread_id: str) -> Json | None:
        """The agent's memory of a thread."""

    async def begin_run(self, request_id: str, turn_id: str) -> bool:
        """Record that code is about to run; false when it was recorded before: its outcome is unknown."""

    async def has_sandbox(self, thread_id: str) -> bool:
        """Whether code has run in this thread."""

    async def has_answered(self, thread_id: str) -> bool:
        """Whether a turn of this thread ended well."""


class Waiting(Protocol):
    """Messages that wait for their turn, or may yet change."""

    async def join(self, turn_id: str) -> list[Turn]:
        """Have a running turn take up what waits in its thread; those turns, and all it took up before."""

    async def joined(self, turn_id: str) -> list[Turn]:
        """What a turn took up, in arrival order."""

    async def left_behind(self, turn: Turn) -> list[IncomingMessage]:
        """What earlier, failed tries of the turn's message had taken up, in arrival order."""

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

    async def withdraw_all(self, place: ThreadKey) -> None:
        """End every turn of a place that has not begun; what is empty of the place is any."""


class People(Protocol):
    """Who asked for what."""

    async def requesters(self, key: ThreadKey) -> frozenset[str]:
        """Whose messages became turns in a thread."""

    async def usage(self, platform: str, workspace: str, person_id: str | None, since: datetime) -> Usage:
        """What a person's requests took since then, or everybody's."""

    async def engaged(
        self, platform: str, since: datetime, limit: int, workspace: str | None = None
    ) -> list[tuple[ThreadKey, str]]:
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

    async def undelivered(
        self, limit: int, *, platforms: Collection[str], without: Collection[ThreadKey] = ()
    ) -> list[tuple[ThreadKey, Reply]]:
        """Final replies without a platform's id, the oldest first, of turns that ended in the last day.

        Those of other platforms than these and of the threads in `without` are left out, as is what ended less than a
        minute ago.
        """


class History(Protocol):
    """Threads as a page or a command shows them."""

    async def threads(self, platform: str, channel: str, limit: int) -> list[ThreadSummary]:
        """The newest threads of a channel."""

    async def entries(self, key: ThreadKey, limit: int) -> list[Entry]:
        """The newest messages of a thread with their replies, oldest first."""

    async def reply(self, key: str) -> Reply | None:
        """A reply by its stable key."""

    async def posted(self, turn_id: str) -> list[PostedReply]:
        """The replies of a turn with their platform's ids, in part order."""

    async def turn(self, turn_id: str) -> Turn | None:
        """A turn with its message."""

    async def turn_of(self, key: ThreadKey, message_id: str) -> Turn | None:
        """The latest turn of somebody's message; `key` need name no thread."""


class Memos(Protocol):
    """What an adapter must know after a restart: a cursor, a hash."""

    async def get(self, platform: str, name: str) -> str | None:
        """What was kept under a name."""

    async def put(self, platform: str, name: str, value: str) -> None:
        """Keep up to 2,000 characters under a name; newer replaces older."""


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
