"""The connections and transactions of the store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

import bot.store
from bot.errors import ConfigurationError
from bot.store import Database
from bot.store.database import HEAD
from bot.store.schema import metadata
from bot.store.sqlite import connector
from tests.doubles.database import new_database


async def test_closing_waits_for_what_is_being_written_and_takes_nothing_more(database: Database) -> None:
    async with database.begin() as connection:
        closing = asyncio.ensure_future(database.aclose())
        await asyncio.sleep(0.01)
        assert not closing.done()
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        with pytest.raises(RuntimeError, match="closed"):
            async with database.begin():
                pass
    await closing


async def test_a_transaction_that_outlasts_the_closing_leaves_no_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.CLOSE_SECONDS", 0.01)
    async with database.begin() as connection:
        await connection.execute(text("SELECT 1"))
        await database.aclose()

    assert database._kept is None


async def test_what_is_refused_at_its_commit_is_not_there_for_the_next(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE whole (id INTEGER PRIMARY KEY)"))
        refers = "REFERENCES whole (id) DEFERRABLE INITIALLY DEFERRED"
        await connection.execute(text(f"CREATE TABLE part (whole INTEGER {refers})"))

    with pytest.raises(DBAPIError):
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO part VALUES (7)"))

    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM part"))).scalar() == 0
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO whole VALUES (7)"))
    async with database.begin() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM whole"))).scalar() == 1


@pytest.mark.thorough
async def test_a_transaction_that_is_cancelled_anywhere_leaves_all_of_it_or_nothing(database: Database) -> None:
    async def pair(number: int) -> None:
        async with database.begin() as connection:
            for word in ("first", "second"):
                await connection.execute(text("INSERT INTO pairs VALUES (:n, :w)"), {"n": number, "w": word})

    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE pairs (number INTEGER, word TEXT)"))
    for number in range(60):
        cut = asyncio.ensure_future(pair(number))
        for _ in range(number % 15):
            await asyncio.sleep(0)
        if number % 2:
            await asyncio.sleep(number / 100_000)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        await pair(1000 + number)

    async with database.begin() as connection:
        halves = await connection.execute(text("SELECT number FROM pairs GROUP BY number HAVING count(*) <> 2"))
        whole = await connection.execute(text("SELECT count(*) FROM pairs WHERE number >= 1000"))
        assert (halves.all(), whole.scalar()) == ([], 120)


async def test_a_cancelled_transaction_locks_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "locked.sqlite"
    database = await new_database(path)
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE pairs (number INTEGER, word TEXT)"))
    kept: list[BaseException | None] = []

    async def fill(number: int) -> None:
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO pairs VALUES (:n, 'x')"), {"n": number})
            many = [{"n": number, "w": "y" * 100} for _ in range(2000)]
            await connection.execute(text("INSERT INTO pairs VALUES (:n, :w)"), many)

    gc.disable()
    try:
        for number in range(10):
            cut = asyncio.ensure_future(fill(number))
            await asyncio.sleep(0.0005 * (number % 10 + 1))
            cut.cancel()
            kept += await asyncio.gather(cut, return_exceptions=True)
            await _may_write(path)
    finally:
        gc.enable()
        await database.aclose()
    assert any(isinstance(error, asyncio.CancelledError) for error in kept)


async def _may_write(path: Path) -> None:
    """Another connection can, within a second."""

    def write() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=1)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.rollback()

    await asyncio.to_thread(write)


async def test_a_database_that_cannot_be_opened_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").write_text("this is no database " * 100)

    for url, told in (
        (f"sqlite+aiosqlite:///{tmp_path}/none/a.sqlite", "unable to open database file"),
        (f"sqlite+aiosqlite:///{tmp_path}/other.sqlite", "file is not a database"),
        ("postgresql+asyncpg://u:hunter2@127.0.0.1:1/db", "Connect call failed"),
        ("postgresql+asyncpg://u:hunter2@127.0.0.1:1/db?channel_binding=require", "channel_binding"),
    ):
        with pytest.raises(ConfigurationError, match=told) as caught:
            await Database.open(url)
        assert "hunter2" not in str(caught.value)


def test_a_loop_that_ends_before_its_connections_breaks_none_of_their_threads(tmp_path: Path) -> None:
    async def open_and_fail() -> None:
        with pytest.raises(ConfigurationError):
            await Database.open(f"sqlite+aiosqlite:///{tmp_path}/none/a.sqlite")

    async def leave_a_statement(going_on: threading.Event) -> None:
        connection = await connector(str(tmp_path / "left.sqlite"))()
        left = asyncio.ensure_future(connection._execute(going_on.wait))
        await asyncio.sleep(0)
        left.cancel()
        connection.stop()

    before = set(threading.enumerate())
    for _ in range(10):
        asyncio.run(open_and_fail())
        asyncio.run(leave_a_statement(going_on := threading.Event()))
        going_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()  # and pytest fails a test in which a thread has raised


@pytest.mark.postgres
async def test_a_role_that_postgresql_does_not_know_is_named(new_postgres_url: Callable[[], str]) -> None:
    with pytest.raises(ConfigurationError, match='role "nobody" does not exist'):
        await Database.open(new_postgres_url().replace("threadbox@", "nobody@"))


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        url = connection.engine.url.render_as_string(hide_password=False)

    with pytest.raises(ConfigurationError, match="newer Threadbox"):
        await Database.open(url)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_the_migrations_make_what_the_schema_says(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    url = f"sqlite+aiosqlite:///{tmp_path}/made.sqlite"  # the fixture's was made from the schema
    if kind == "postgres":
        url = request.getfixturevalue("new_postgres_url")()
    database = await Database.open(url)
    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []
    await database.aclose()


async def test_the_schema_is_the_newest_and_opens_twice(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(bot.store.__file__).parent / "migrations"))

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    await (await Database.open(database._engine.url.render_as_string(hide_password=False))).aclose()


async def test_what_is_begun_together_is_one_transaction_and_others_are_not_in_it(database: Database) -> None:
    inside, outside = asyncio.Event(), asyncio.Event()

    async def other() -> object:
        await inside.wait()
        outside.set()
        async with database.begin() as connection:
            return connection.get_transaction()

    task = asyncio.ensure_future(other())
    async with database.together():
        async with database.begin() as connection:
            first = connection.get_transaction()
            inside.set()
            await outside.wait()
        async with database.begin() as connection:
            assert connection.get_transaction() is first
    async with database.begin() as connection:
        assert connection.get_transaction() is not first

    assert await task is not first
