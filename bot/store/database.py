"""One connection pool, brought up to the newest schema before it is used."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import event, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

HEAD = "0004"  # the newest revision in migrations/versions; a test holds the two together
BUSY_SECONDS = 10.0  # a writer waits so long for another one's lock


class Database:
    """Use `open`, then `begin` for a transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # SQLite has one writer: turns that write wait here in order, not in a busy loop of the driver
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect and migrate. Raises SQLAlchemy's errors."""
        engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _tune_sqlite)
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
        return cls(engine)

    def begin(self) -> _Transaction:
        """A transaction as an async context manager."""
        return _Transaction(self._engine, self._writer)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


class _Transaction:
    def __init__(self, engine: AsyncEngine, writer: asyncio.Lock | None) -> None:
        self._begin = engine.begin()
        self._writer = writer

    async def __aenter__(self) -> AsyncConnection:
        if self._writer is not None:
            await self._writer.acquire()
        try:
            return await self._begin.__aenter__()
        except BaseException:
            if self._writer is not None:
                self._writer.release()
            raise

    async def __aexit__(self, *error: Any) -> None:
        try:
            await self._begin.__aexit__(*error)
        finally:
            if self._writer is not None:
                self._writer.release()


def _tune_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    cursor.close()


def _migrate(connection: Connection) -> None:
    if inspect(connection).has_table("alembic_version"):
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if version == HEAD:
            return
    # imported only when there is something to do: it costs half a second of start
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
