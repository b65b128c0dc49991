"""One connection pool, brought up to the newest schema before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.errors import ConfigurationError
from bot.store.sqlite import connector

HEAD = "0007"  # the newest revision in migrations/versions; a test holds the two together
CLOSE_SECONDS = 10.0  # closing waits so long for the transactions that run


class Database:
    """Use `open`, then `begin` for a transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # SQLite has one writer: turns that write wait here in order, not in a busy loop of the driver
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        # SQLite's one, between transactions: to ask the pool for it takes a third of a short one
        self._kept: AsyncConnection | None = None
        self._together: ContextVar[AsyncConnection | None] = ContextVar("together", default=None)
        self._running = 0  # transactions
        self._closed: asyncio.Event | None = None  # set when the last of them has ended
        self._was_left = False  # whether closing waits no longer for them

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect and migrate. Raises ConfigurationError."""
        options: dict[str, Any] = {"pool_pre_ping": True}
        if (parsed := make_url(url)).get_backend_name() == "sqlite":
            # every use is a transaction that ended, or a connection that is closed: none comes back to be rolled back
            options = {"async_creator": connector(parsed.database or ""), "pool_reset_on_return": None}
        engine = create_async_engine(url, **options)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_migrate)
        except (SQLAlchemyError, OSError, TypeError) as error:  # the last: of a parameter that the driver does not know
            await engine.dispose()
            reason = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
            raise ConfigurationError(
                f"The database cannot be opened ({reason}); THREADBOX_DATABASE_URL says where it is."
            ) from error
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """What this task begins within the block is one transaction: a few reads, or a write and what reads it back.

        Nothing else is awaited in it, and nothing that may fail for what others did meanwhile.
        """
        async with self.begin() as connection:
            token = self._together.set(connection)
            try:
                yield
            finally:
                self._together.reset(token)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction. Raises RuntimeError when the database was closed."""
        if (joined := self._together.get()) is not None:
            yield joined
            return
        if self._closed is not None:
            raise RuntimeError("the database is closed")
        self._running += 1
        try:
            async with self._one_at_a_time(self._writer) if self._writer else self._engine.begin() as connection:
                yield connection
        finally:
            self._running -= 1
            if self._closed is not None and not self._running:
                self._closed.set()
                if self._was_left:
                    await self._dispose()

    @asynccontextmanager
    async def _one_at_a_time(self, writer: asyncio.Lock) -> AsyncIterator[AsyncConnection]:
        """A transaction on the connection of the last one; after one that failed, on what the pool gives."""
        async with writer, AsyncExitStack() as stack:
            kept, self._kept = self._kept, None
            connection = await self._engine.connect() if kept is None else kept
            stack.push_async_exit(connection.__aexit__)  # back to the pool, also where this task is cancelled
            async with connection.begin():
                yield connection
            if self._closed is None:
                stack.pop_all()
                self._kept = connection

    async def aclose(self) -> None:
        """Close every connection, after the transactions that run; after one that takes too long, it does so itself."""
        self._closed = self._closed or asyncio.Event()
        try:
            if self._running:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), CLOSE_SECONDS)
        finally:
            self._was_left = self._running > 0
            if not self._was_left:
                await self._dispose()

    async def _dispose(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()
        await self._engine.dispose()


def _migrate(connection: Connection) -> None:
    if inspect(connection).has_table("alembic_version"):
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if version == HEAD:
            return
        if str(version) > HEAD:
            raise ConfigurationError(f"A newer Threadbox has changed the database (to {version}); use that version.")
    # imported only when there is something to do: it costs half a second of start
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
