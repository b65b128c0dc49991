"""The command `config`: options by scope, as words or as a form."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from bot.errors import Refused
from bot.invocation import Invocation
from bot.model import Person, ThreadKey
from bot.options import SCOPES, Effective, Options, Scope, Stored, words_of
from bot.policy import may_set
from bot.store_ports import Choices, People
from bot.views import Field

NO_THREAD = "Say this in a thread of mine: mention me there with the same words."


class ConfigCommand:
    """Part of bot.commands."""

    def __init__(self, options: Options, choices: Choices, people: People) -> None:
        self._options = options
        self._choices = choices
        self._people = people

    async def effective(self, key: ThreadKey) -> Effective:
        """The options as they hold in a thread."""
        return self._options.effective(await self._choices.stored(key))

    async def run(self, invocation: Invocation, rest: str) -> str:
        """`show`, `set` or `unset`. Raises Refused."""
        verb, _, rest = rest.strip().partition(" ")
        if verb.lower() in ("", "show"):
            return await self._show(invocation.key)
        if verb.lower() not in ("set", "unset"):
            return "I know `config show`, `config set NAME VALUE` and `config unset NAME`."
        scope, rest = _scope_of(rest.strip(), invocation.scope)
        if scope == "thread" and not invocation.key.thread:
            return NO_THREAD
        name, _, value = rest.partition(" ")
        option = self._options.option(name.lower())
        await self._may_set(option.name, scope, invocation.key, invocation.person)
        if verb.lower() == "unset":
            there = await self._choices.unset(invocation.key, scope, option.name)
            return f"{option.name} is no longer set for the {scope}." if there else f"It was not set for the {scope}."
        words = _unquoted(value.strip())
        shown = words_of(option.parse(words), option.name)
        await self._choices.set(invocation.key, scope, option.name, words, invocation.person.id)
        return f"{option.name} is now {shown or 'empty'} for the {scope}."

    async def _may_set(self, name: str, scope: Scope, key: ThreadKey, person: Person) -> None:
        requesters = await self._people.requesters(key) if scope == "thread" else frozenset[str]()
        refusal = may_set(self._options.option(name), scope, person, requesters)
        if refusal is not None:
            raise Refused(refusal)

    async def _show(self, key: ThreadKey) -> str:
        lines = [f"- **{field.name}**: {field.value or '(empty)'} ({field.source}) · {field.says}"
                 for field in await self.all_fields(key)]  # fmt: skip
        return "\n".join(lines)

    async def fields(self, key: ThreadKey, person: Person, scope: Scope) -> list[Field]:
        """See bot.ports.Commands."""
        requesters = await self._people.requesters(key) if key.thread else frozenset[str]()

        def may(name: str) -> bool:
            return may_set(self._options.option(name), scope, person, requesters) is None

        return [field for field in await self._fields_of(key, scope) if may(field.name)]

    async def all_fields(self, key: ThreadKey) -> list[Field]:
        """See bot.ports.Commands."""
        return self._fields(await self._choices.stored(key), key.platform)

    async def _fields_of(self, key: ThreadKey, scope: Scope) -> list[Field]:
        """How every option stands for a scope, whatever a narrower one says. Raises Refused."""
        if scope == "thread" and not key.thread:
            raise Refused(NO_THREAD)
        wide = SCOPES[: SCOPES.index(scope) + 1]
        stored = await self._choices.stored(key)
        return self._fields({name: stored[name] for name in wide if name in stored}, key.platform)

    def _fields(self, stored: Stored, platform: str) -> list[Field]:
        effective = self._options.effective(stored)
        return [
            Field(
                name=option.name,
                says=option.says,
                value=words_of(getattr(effective, option.name), option.name),
                source=self._options.source(option.name, stored),
                choices=option.choices,
            )
            for option in self._options
            if option.platform in ("", platform)
        ]

    async def submit(self, key: ThreadKey, person: Person, scope: Scope, values: Mapping[str, str]) -> dict[str, str]:
        """See bot.ports.Commands."""
        mistakes: dict[str, str] = {}
        changed: dict[str, str] = {}
        before = {field.name: field.value for field in await self._fields_of(key, scope)}
        for name, words in values.items():
            try:
                value = words_of(self._options.option(name).parse(words), name)
                if value != before.get(name):
                    await self._may_set(name, scope, key, person)
                    changed[name] = words
            except Refused as error:
                mistakes[name] = error.for_people
        if not mistakes:
            for name, words in changed.items():
                await self._choices.set(key, scope, name, words, person.id)
        return mistakes


def is_config(words: str) -> bool:
    """Whether a message is this command, and not a request that begins with its name."""
    parts = words.lower().split()
    return bool(parts) and parts[0] == "config" and (len(parts) == 1 or parts[1] in ("show", "set", "unset"))


def _scope_of(rest: str, default: Scope) -> tuple[Scope, str]:
    first, _, others = rest.partition(" ")
    for scope in SCOPES:
        if first.lower() == scope:
            return scope, others.strip()
    return default, rest


def _unquoted(value: str) -> str:
    try:
        parts = shlex.split(value)
    except ValueError:  # an apostrophe in a prompt
        return value
    return parts[0] if len(parts) == 1 else value
