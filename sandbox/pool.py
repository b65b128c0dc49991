"""Sandboxes made ahead: interpreter up, nothing of anybody's in them, each used once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from sandbox.contract import Engine, Outcome
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox

log = structlog.get_logger()

DEMAND_SECONDS = 60.0  # takes within this time say how many are wanted
BACKOFF_SECONDS = (1.0, 30.0)  # after a failed start: first and longest pause


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How many wait ready: between `least` and `most`, as many as were taken within the last minute."""

    least: int = 1
    most: int = 4
    starts_at_once: int = 2
    imports: tuple[str, ...] = ()
    """Modules imported ahead; each sandbox then holds their memory from the start."""


class WarmPool:
    """Use `run` as a task of its own. `take` never waits: an empty pool gives None."""

    def __init__(
        self, engine: Engine, limits: Limits, settings: PoolSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._settings = settings
        self._clock = clock
        self._ready: deque[Sandbox] = deque()
        self._dead: list[Sandbox] = []
        self._takes: deque[float] = deque(maxlen=max(1, settings.most))
        self._changed = asyncio.Event()
        self.is_full = asyncio.Event()
        """Set while as many are ready as are wanted."""
        self._room: Callable[[], int] = lambda: settings.most

    def limit_to(self, room: Callable[[], int]) -> None:
        """Make no more ahead than `room` says: what people wait for comes first."""
        self._room = room

    def take(self, limits: Limits) -> Sandbox | None:
        """A ready sandbox with these limits, no longer ours."""
        if limits != self._limits:
            return None
        self._takes.append(self._clock())
        self._changed.set()
        while self._ready:
            sandbox = self._ready.popleft()
            if sandbox.is_alive:
                return sandbox
            self._dead.append(sandbox)
        return None

    async def give_up_one(self) -> bool:
        """Remove a sandbox that waits for nobody in particular; false when there is none."""
        if not self._ready:
            return False
        await _remove(self._ready.pop())
        return True

    @property
    def sandboxes(self) -> tuple[Sandbox, ...]:
        """Those that are ready."""
        return tuple(self._ready)

    @property
    def ready(self) -> int:
        """How many are ready."""
        return len(self._ready)

    @property
    def wanted(self) -> int:
        """How many should be."""
        recent = sum(self._clock() - moment < DEMAND_SECONDS for moment in self._takes)
        return max(self._settings.least, min(self._settings.most, recent))

    async def run(self) -> None:
        """Keep the pool filled until cancelled, then remove what is ready."""
        pause = BACKOFF_SECONDS[0]
        try:
            while True:
                self._changed.clear()
                await self._drop_spare()
                missing = min(self._settings.starts_at_once, self.wanted - len(self._ready), self._room())
                if missing <= 0:
                    self.is_full.set()
                    await self._wait(DEMAND_SECONDS / 4)
                    continue
                self.is_full.clear()
                if all(await asyncio.gather(*(self._make() for _ in range(missing)))):
                    pause = BACKOFF_SECONDS[0]
                else:
                    await asyncio.sleep(pause)  # whoever comes meanwhile finds out without us
                    pause = min(pause * 2, BACKOFF_SECONDS[1])
        finally:
            await asyncio.shield(self._remove_all())

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _make(self) -> bool:
        try:
            sandbox = await Sandbox.start(self._engine, os.urandom(6).hex(), self._limits)
        except SandboxError as error:
            log.warning("pool.start_failed", error=str(error))
            return False
        try:
            # the first cell waits for the interpreter, so that no person has to
            code = "\n".join(f"__import__({name!r})" for name in self._settings.imports) or "pass"
            async with contextlib.aclosing(sandbox.run(code)) as events:
                async for event in events:
                    if isinstance(event, Outcome) and event.status != "ok":
                        log.warning("pool.import_failed", error=event.error_message)
        except SandboxError as error:
            log.warning("pool.warming_failed", error=str(error))
            await _remove(sandbox)
            return False
        except BaseException:
            await asyncio.shield(_remove(sandbox))
            raise
        self._ready.append(sandbox)
        return True

    async def _drop_spare(self) -> None:
        for sandbox in [sandbox for sandbox in self._ready if not sandbox.is_alive]:
            self._ready.remove(sandbox)
            self._dead.append(sandbox)
        while self._dead:
            await _remove(self._dead.pop())
        while len(self._ready) > self.wanted:
            await _remove(self._ready.pop())

    async def _remove_all(self) -> None:
        for sandbox in (*self._ready, *self._dead):
            await _remove(sandbox)
        self._ready.clear()
        self._dead.clear()


async def _remove(sandbox: Sandbox) -> None:
    try:
        await sandbox.remove()
    except SandboxError as error:  # it carries our label: the next start finds it
        log.warning("pool.remove_failed", error=str(error))
