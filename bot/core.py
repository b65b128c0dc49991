"""The parts of the bot that a platform's deliveries go to."""

from __future__ import annotations

from dataclasses import dataclass

from bot.ports import Clock, Commands, Intake
from bot.store_ports import Choices, History


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Messages go to the intake, words to the commands; what was said is read from the history."""

    intake: Intake
    commands: Commands
    history: History
    choices: Choices
    clock: Clock
