"""The operator's look at sandboxes: what there is, end one, clean up. Works beside a running bot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from bot.clock import utc_now
from bot.errors import AlreadyRunning
from bot.folder import container_instance, locked
from bot.sandbox_setup import make_engine
from bot.settings import Settings
from bot.store import Database, SqlRecords
from bot.text import printable, size_words
from sandbox.contract import LABEL_INSTANCE, Container
from sandbox.engine import DockerEngine
from sandbox.errors import SandboxError
from sandbox.instances import is_abandoned
from sandbox.records import Record

OK, FAILED = 0, 1
PIPED_COLUMNS = 240  # of the list where no terminal bounds it
ID_CHARS = 12  # of a container's id in the list
SHORTEST_NAME = 4  # of a beginning that may name a sandbox to kill


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the list; `state` is running, paused or saved."""

    thread: str
    state: str
    id: str
    idle_seconds: int
    memory_bytes: int
    cpu_seconds: float
    saved_bytes: int
    last_cell: str


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[DockerEngine, SqlRecords]]:
    await asyncio.to_thread(settings.folder.mkdir, parents=True, exist_ok=True, mode=0o700)
    engine = make_engine(settings, instance=container_instance(settings.folder))
    database = await Database.open(settings.database)
    try:
        yield engine, SqlRecords(database)
    finally:
        await database.aclose()
        await engine.aclose()


async def show(settings: Settings, console: Console, *, as_json: bool) -> int:
    """Print the list. Raises SandboxError."""
    async with _opened(settings) as (engine, records):
        there = {container.container_id: container for container in await engine.containers()}
        rows = [await _row(engine, record, there.pop(record.container_id, None)) for record in await records.all()]
        rows += [await _row(engine, Record(key="(ready)"), container) for container in there.values()]
    if as_json:
        for row in rows:
            console.print(json.dumps(asdict(row)), markup=False, soft_wrap=True)
    elif not rows:
        console.print("No thread has a sandbox.")
    else:
        if not console.is_terminal:  # for another program to read: a thread's name in pieces is of no use there
            console.width = PIPED_COLUMNS
        console.print(_table(rows))
    return OK


async def _row(engine: DockerEngine, record: Record, container: Container | None) -> Row:
    memory, cpu = 0, 0.0
    if container is not None:
        try:
            memory, cpu = await engine.usage(container.container_id)
        except SandboxError:
            container = None  # gone since it was listed
    state = container.state if container is not None else ("saved" if record.snapshot else "gone")
    return Row(
        thread=record.key,
        state=state,
        id=container.container_id[:ID_CHARS] if container is not None else "",
        idle_seconds=round(utc_now().timestamp() - record.last_used) if record.last_used else 0,
        memory_bytes=memory,
        cpu_seconds=round(cpu, 1),
        saved_bytes=record.snapshot_bytes,
        last_cell=printable(record.last_cell),
    )


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("thread", "state", "id", "idle", "memory", "processor", "saved", "last cell"):
        table.add_column(name, overflow="fold", no_wrap=name not in ("thread", "last cell"))
    for row in sorted(rows, key=lambda row: row.idle_seconds):
        table.add_row(
            row.thread,
            row.state,
            row.id,
            _duration(row.idle_seconds),
            size_words(row.memory_bytes) if row.memory_bytes else "",
            f"{row.cpu_seconds:g} s" if row.id else "",
            size_words(row.saved_bytes) if row.saved_bytes else "",
            row.last_cell,
        )
    return table


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


async def kill(settings: Settings, name: str, say: Callable[[str], None]) -> int:
    """Remove the one sandbox that `name` means. Raises SandboxError."""
    async with _opened(settings) as (engine, records):
        keys = {record.container_id: record.key for record in await records.all() if record.container_id}
        found = [
            container.container_id
            for container in await engine.containers()
            if keys.get(container.container_id) == name
            or (len(name) >= SHORTEST_NAME and container.container_id.startswith(name))
        ]
        if len(found) != 1:
            say(f"{'More than one sandbox' if found else 'No sandbox'} is called {name}.")
            return FAILED
        await engine.remove(found[0])
        say(f"Removed {found[0][:ID_CHARS]} {keys.get(found[0], '')}".rstrip())
    return OK


async def prune(settings: Settings, say: Callable[[str], None]) -> int:
    """Remove what nobody will use again. Raises SandboxError."""
    async with _opened(settings) as (engine, records):
        useless = [item for item in await engine.everyones() if is_abandoned(item.labels.get(LABEL_INSTANCE, ""))]
        try:
            lock = await asyncio.to_thread(locked, settings.folder)
        except AlreadyRunning:
            say("The bot runs: it keeps its own sandboxes in order.")
        else:
            used = {record.container_id for record in await records.all()}
            useless += [item for item in await engine.containers() if item.container_id not in used]
            lock.release()
        for container in useless:
            await engine.remove(container.container_id)
            say(f"Removed {container.container_id[:ID_CHARS]}")
        say(f"{len(useless)} removed.")
    return OK
