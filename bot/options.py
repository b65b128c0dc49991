"""What people may configure: each option with its type, range, default and who may set it; pure.

A value is looked for in the thread, then the channel, then the workspace; what is set nowhere is the operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from bot.errors import Refused

Scope = Literal["workspace", "channel", "thread"]
SCOPES: tuple[Scope, ...] = ("workspace", "channel", "thread")
PROMPT_CHARS = 2_000
ALLOW_MOST = 200  # people on one list
EMPTY_LISTS = {"allow": "everyone", "deny": "nobody"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """The options as they hold in one thread."""

    model: str
    prompt: str = ""
    timeout: float = 60.0
    cpu_seconds: float = 300.0
    network: str = "off"
    followups: Literal["all", "mention"] = "all"
    show_code: Literal["on", "off"] = "on"
    stop_by: Literal["anyone", "requester"] = "anyone"
    guests: Literal["refuse", "allow"] = "refuse"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    answers: Literal["on", "off"] = "on"
    answer_in: Literal["thread", "channel"] = "thread"
    daily_turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """The operator's bounds on what others may choose."""

    models: tuple[str, ...]
    networks: tuple[str, ...]
    most_timeout: float
    most_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `parse` turns words into the value and raises Refused with the range; `choices` are all there are."""

    name: str
    says: str
    parse: Callable[[str], Any]
    choices: tuple[str, ...] = ()
    in_thread: bool = True
    """Whether a thread may have its own; only admins set the others."""
    platform: str = ""
    """The one platform that it means something on; empty: on all."""


Stored = Mapping[Scope, Mapping[str, Any]]


class Options:
    """All options, with the operator's defaults and bounds."""

    def __init__(self, defaults: Effective, ranges: Ranges) -> None:
        self.defaults = defaults
        self._options = {option.name: option for option in _all(ranges)}

    def __iter__(self) -> Any:
        return iter(self._options.values())

    def option(self, name: str) -> Option:
        """The option of that name. Raises Refused that names all."""
        if name not in self._options:
            raise Refused(f"There is no option {name[:40]!r}. There are: {', '.join(self._options)}.")
        return self._options[name]

    def effective(self, stored: Stored) -> Effective:
        """What holds, given what was set; what no longer is within the operator's bounds counts as not set."""
        values = {field.name: getattr(self.defaults, field.name) for field in fields(Effective)}
        for scope in SCOPES:
            for name, words in stored.get(scope, {}).items():
                try:
                    values[name] = self.option(name).parse(words)
                except Refused:
                    continue
        return Effective(**values)

    def source(self, name: str, stored: Stored) -> str:
        """Where a value comes from: a scope, or `default`."""
        return next((scope for scope in reversed(SCOPES) if name in stored.get(scope, {})), "default")


def words_of(value: Any, name: str = "") -> str:
    """A value as people write it; `name` is the option's, for what an empty list is called."""
    if isinstance(value, tuple):
        return ", ".join(value) or EMPTY_LISTS.get(name, "")
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _all(ranges: Ranges) -> list[Option]:
    return [
        _choice("model", "which model answers", ranges.models, in_thread=False),
        Option(name="prompt", says="what the agent is told beside its task", parse=_prompt),
        _number("timeout", "seconds that one piece of code may take", 1, ranges.most_timeout),
        _number("cpu_seconds", "seconds of processor time for one request", 1, ranges.most_cpu_seconds),
        _choice("network", "what code may reach", ranges.networks, in_thread=False),
        _choice("followups", "which messages of a thread I answer", ("all", "mention")),
        _choice("show_code", "whether the code is shown with its output", ("on", "off")),
        _choice("stop_by", "who may stop a run", ("anyone", "requester"), in_thread=False),
        _choice("guests", "whether guests and people of other companies may ask", ("refuse", "allow"), in_thread=False),
        Option(name="allow", says="who may ask: people, roles, or everyone", parse=_people("allow"), in_thread=False),
        Option(name="deny", says="who may not ask: people, roles, or nobody", parse=_people("deny"), in_thread=False),
        _choice("answers", "whether I answer here", ("on", "off"), in_thread=False),
        _choice(
            "answer_in",
            "where I answer a mention in a channel",
            ("thread", "channel"),
            in_thread=False,
            platform="discord",
        ),
        Option(
            name="daily_turns",
            says="requests a person may make a day; 0 for no bound",
            parse=lambda words: int(_parsed("daily_turns", words, 0, 100_000)),
            in_thread=False,
        ),
    ]


def _choice(name: str, says: str, choices: tuple[str, ...], *, in_thread: bool = True, platform: str = "") -> Option:
    def parse(words: str) -> str:
        found = {choice.lower(): choice for choice in choices}.get(words.strip().lower())
        if found is None:
            raise Refused(f"{name} is one of: {', '.join(choices)}. {words.strip()[:40]!r} is not.")
        return found

    return Option(name=name, says=says, parse=parse, choices=choices, in_thread=in_thread, platform=platform)


def _number(name: str, says: str, least: float, most: float) -> Option:
    return Option(
        name=name,
        says=f"{says} ({least:g} to {most:g})",
        parse=lambda words: _parsed(name, words, least, most),
        in_thread=False,
    )


def _parsed(name: str, words: str, least: float, most: float) -> float:
    try:
        number = float(words)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise Refused(f"{name} is a number from {least:g} to {most:g}. {words.strip()[:40]!r} is not.")
    return number


def _prompt(words: str) -> str:
    if len(words) > PROMPT_CHARS:
        raise Refused(f"prompt may have {PROMPT_CHARS:,} characters; that are {len(words):,}.")
    return words.strip()


def _people(name: str) -> Callable[[str], tuple[str, ...]]:
    empty = EMPTY_LISTS[name]

    def parse(words: str) -> tuple[str, ...]:
        if words.strip().lower() == empty:
            return ()
        written = (word.strip("<@&!>,").partition("|")[0] for word in words.replace(",", " ").split())
        people = tuple(dict.fromkeys(written))
        if not people or len(people) > ALLOW_MOST or any(not person.isalnum() for person in people):
            raise Refused(f"{name} is a list of up to {ALLOW_MOST} people or roles, by mention or id, or: {empty}.")
        return people

    return parse
