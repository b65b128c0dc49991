"""Who may do what; pure. Every answer is None for yes, or the words of the refusal."""

from __future__ import annotations

from typing import Literal

from bot.model import Person
from bot.options import Effective, Option, Scope

Deed = Literal["stop", "rerun", "reset", "delete"]

_STRANGERS = {
    "guest": "Guests may not run code here. An admin can allow it: `config set guests allow`.",
    "external": "People of other companies may not run code here. An admin can allow it: `config set guests allow`.",
    "bot": "I do not take requests from other bots.",
    "unknown": "I could not check who you are, so I did not run anything. Try again in a minute.",
}


def may_ask(person: Person, options: Effective) -> str | None:
    """Whether somebody may have code run."""
    if person.standing in ("bot", "unknown"):
        return _STRANGERS[person.standing]
    if person.standing != "member" and options.guests == "refuse":
        return _STRANGERS[person.standing]
    if person.is_admin:
        return None
    known_as = {person.id, *person.groups}
    if known_as.intersection(options.deny):
        return "You may not ask me here: an admin has put you, or a role of yours, on the list `deny`."
    if options.allow and not known_as.intersection(options.allow):
        return "You are not on the list of people who may ask me here. An admin can add you: `config set allow …`."
    return None


def may_do(deed: Deed, person: Person, requesters: frozenset[str], options: Effective) -> str | None:
    """Whether somebody may stop, run again, reset or delete what the `requesters` asked for."""
    if person.is_admin or person.id in requesters:
        return None
    if deed == "stop" and options.stop_by == "anyone":
        return None if may_ask(person, options) is None else _STRANGERS.get(person.standing, "You may not stop this.")
    words = {"stop": "stop this", "rerun": "run this again", "reset": "reset this sandbox", "delete": "delete this"}
    return f"Only the person who asked, or an admin, may {words[deed]}."


def may_set(option: Option, scope: Scope, person: Person, requesters: frozenset[str]) -> str | None:
    """Whether somebody may set or unset an option there."""
    if person.is_admin:
        return None
    if scope == "thread" and option.in_thread:
        if person.id in requesters:
            return None
        return "Only the person who began this thread, or an admin, may set options here."
    return f"Only an admin may set {option.name} for the {scope}."
