"""What the store does, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from bot.model import Attachment, IncomingMessage, Notice, Person, Reply, Text, ThreadKey
from bot.store import Database, SqlClaims, SqlHistory, SqlInbox, SqlOutbox, SqlTurns, SqlWaiting
from bot.store.schema import replies

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture
def inbox(database: Database) -> SqlInbox:
    return SqlInbox(database, lambda: NOW)


@pytest.fixture
def claims(database: Database) -> SqlClaims:
    return SqlClaims(database)


@pytest.fixture
def turns(database: Database) -> SqlTurns:
    return SqlTurns(database, lambda: NOW)


def message(number: int, thread: str = "t", text: str = "hello") -> IncomingMessage:
    key = ThreadKey(platform="test", workspace="w", channel="c", thread=thread)
    return IncomingMessage(
        key=key,
        message_id=f"{thread}-{number}",
        author=Person(id="p", name="Ada"),
        text=text,
        sent_at=NOW,
        for_us=True,
        attachments=(Attachment(name="a.csv", size=3, source="s"),),
    )


async def test_a_message_is_claimed_once(inbox: SqlInbox) -> None:
    first = await inbox.claim(message(1), answer=True)
    second = await inbox.claim(message(1), answer=True)

    assert first is not None
    assert first.message == message(1)
    assert second is None


async def test_two_deliveries_at_once_make_one_turn(inbox: SqlInbox) -> None:
    claims = await asyncio.gather(*(inbox.claim(message(1), answer=True) for _ in range(10)))

    assert sum(claim is not None for claim in claims) == 1


async def test_turn_ids_sort_in_the_order_of_arrival(inbox: SqlInbox, claims: SqlClaims) -> None:
    ids = [turn.id for n in range(12) if (turn := await inbox.claim(message(n), answer=True))]

    assert len(ids) == 12
    assert ids == sorted(ids)
    assert [claim.turn_id for claim in await claims.claims()] == ids


async def test_a_claimed_turn_is_held_until_it_is_released_and_that_is_kept(
    inbox: SqlInbox, turns: SqlTurns, claims: SqlClaims
) -> None:
    ids = [turn.id for n in range(3) if (turn := await inbox.claim(message(n), answer=True))]

    before = await claims.claims()
    await claims.mark_released(ids[:2])
    await turns.start(ids[0])
    after = await claims.claims()

    assert [claim.is_released for claim in before] == [False, False, False]
    assert [claim.is_released for claim in after] == [True, True, False]
    assert {(claim.person, claim.thread_id) for claim in after} == {("test/p", ids[0].partition("-")[0])}


async def test_messages_of_one_thread_at_once_all_become_turns(inbox: SqlInbox) -> None:
    claims = await asyncio.gather(*(inbox.claim(message(n), answer=True) for n in range(10)))

    assert len({claim.id for claim in claims if claim}) == 10


async def test_a_message_for_others_is_kept_without_a_turn(inbox: SqlInbox, database: Database) -> None:
    assert await inbox.claim(message(1), answer=False) is None

    (entry,) = await SqlHistory(database).entries(message(1).key, 10)
    assert entry.turn_id is None
    assert not await inbox.is_engaged(message(1).key)


async def test_a_long_thread_is_read_by_its_newest_messages_alone(
    inbox: SqlInbox, turns: SqlTurns, database: Database
) -> None:
    """What of the thread is not asked for is not read: here it could not be."""
    for number in (1, 2):
        turn = await inbox.claim(message(number), answer=True)
        assert turn is not None
        reply = Reply(turn_id=turn.id, part=0, blocks=(Text(markdown=f"answer {number}"),), final=True)
        await SqlOutbox(database, lambda: NOW).write(reply)
    async with database.begin() as connection:
        await connection.execute(update(replies).where(replies.c.turn_id != turn.id).values(body={"no": "reply"}))

    (entry,) = await SqlHistory(database).entries(message(1).key, 1)

    assert entry.message.message_id == message(2).message_id
    assert entry.replies == (reply,)


async def test_a_finished_turn_is_no_longer_waiting_and_keeps_its_memory(
    inbox: SqlInbox, claims: SqlClaims, turns: SqlTurns
) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    assert await inbox.queued_by("p", "test") == 1

    await turns.start(turn.id)
    assert await inbox.queued_by("p", "test") == 0  # it runs
    await turns.finish(turn.id, "done", {"remember": ["é", 1]})

    assert await claims.claims() == []
    assert await inbox.queued_by("p", "test") == 0
    assert await turns.agent_state(turn.thread_id) == {"remember": ["é", 1]}
    assert (await turns.turn(turn.id)).status == "done"


async def test_a_turn_without_memory_leaves_the_old_one(inbox: SqlInbox, turns: SqlTurns) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    await turns.finish(turn.id, "done", {"a": 1})

    await turns.finish(turn.id, "failed", None)

    assert await turns.agent_state(turn.thread_id) == {"a": 1}


async def test_a_run_begins_once(inbox: SqlInbox, turns: SqlTurns) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    assert not await turns.has_sandbox(turn.thread_id)

    assert await turns.begin_run("r1", turn.id)
    assert not await turns.begin_run("r1", turn.id)
    assert await turns.has_sandbox(turn.thread_id)


async def test_a_retry_is_another_turn_of_the_same_message(inbox: SqlInbox, turns: SqlTurns) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    await turns.finish(turn.id, "failed", None)

    again = await inbox.again(turn.id)

    assert again.id > turn.id
    assert again.message == turn.message
    with pytest.raises(LookupError):
        await inbox.again("none")


async def test_only_an_ended_turn_can_be_retried(inbox: SqlInbox) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None

    for attempt in (inbox.again, inbox.message_of):
        with pytest.raises(LookupError):
            await attempt(turn.id)


async def test_the_turns_of_a_platform_that_is_gone_are_ended(inbox: SqlInbox, claims: SqlClaims) -> None:
    await inbox.claim(message(1), answer=True)

    await inbox.abandon("other")
    assert len(await claims.claims()) == 1
    await inbox.abandon("test")

    assert await claims.claims() == []


async def test_the_outbox_keeps_the_newest_form_and_the_posted_id(inbox: SqlInbox, database: Database) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    outbox = SqlOutbox(database, lambda: NOW)
    draft = Reply(turn_id=turn.id, part=0, blocks=(Text(markdown="a"),), final=False)
    final = Reply(turn_id=turn.id, part=0, blocks=(Notice(text="b"),), final=True)

    await outbox.write(draft)
    assert (await outbox.replies(turn.id))[0].message_id is None
    await outbox.posted(draft, "m1")
    await outbox.write(final)

    (kept,) = await outbox.replies(turn.id)
    assert (kept.reply, kept.message_id) == (final, "m1")


async def test_a_thread_is_listed_by_its_first_message(inbox: SqlInbox, database: Database) -> None:
    await inbox.claim(message(1, "one", "first words\nmore"), answer=True)
    await inbox.claim(message(2, "one"), answer=True)
    await inbox.claim(message(1, "two", "other"), answer=True)

    summaries = await SqlHistory(database).threads("test", "c", 10)

    assert {(item.title, item.messages) for item in summaries} == {("first words", 2), ("other", 1)}


async def test_final_replies_that_could_not_be_posted_are_found_again(
    inbox: SqlInbox, turns: SqlTurns, database: Database
) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    outbox = SqlOutbox(database, lambda: NOW + timedelta(minutes=5))
    final = Reply(turn_id=turn.id, part=0, blocks=(Text(markdown="a"),), final=True)
    await outbox.write(final)
    await outbox.write(Reply(turn_id=turn.id, part=1, blocks=(Text(markdown="b"),), final=False))
    before = await outbox.undelivered(10, platforms=["test"])
    await turns.finish(turn.id, "done", None)

    found = await outbox.undelivered(10, platforms=["test"])
    await outbox.posted(final, "m1")

    assert before == []
    assert found == [(turn.key, final)]
    assert await outbox.undelivered(10, platforms=["test"]) == []


async def test_what_cannot_be_posted_now_takes_no_place_of_what_can(
    inbox: SqlInbox, turns: SqlTurns, database: Database
) -> None:
    outbox = SqlOutbox(database, lambda: NOW + timedelta(minutes=5))

    async def left(number: int, platform: str = "test", *, final: bool = True) -> tuple[ThreadKey, Reply]:
        said = message(number, f"t{number}")
        turn = await inbox.claim(replace(said, key=replace(said.key, platform=platform)), answer=True)
        assert turn is not None
        reply = Reply(turn_id=turn.id, part=0, blocks=(Text(markdown="a"),), final=final)
        await outbox.write(reply)
        await turns.finish(turn.id, "done", None)
        return turn.key, reply

    await left(1, final=False)
    await left(2, "other")
    failed, _ = await left(3)
    wanted = await left(4)

    assert await outbox.undelivered(1, platforms=["test", "more"], without=[failed]) == [wanted]
    assert await outbox.undelivered(1, platforms=[]) == []


async def test_a_turn_is_found_by_its_id_and_by_its_message(database: Database, inbox: SqlInbox) -> None:
    turn = await inbox.claim(message(1), answer=True)
    assert turn is not None
    history = SqlHistory(database)
    place = ThreadKey(platform="test", workspace="w", channel="c", thread="")

    by_id, by_message = await history.turn(turn.id), await history.turn_of(place, "t-1")
    assert by_id is not None and by_id == by_message
    assert (by_id.id, by_id.message) == (turn.id, turn.message)
    assert await history.turn("none") is None
    assert await history.turn_of(replace(place, workspace="other"), "t-1") is None


@pytest.mark.parametrize(
    ("place", "left"), [(("w", "c", "t"), 1), (("w", "c", ""), 0), (("w", "", ""), 0), (("v", "", ""), 2)]
)
async def test_what_waits_in_a_place_is_withdrawn(
    database: Database, inbox: SqlInbox, claims: SqlClaims, place: tuple[str, str, str], left: int
) -> None:
    for thread in ("t", "u"):
        await inbox.claim(message(1, thread), answer=True)
    workspace, channel, thread = place

    await SqlWaiting(database, lambda: NOW).withdraw_all(
        ThreadKey(platform="test", workspace=workspace, channel=channel, thread=thread)
    )

    assert len(await claims.claims()) == left


async def test_two_presses_of_retry_at_once_make_one_turn(inbox: SqlInbox, turns: SqlTurns) -> None:
    for number in range(10):
        turn = await inbox.claim(message(number), answer=True)
        assert turn is not None
        await turns.finish(turn.id, "failed", None)

        made = await asyncio.gather(inbox.again(turn.id), inbox.again(turn.id), return_exceptions=True)

        assert sorted(type(one).__name__ for one in made) == ["Refused", "Turn"]
