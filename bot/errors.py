"""What goes wrong with us or with what we depend on, each with words for the person in the thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class BotError(Exception):
    """Something went wrong."""

    code = "bot"
    can_retry = True
    memory: dict[str, Any] | None = None
    """What the agent remembers of a turn that this ended; None changes nothing."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def for_people(self) -> str:
        """What the thread is told."""
        return str(self)


class Refused(BotError):
    """The message was not taken; the text names the limit."""

    code = "refused"


class ModelFailed(BotError):
    """The model did not answer."""

    code = "model"


class BudgetSpent(BotError):
    """The turn has used up one of its budgets."""

    code = "budget"


class Stopped(BotError):
    """Somebody pressed Stop."""

    code = "stopped"
    can_retry = False


class RecordLost(BotError):
    """I was interrupted, and what I had done so far cannot be read any more. Press Retry to run it again."""

    code = "record_lost"


class ConfigurationError(BotError):
    """A setting is wrong; a line for each that is."""

    code = "configuration"

    @classmethod
    def raise_for(cls, mistakes: Iterable[str]) -> None:
        """Raises ConfigurationError where there are any."""
        lines = list(dict.fromkeys(mistakes))
        if lines:
            raise cls("\n".join(lines))


class AlreadyRunning(BotError):
    """Another Threadbox uses this data folder."""

    code = "already_running"
