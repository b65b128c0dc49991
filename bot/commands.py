"""What people say to the bot rather than to the agent. Every platform maps these onto its own form.

`run` takes the words of a slash command or of a mention; `word` finds the command that a message in a thread is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from bot.configuring import NO_THREAD, ConfigCommand, is_config
from bot.errors import Refused
from bot.invocation import Invocation
from bot.model import IncomingMessage, Person, ThreadKey
from bot.options import Options, Scope
from bot.policy import Deed, may_do
from bot.ports import Clock, TurnQueue
from bot.stops import Stops
from bot.store_ports import Choices, People, Waiting
from bot.text import NOTHING_RUNS, STOPPING, printable, size_words
from bot.views import Field, LiveSandbox, Usage
from sandbox.lease import Entry
from sandbox.service import SandboxService

HELP = (
    "Mention me with a request, or with a code block to run as it is. Reply in the thread to go on: variables and "
    "files stay.\n\n"
    "**stop** ends what runs now. **reset** throws the thread's variables and files away. **status** says what runs "
    "here, **sandboxes** which threads of yours have a sandbox, **usage** what your requests took today.\n"
    "**config** shows the options; `config set [workspace|channel|thread] NAME VALUE` and "
    "`config unset [workspace|channel|thread] NAME` change them."
)
RESET = "Done: this thread's variables and files are gone. The next message starts with an empty sandbox."
SANDBOXES_SHOWN = 20

_ALONE = {"stop", "reset", "help"}  # in a thread of ours even without a mention
_NAMED = {"status", "usage", "sandboxes"}


class Commands:
    """See bot.ports.Commands."""

    def __init__(
        self,
        stops: Stops,
        sandboxes: SandboxService,
        *,
        options: Options,
        choices: Choices,
        people: People,
        waiting: Waiting,
        queue: TurnQueue,
        clock: Clock,
    ) -> None:
        self._stops = stops
        self._service = sandboxes
        self._config = ConfigCommand(options, choices, people)
        self._choices = choices
        self._people = people
        self._waiting = waiting
        self._queue = queue
        self._clock = clock

    def is_word(self, message: IncomingMessage) -> bool:
        """Whether a message is nothing but a command."""
        words = message.text.strip()
        first = words.lower().rstrip(".!")
        return first in _ALONE or (message.for_us and (first in _NAMED or is_config(words)))

    async def word(self, message: IncomingMessage) -> str:
        """Carry out a message that is a command; its answer."""
        if message.text.strip().lower().rstrip(".!") == "stop":
            try:
                return await self.stop(message.key, message.author, before=message.sent_at)
            except Refused as error:
                return error.for_people
        invocation = Invocation(key=message.key, person=message.author, words=message.text, scope="thread")
        return await self.run(invocation)

    async def run(self, invocation: Invocation) -> str:
        """See bot.ports.Commands."""
        try:
            return await self._run(invocation)
        except Refused as error:
            return error.for_people

    async def _run(self, invocation: Invocation) -> str:
        key, person = invocation.key, invocation.person
        name, _, rest = invocation.words.strip().partition(" ")
        match name.lower().rstrip(".!"):
            case "stop":
                return await self.stop(key, person)
            case "reset":
                return await self.reset(key, person)
            case "status":
                return await self._status(key)
            case "usage":
                return await self._usage(key, person)
            case "sandboxes":
                return _list(await self.sandboxes(person, key.platform, key.workspace))
            case "config":
                return await self._config.run(invocation, rest)
            case _:
                return HELP

    async def stop(
        self,
        key: ThreadKey,
        person: Person | None = None,
        *,
        before: datetime | None = None,
        turn_id: str | None = None,
    ) -> str:
        """See bot.ports.Commands."""
        if not key.thread:
            return await self._stop_here(key, person)
        await self.check("stop", key, person)
        if self._stops.stop(key, before, turn_id):
            return STOPPING
        if turn_id is not None or self._stops.was_stopped(key):
            return NOTHING_RUNS
        first = await self._waiting.first(key)
        if first is None or (before is not None and first.message.sent_at > before):
            return NOTHING_RUNS
        if not await self._waiting.withdraw(first.id):  # it has just begun
            return STOPPING if self._stops.stop(key, before, first.id) else NOTHING_RUNS
        await self._queue.enqueue(first.id, first.thread_id)  # where it is found withdrawn, and gets its sign
        return "Stopped before it began."

    async def _stop_here(self, key: ThreadKey, person: Person | None) -> str:
        """Stop what somebody asked for in a whole channel: they may not see all its threads. An admin's is all."""
        stopped = 0
        for running in self._stops.within(key):
            asked = person is None or person.is_admin or person.id in await self._people.requesters(running)
            stopped += asked and self._stops.stop(running)
        return f"Stopping {stopped} of the requests in this channel." if stopped else NOTHING_RUNS

    async def reset(self, key: ThreadKey, person: Person | None = None) -> str:
        """See bot.ports.Commands: waits until what runs has stopped."""
        if not key.thread:
            return NO_THREAD
        await self.check("reset", key, person)
        self._stops.stop(key)
        async with self._service.lease(sandbox_key(key)) as lease:
            await lease.reset()
        return RESET

    async def check(self, deed: Deed, key: ThreadKey, person: Person | None, author: str | None = None) -> None:
        """See bot.ports.Commands."""
        if person is None:
            return
        requesters = frozenset({author}) if author is not None else await self._people.requesters(key)
        refusal = may_do(deed, person, requesters, await self._config.effective(key)) if requesters else None
        if refusal is not None:
            raise Refused(refusal)

    async def _status(self, key: ThreadKey) -> str:
        if not key.thread:
            live = sum(entry.has_container for entry in self._service.entries.values())
            return f"I am here. {live} sandboxes are live, {self._stops.count} requests run."
        running = self._stops.since(key)
        first = await self._waiting.first(key)
        entry = self._service.entries.get(sandbox_key(key))
        lines = [
            f"A request runs for {_ago(running.total_seconds())}." if running is not None else NOTHING_RUNS,
            "More requests wait." if first is not None else "",
            _sandbox_words(entry),
        ]
        return " ".join(line for line in lines if line)

    async def _usage(self, key: ThreadKey, person: Person) -> str:
        now = self._clock()
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        month = now - timedelta(days=30)
        used = await self._people.usage(key.platform, key.workspace, person.id, today)
        lines = [f"You, today: {_usage_words(used)}."]
        used = await self._people.usage(key.platform, key.workspace, person.id, month)
        lines.append(f"You, in 30 days: {_usage_words(used)}.")
        if person.is_admin:
            everybody = await self._people.usage(key.platform, key.workspace, None, month)
            lines.append(f"Everybody, in 30 days: {_usage_words(everybody)}.")
        most = (await self._config.effective(key)).daily_turns
        if most:
            lines.append(f"A person may make {most} requests a day.")
        return "\n".join(lines)

    async def sandboxes(self, person: Person, platform: str, workspace: str) -> list[LiveSandbox]:
        """See bot.ports.Commands."""
        found: list[LiveSandbox] = []
        for name, entry in list(self._service.entries.items()):
            key = key_of_sandbox(name)
            if key is None or (key.platform, key.workspace) != (platform, workspace) or not entry.has_container:
                continue
            if person.is_admin or person.id in await self._people.requesters(key):
                idle = max(0, round(self._clock().timestamp() - entry.record.last_used))
                cell = printable(entry.record.last_cell)
                found.append(LiveSandbox(key=key, state=_state(entry), idle_seconds=idle, last_cell=cell))
        return sorted(found, key=lambda one: one.idle_seconds)[:SANDBOXES_SHOWN]

    async def fields(self, key: ThreadKey, person: Person, scope: Scope) -> list[Field]:
        """See bot.ports.Commands."""
        return await self._config.fields(key, person, scope)

    async def all_fields(self, key: ThreadKey) -> list[Field]:
        """See bot.ports.Commands."""
        return await self._config.all_fields(key)

    async def submit(self, key: ThreadKey, person: Person, scope: Scope, values: Mapping[str, str]) -> dict[str, str]:
        """See bot.ports.Commands."""
        return await self._config.submit(key, person, scope, values)

    async def gone(self, place: ThreadKey, *, for_good: bool) -> int:
        """See bot.ports.Commands."""
        await self._waiting.withdraw_all(place)
        for running in self._stops.within(place):
            self._stops.stop(running)
        count = 0
        for name in sorted(await self._service.keys()):
            key = key_of_sandbox(name)
            if key is not None and key.is_within(place):
                async with self._service.lease(name) as lease:
                    await (lease.reset() if for_good else lease.put_away())
                count += 1
        return count

    async def judge(self, turn_id: str, person: Person, value: int) -> str:
        """See bot.ports.Commands."""
        kept = await self._choices.judge(turn_id, person.id, value)
        return "Thank you, I keep that with the answer." if kept else "I no longer have that answer."


def sandbox_key(key: ThreadKey) -> str:
    """The sandbox service's name for a thread."""
    return "/".join((key.platform, key.workspace, key.channel, key.thread))


def key_of_sandbox(name: str) -> ThreadKey | None:
    """The thread that a sandbox is called by; None for a sandbox of no thread."""
    parts = name.split("/")
    if len(parts) != 4:
        return None
    platform, workspace, channel, thread = parts
    return ThreadKey(platform=platform, workspace=workspace, channel=channel, thread=thread)


def _state(entry: Entry) -> str:
    return "in use" if entry.lock.locked() else "idle"


def _sandbox_words(entry: Entry | None) -> str:
    if entry is None or not entry.has_container:
        return "There is no live sandbox; what was saved comes back with the next request."
    return f"The sandbox is {_state(entry)}."


def _list(found: list[LiveSandbox]) -> str:
    if not found:
        return "No thread of yours has a live sandbox."
    return "\n".join(
        f"- {one.key.channel} {one.key.thread}: {one.state}, last used {_ago(one.idle_seconds)} ago · `{one.last_cell}`"
        for one in found
    )


def _usage_words(used: Usage) -> str:
    code = f"{used.run_seconds:.0f} s of code, {used.cpu_seconds:.0f} s of processor time"
    memory = f", {size_words(used.peak_bytes)} of memory at most" if used.peak_bytes else ""
    return f"{used.turns} requests, {used.tokens:,} tokens, {code}{memory}"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
