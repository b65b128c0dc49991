"""Sandboxes by key: one container a thread, made when it is first needed, gone when it has been idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType

import structlog

from sandbox.contract import Engine, RunEvent
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox, canonical_language

log = structlog.get_logger()

REMOVE_SECONDS = 30.0  # for all containers together, when the service stops


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Bounds of the whole service."""

    max_sandboxes: int = 20
    idle_seconds: float = 20 * 60.0
    reap_every_seconds: float = 15.0


@dataclass
class _Entry:
    # one holder at a time: a turn, a reset or the reaper, so that nothing is removed while it is used
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sandbox: Sandbox | None = None
    idle_since: float = 0.0


class Lease:
    """The right to use one key's sandbox, held for a turn. The container is made by the first use."""

    def __init__(self, service: SandboxService, key: str, entry: _Entry, limits: Limits) -> None:
        self._service = service
        self._key = key
        self._entry = entry
        self._limits = limits
        self.is_new = entry.sandbox is None or not entry.sandbox.is_alive
        """Whether nothing of earlier turns is left: no variables, no files."""

    async def run(
        self, code: str, language: str = "python", *, timeout_seconds: float | None = None, request_id: str = ""
    ) -> AsyncGenerator[RunEvent, None]:
        """See contract.Runner."""
        canonical_language(language)  # refused before a container is made for it
        sandbox = await self.sandbox()
        events = sandbox.run(code, language, timeout_seconds=timeout_seconds, request_id=request_id)
        async with contextlib.aclosing(events):
            async for event in events:
                yield event

    async def sandbox(self) -> Sandbox:
        """The live sandbox, made now if there is none. Raises SandboxError."""
        current = self._entry.sandbox
        if current is None or not current.is_alive:
            self._entry.sandbox = None
            current = self._entry.sandbox = await self._service.make(self._limits)
        return current

    def interrupt(self) -> None:
        """Stop what runs now, if anything does."""
        if self._entry.sandbox is not None:
            self._entry.sandbox.interrupt()

    async def reset(self) -> None:
        """Remove the sandbox with its variables and files; the next use makes another."""
        current, self._entry.sandbox = self._entry.sandbox, None
        if current is not None:
            await current.remove()


class SandboxService:
    """Use as an async context manager; leaving it removes every container that it made."""

    def __init__(
        self,
        engine: Engine,
        *,
        limits: Limits | None = None,
        settings: ServiceSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._settings = settings or ServiceSettings()
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._live: dict[str, Sandbox] = {}
        self._starting = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> SandboxService:
        """Remove what an earlier process of this instance left, and start to reap."""
        for container in await self._engine.containers():
            log.info("sandbox.orphan_removed", sandbox=container.sandbox_id)
            await self._engine.remove(container.container_id)
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        reaper = group.create_task(self._reap_forever(), name="sandbox-reaper")
        self._stack.callback(reaper.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove every container; one that cannot be removed stops none of the others."""
        await self._stack.aclose()
        removals = [sandbox.remove() for sandbox in self._live.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REMOVE_SECONDS):
                for result in await asyncio.gather(*removals, return_exceptions=True):
                    if isinstance(result, BaseException):
                        log.warning("sandbox.remove_failed", error=str(result))
        self._live.clear()
        self._entries.clear()

    @contextlib.asynccontextmanager
    async def lease(self, key: str, limits: Limits | None = None) -> AsyncIterator[Lease]:
        """Hold a key's sandbox; a second holder of the same key waits for the first."""
        while True:
            entry = self._entries.setdefault(key, _Entry())
            async with entry.lock:
                if self._entries.get(key) is not entry:
                    continue  # the reaper dropped it while we waited: another may hold its successor
                try:
                    yield Lease(self, key, entry, limits or self._limits)
                finally:
                    entry.idle_since = self._clock()
                return

    @property
    def live(self) -> int:
        """How many containers there are."""
        return len(self._live)

    async def make(self, limits: Limits) -> Sandbox:
        """A container of its own for a lease; when the most are live, the longest idle one goes first."""
        await self._forget_dead()
        if len(self._live) + self._starting >= self._settings.max_sandboxes:
            await self._evict()
        self._starting += 1
        try:
            sandbox = await Sandbox.start(self._engine, os.urandom(6).hex(), limits)
        finally:
            self._starting -= 1
        self._live[sandbox.container_id] = sandbox
        return sandbox

    async def _forget_dead(self) -> None:
        """Remove the containers whose stream has ended; one the engine will not remove is tried again next time."""
        for container_id, sandbox in list(self._live.items()):
            if sandbox.is_alive:
                continue
            try:
                await sandbox.remove()
            except Exception:
                log.exception("sandbox.remove_failed", container=container_id)
            else:
                self._live.pop(container_id, None)

    async def _evict(self) -> None:
        idle = [entry for entry in self._entries.values() if entry.sandbox is not None and not entry.lock.locked()]
        if not idle:
            most = self._settings.max_sandboxes
            raise SandboxError(f"All {most} sandboxes are busy; try again when one is free.")
        await self._remove_idle(min(idle, key=lambda entry: entry.idle_since))

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reap_every_seconds)
            await self.reap()

    async def reap(self) -> None:
        """Remove the sandboxes that have been idle for too long; one that fails is tried again next time."""
        await self._forget_dead()
        for key, entry in list(self._entries.items()):
            idle = self._clock() - entry.idle_since
            if entry.lock.locked() or idle < self._settings.idle_seconds:
                continue
            try:
                await self._remove_idle(entry)
                if not entry.lock.locked():
                    self._entries.pop(key, None)
            except Exception:
                log.exception("sandbox.reap_failed", key=key)
            else:
                log.info("sandbox.reaped", key=key, idle_s=round(idle))

    async def _remove_idle(self, entry: _Entry) -> None:
        async with entry.lock:
            sandbox, entry.sandbox = entry.sandbox, None
            if sandbox is not None:
                await sandbox.remove()
                self._live.pop(sandbox.container_id, None)
