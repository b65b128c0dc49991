"""Options: types, ranges, scopes, and who may set them; and the order of messages in a thread."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bot.errors import Refused
from bot.model import Person, ThreadKey
from bot.options import Effective, Options, Ranges, Scope
from bot.order import ThreadOrder
from bot.policy import may_ask, may_do, may_set

OPTIONS = Options(
    Effective(model="small", timeout=60, network="packages"),
    Ranges(models=("small", "Large"), networks=("off", "packages"), most_timeout=120, most_cpu_seconds=300),
)
ADA = Person(id="ada", name="Ada")
BOSS = Person(id="boss", name="Boss", is_admin=True)


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("model", "LARGE", "Large"),
        ("timeout", "90", 90.0),
        ("followups", "Mention", "mention"),
        ("allow", "<@U1|ada>, U2 U1", ("U1", "U2")),
        ("allow", "everyone", ()),
        ("deny", "<@!1> <@&2>", ("1", "2")),
        ("deny", "nobody", ()),
        ("daily_turns", "5", 5),
    ],
)
def test_words_become_values(name: str, words: str, value: object) -> None:
    assert OPTIONS.option(name).parse(words) == value


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("model", "huge", "model is one of: small, Large"),
        ("timeout", "121", "timeout is a number from 1 to 120"),
        ("timeout", "nan", "timeout is a number from 1 to 120"),
        ("timeout", "soon", "'soon' is not"),
        ("network", "allowlist", "network is one of: off, packages"),
        ("allow", "", "allow is a list"),
        ("allow", "a;b", "allow is a list"),
        ("prompt", "x" * 2001, "prompt may have 2,000 characters"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(name: str, words: str, said: str) -> None:
    with pytest.raises(Refused, match=said.replace("(", "[(]")):
        OPTIONS.option(name).parse(words)


def test_an_option_that_is_not_there_is_answered_with_all_there_are() -> None:
    with pytest.raises(Refused, match="model, prompt, timeout"):
        OPTIONS.option("memery")


def test_the_thread_comes_before_the_channel_before_the_workspace_before_the_operator() -> None:
    stored: dict[Scope, dict[str, str]] = {
        "workspace": {"timeout": "10", "model": "Large"},
        "channel": {"timeout": "20"},
        "thread": {"timeout": "30"},
    }

    effective = OPTIONS.effective(stored)

    assert (effective.timeout, effective.model, effective.network) == (30.0, "Large", "packages")
    assert OPTIONS.source("timeout", stored) == "thread"
    assert OPTIONS.source("network", stored) == "default"


def test_what_the_operator_no_longer_allows_counts_as_not_set() -> None:
    assert OPTIONS.effective({"channel": {"timeout": "9999", "gone": "1"}}).timeout == 60


@pytest.mark.parametrize(
    ("scope", "person", "allowed"),
    [("workspace", ADA, False), ("channel", ADA, False), ("thread", ADA, True), ("workspace", BOSS, True)],
)
def test_who_may_set_what(scope: Scope, person: Person, allowed: bool) -> None:
    refusal = may_set(OPTIONS.option("show_code"), scope, person, frozenset({"ada"}))

    assert (refusal is None) == allowed


def test_what_concerns_others_is_not_for_a_thread_to_set() -> None:
    for name in ("guests", "network", "model", "timeout", "cpu_seconds", "allow", "daily_turns", "stop_by"):
        assert may_set(OPTIONS.option(name), "thread", ADA, frozenset({"ada"})) is not None


def test_a_list_of_people_shuts_out_all_others_but_admins() -> None:
    options = Effective(model="m", allow=("bob",))

    assert may_ask(ADA, options) is not None
    assert may_ask(Person(id="bob", name="Bob"), options) is None
    assert may_ask(BOSS, options) is None


def test_only_the_requester_or_an_admin_may_throw_things_away() -> None:
    options = Effective(model="m")

    for deed in ("rerun", "reset", "delete"):
        assert may_do(deed, ADA, frozenset({"bob"}), options) is not None  # type: ignore[arg-type]
        assert may_do(deed, BOSS, frozenset({"bob"}), options) is None  # type: ignore[arg-type]
    assert may_do("stop", ADA, frozenset({"bob"}), options) is None


async def test_of_several_messages_that_wait_the_earliest_sent_comes_next() -> None:
    order = ThreadOrder()
    key = ThreadKey(platform="p", workspace="w", channel="c", thread="t")
    start = datetime(2026, 11, 23, tzinfo=UTC)
    done: list[int] = []
    begun = asyncio.Event()

    async def handle(number: int) -> None:
        async with order.turn_of(key, start + timedelta(seconds=number)):
            begun.set()
            await asyncio.sleep(0.01)
            done.append(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(handle(5))
        await begun.wait()
        for number in (4, 1, 3, 2):
            group.create_task(handle(number))

    assert done == [5, 1, 2, 3, 4]


async def test_one_that_gave_up_waiting_stops_nobody() -> None:
    order = ThreadOrder()
    key = ThreadKey(platform="p", workspace="w", channel="c", thread="t")
    now = datetime(2026, 11, 23, tzinfo=UTC)

    async def wait() -> None:
        async with order.turn_of(key, now):
            pass

    async with order.turn_of(key, now):
        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        first.cancel()
    await second

    assert first.cancelled()


def test_roles_are_on_lists_like_people() -> None:
    student = Person(id="eve", name="Eve", groups=("students",))

    assert may_ask(student, Effective(model="m", allow=("students",))) is None
    assert may_ask(student, Effective(model="m", deny=("students",))) is not None
    assert may_ask(student, Effective(model="m", allow=("eve",), deny=("students",))) is not None
    assert may_ask(BOSS, Effective(model="m", deny=(BOSS.id,))) is None
