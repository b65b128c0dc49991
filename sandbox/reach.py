"""What sandboxes may reach, worked out from a mode and the operator's words; and tunnels for a sandbox of one's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from sandbox.contract import Engine
from sandbox.egress import HTTPS, EgressSettings, Network, NetworkMode
from sandbox.host_proxy import HostProxy
from sandbox.limits import Limits
from sandbox.package_index import index_hosts
from sandbox.tunnels import EgressGate

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What sandboxes may reach, and the bounds on it."""

    network: Network = field(default_factory=Network)
    egress: EgressSettings = field(default_factory=EgressSettings)


async def find_reach(
    engine: Engine,
    mode: NetworkMode,
    *,
    hosts: Iterable[str] = (),
    trusted: Iterable[str] = (),
    proxy: HostProxy | None = None,
    limits: Limits | None = None,
) -> Reach:
    """The network of a mode. `trusted` are host or host:port. Raises ValueError, SandboxError.

    In mode `packages` pip in the image is asked for its index, which the operator configured: its hosts are entered
    among the trusted ones, and shown with the addresses they have. `limits` are of the sandbox that is asked.
    """
    names = {host.lower() for host in hosts}
    places = {host_and_port(word.lower()) for word in trusted}
    if mode == "packages":
        for found in await index_hosts(engine, limits or Limits()):
            names.add(found.host)
            places.add((found.host, found.port))
            log.info("egress.index", host=found.host, addresses=found.addresses, public=found.is_public)
    network = Network(mode=mode, hosts=frozenset(names))
    return Reach(network=network, egress=EgressSettings(trusted=frozenset(places), proxy=proxy))


def host_and_port(word: str) -> tuple[str, int]:
    """A host, or host:port. Raises ValueError."""
    host, colon, port = word.rpartition(":")
    if not colon:
        return word, HTTPS
    if not port.isdigit():
        raise ValueError(f"{word} is not host:port")
    return host, int(port)


class OwnGate:
    """An EgressGate between `open` and `close`, which may be called by different tasks."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None

    async def open(self, settings: EgressSettings) -> EgressGate:
        """Begin."""
        gate = EgressGate(settings)
        opened = asyncio.Event()
        self._holding = asyncio.ensure_future(self._hold(gate, opened))
        await opened.wait()
        return gate

    async def _hold(self, gate: EgressGate, opened: asyncio.Event) -> None:
        # a task of its own: a task group ends in the task that began it
        async with gate:
            opened.set()
            await self._closing.wait()

    async def close(self) -> None:
        """End every tunnel; again is no error."""
        self._closing.set()
        if self._holding is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._holding
