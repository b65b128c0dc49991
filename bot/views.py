"""What pages, lists and forms show; values that adapters and the core share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.model import IncomingMessage, Reply, ThreadKey, TurnStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of a thread and the turn it became, for a page that shows the thread."""

    message: IncomingMessage
    turn_id: str | None
    status: TurnStatus | None
    replies: tuple[Reply, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a turn took: tokens of its model; time on the clock, processor time and the peak of memory of its cells."""

    tokens: int = 0
    run_ms: int = 0
    cpu_ms: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What requests took: their number and tokens; of their code the time, and the most memory of any sandbox."""

    turns: int = 0
    tokens: int = 0
    run_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSummary:
    """A thread in a list."""

    key: ThreadKey
    title: str
    author: str
    messages: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One option in a form: its value as words, and where that comes from: a scope, or `default`."""

    name: str
    says: str
    value: str
    source: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSandbox:
    """A thread that has a sandbox now."""

    key: ThreadKey
    state: str
    idle_seconds: int
    last_cell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of doctor's report."""

    level: Literal["ok", "warning", "error"]
    what: str
    mend: str = ""
