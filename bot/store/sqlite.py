"""aiosqlite with one turn of its thread for each statement, where SQLAlchemy's way of driving it takes four.

SQLAlchemy asks for a cursor, executes, fetches every row and closes the cursor; each of the four would wait for
aiosqlite's thread, and those waits are most of what a short transaction costs (0.84 against 0.43 ms). The rows are
bounded by the queries, which SQLAlchemy reads whole in any case.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from threading import Thread
from typing import Any

import aiosqlite
from aiosqlite.core import _STOP_RUNNING_SENTINEL, _connection_worker_thread

BUSY_SECONDS = 10.0  # a writer waits so long for another one's lock
_ROWS_AT_ONCE = 64  # aiosqlite's own default, for iterating; nothing here iterates
_TUNING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
)


def connector(path: str) -> Callable[[], Awaitable[aiosqlite.Connection]]:
    """What SQLAlchemy's `async_creator` takes, for the database file `path`."""

    def connect() -> Awaitable[aiosqlite.Connection]:
        connection = _Connection(lambda: _open(path), _ROWS_AT_ONCE)
        # a daemon, as SQLAlchemy makes of the threads of its own connections
        connection._thread = Thread(target=_serve, args=(connection._tx,), daemon=True)
        return connection

    return connect


def _open(path: str) -> sqlite3.Connection:
    # cursors are made and closed on the event loop's thread, which touches no file
    connection = sqlite3.connect(path, check_same_thread=False)
    for statement in _TUNING:
        connection.execute(statement).close()
    return connection


def _serve(queue: Any) -> None:
    """Run what is queued until the connection is stopped, even where who asked is gone with the event loop."""
    while True:
        with contextlib.suppress(RuntimeError):  # "Event loop is closed": there is nobody to answer
            _connection_worker_thread(queue)
            return


class _Connection(aiosqlite.Connection):
    def cursor(self) -> _Cursor:  # type: ignore[override]  # SQLAlchemy enters it, and so it may be one already
        return _Cursor(self, self._conn.cursor())

    async def commit(self) -> None:
        """Nothing to wait for where nothing was written; what is refused is not left for the next."""
        if not self._conn.in_transaction:
            return
        try:
            await super().commit()
        except sqlite3.Error:
            await self.rollback()
            raise

    async def close(self) -> None:
        """Roll back first.

        After a cancelled statement its cursor lives on with the traceback, and SQLite would keep the connection, with
        its write lock, until that is collected.
        """
        if self._connection is not None:
            with contextlib.suppress(ValueError, sqlite3.Error):
                await self._execute(self._connection.rollback)  # type: ignore[no-untyped-call]
        await super().close()

    def stop(self) -> None:
        """As above, for who may not wait. Nothing is answered: the event loop may close before."""
        self._running = False
        connection, self._connection = self._connection, None
        self._tx.put_nowait((None, partial(_shut, connection)))


def _shut(connection: sqlite3.Connection | None) -> object:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
            connection.close()
    return _STOP_RUNNING_SENTINEL


class _Cursor(aiosqlite.Cursor):
    _rows: Iterable[sqlite3.Row] = ()

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> _Cursor:
        self._rows = await self._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        return self

    def _run(self, sql: str, parameters: Any) -> Iterable[sqlite3.Row]:
        self._cursor.execute(sql, parameters)
        return self._cursor.fetchall() if self._cursor.description else ()

    async def fetchall(self) -> Iterable[sqlite3.Row]:
        return self._rows

    async def close(self) -> None:
        self._cursor.close()
