"""A command as somebody gave it; what adapters hand to the command core."""

from __future__ import annotations

from dataclasses import dataclass

from bot.model import Person, ThreadKey
from bot.options import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command as somebody gave it. `key.thread` is empty where there is no thread, as in a slash command.

    `scope` is what `config set` means when no scope is named.
    """

    key: ThreadKey
    person: Person
    words: str
    scope: Scope
