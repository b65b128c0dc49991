"""What an adapter keeps for its next life, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from bot.store import Database, SqlMemos


async def test_what_was_kept_under_a_name_is_there_and_newer_replaces_older(database: Database) -> None:
    memos = SqlMemos(database)

    before = await memos.get("discord", "cursor")
    await memos.put("discord", "cursor", "1")
    await memos.put("discord", "cursor", "2")
    await memos.put("slack", "cursor", "3")

    assert before is None
    assert await memos.get("discord", "cursor") == "2"
