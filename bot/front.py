"""The front of the bot: what takes messages and commands, made together on one database."""

from __future__ import annotations

from dataclasses import dataclass

from bot.commands import Commands
from bot.intake import Intake, IntakeLimits, IntakeStore
from bot.model import ThreadKey
from bot.options import Effective, Options
from bot.ports import Clock, TurnQueue
from bot.releases import Releases
from bot.stops import Stops
from bot.store import Database, SqlChoices, SqlClaims, SqlInbox, SqlPeople, SqlWaiting
from sandbox.service import SandboxService


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What adapters and turns need of it."""

    intake: Intake
    releases: Releases
    commands: Commands
    waiting: SqlWaiting
    choices: SqlChoices
    people: SqlPeople
    options: Options

    async def effective(self, key: ThreadKey) -> Effective:
        """The options as they hold in a thread."""
        return self.options.effective(await self.choices.stored(key))


def make_front(
    database: Database,
    queue: TurnQueue,
    sandboxes: SandboxService,
    stops: Stops,
    options: Options,
    limits: IntakeLimits,
    clock: Clock,
) -> Front:
    """Everything wired."""
    waiting, choices, people = SqlWaiting(database, clock), SqlChoices(database, clock), SqlPeople(database)
    commands = Commands(
        stops,
        sandboxes,
        options=options,
        choices=choices,
        people=people,
        waiting=waiting,
        queue=queue,
        clock=clock,
    )
    store = IntakeStore(
        inbox=SqlInbox(database, clock), waiting=waiting, people=people, choices=choices, together=database.together
    )
    releases = Releases(SqlClaims(database), queue, limits.running_per_person)
    intake = Intake(store, releases, commands, stops, options, limits, clock)
    return Front(
        intake=intake,
        releases=releases,
        commands=commands,
        waiting=waiting,
        choices=choices,
        people=people,
        options=options,
    )
