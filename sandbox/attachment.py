"""The stream to one container, made anew when it was cut while the container lives on.

An engine that starts again, its guard or a network drop every stream at once; containers need not end with it. The
supervisor keeps what it said until it was acknowledged, so the next stream goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import structlog

from sandbox.channel import Channel
from sandbox.contract import Engine
from sandbox.errors import EngineUnavailable, SandboxError, SandboxGone, SandboxSilent
from sandbox.limits import GREET_SECONDS, REATTACH_PAUSES, REATTACH_SECONDS, Limits
from sandbox.welcome import Welcome

log = structlog.get_logger()

STREAMS_PER_HOST = 4096
"""Numbers that a host has for its attachments, so that none of them must be kept before it is used."""


class Attachment:
    """Use `again` when something raised SandboxGone: it says whether that was the container or only the stream."""

    def __init__(self, engine: Engine, container_id: str, channel: Channel) -> None:
        self.engine = engine
        self.container_id = container_id
        self.channel = channel
        self.welcome: Welcome | None = None
        self.is_over = False
        """Removed, left or another host's: no stream will stand again."""
        self._is_left = False
        self.on_again: Callable[[], None] = lambda: None
        """Told when a new stream stands."""
        self._lock = asyncio.Lock()  # a cell and a transfer may both find that their stream was cut

    @classmethod
    async def create(cls, engine: Engine, sandbox_id: str, limits: Limits) -> Attachment:
        """To a new container, not greeted yet."""
        container_id, wire = await engine.create(sandbox_id, limits)
        return cls(engine, container_id, Channel(wire, epoch=STREAMS_PER_HOST, nonce=os.urandom(16).hex()))

    @classmethod
    async def take_over(cls, engine: Engine, container_id: str, *, epoch: int, nonce: str) -> Attachment:
        """To a container that another host made, not greeted yet. `epoch` is above every earlier one's."""
        await engine.unpause(container_id)
        wire = await engine.attach(container_id)
        return cls(engine, container_id, Channel(wire, epoch=epoch * STREAMS_PER_HOST, nonce=nonce))

    @property
    def epoch(self) -> int:
        """The number of this host among those of the container."""
        return self.channel.epoch // STREAMS_PER_HOST

    @property
    def is_alive(self) -> bool:
        """Whether the stream stands."""
        return not self.is_over and self.channel.stands

    async def greet(self, seconds: float, *, again: bool) -> Welcome:
        """Say hello. Raises SandboxSilent, SandboxGone."""
        try:
            async with asyncio.timeout(seconds):
                self.welcome = await self.channel.hello(again=again)
        except TimeoutError as error:
            raise SandboxSilent(f"The sandbox did not answer within {seconds:g} s.") from error
        return self.welcome

    async def again(self) -> Welcome:
        """Make the stream anew, unless it stands.

        Raises SandboxGone when the container has ended, EngineUnavailable or SandboxSilent when nobody knows yet.
        """
        async with self._lock:
            if self.is_alive and self.welcome is not None:
                return self.welcome
            welcome = await self._attach_in_time()
            log.info("sandbox.stream_again", container=self.container_id[:12], epoch=self.channel.epoch)
            self.on_again()
            return welcome

    async def _attach_in_time(self) -> Welcome:
        pause, longest = REATTACH_PAUSES
        until = asyncio.get_running_loop().time() + REATTACH_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(until):
                    return await self._attach()
            except TimeoutError as error:
                raise EngineUnavailable("The Docker Engine did not answer in time.") from error
            except SandboxGone:
                raise
            except SandboxError:  # whatever else it is says nothing of the container
                if asyncio.get_running_loop().time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _attach(self) -> Welcome:
        cut = self.channel
        if self.is_over or cut.is_superseded or (cut.epoch + 1) % STREAMS_PER_HOST == 0:
            self.is_over = True
            raise SandboxGone
        wire = await self.engine.attach(self.container_id)
        self.channel = Channel(wire, epoch=cut.epoch + 1, nonce=cut.nonce, seen=cut.seen, run=cut.run)
        self.channel.memory_bytes = cut.memory_bytes
        try:
            welcome = await self.greet(GREET_SECONDS, again=True)
            if self.is_over:  # removed or left meanwhile
                raise SandboxGone
            return welcome
        except BaseException as error:
            self.channel.close()
            if isinstance(error, SandboxGone) and not self.is_over:
                raise SandboxSilent from error  # cut once more: only the engine says that a container has ended
            raise

    def detach(self) -> None:
        """Leave the container to a later host."""
        self._is_left = True
        self._end()

    def _end(self) -> None:
        self.is_over = True
        self.channel.close()

    @property
    def is_anothers(self) -> bool:
        """Whether the container answers another host now."""
        return self.channel.is_superseded

    async def remove(self) -> None:
        """End the container, unless it is another host's by now; again is no error. Raises SandboxError."""
        self._end()
        if not self.channel.is_superseded:
            await self.engine.remove(self.container_id)

    async def remove_if_possible(self) -> None:
        """For an outcome that is told although the engine refuses; whoever keeps the sandbox removes it later."""
        if self._is_left:
            return
        with contextlib.suppress(SandboxError):
            await self.remove()
