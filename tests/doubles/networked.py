"""A sandbox whose way out leads to a site on loopback."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sandbox import Engine, Limits, Outcome, Output, Sandbox
from sandbox.egress import EgressSettings, Network
from sandbox.tunnels import EgressGate, Resolve
from tests.doubles.tls_site import Site

HOST = "index.test"
KEY = "the-thread"
ASK = """
import http.client, os, ssl, urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTPS_PROXY'])
def tunnel(port, host='index.test', kind=http.client.HTTPConnection, **options):
    connection = kind(proxy.hostname, proxy.port, timeout=20, **options)
    connection.set_tunnel(host, port)
    connection.connect()
    return connection
def connected(port, host='index.test'):
    return tunnel(port, host, http.client.HTTPSConnection, context=ssl.create_default_context(cafile='ca.pem'))
def ask(port, path='/word', host='index.test'):
    try:
        connection = connected(port, host)
        connection.request('GET', path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        return f'{type(error).__name__} {error}'
"""


async def loopback(host: str, port: int) -> list[str]:
    """Every name is this machine."""
    return ["127.0.0.1"]


@asynccontextmanager
async def networked(
    engine: Engine, site: Site, settings: EgressSettings | None = None, *, resolve: Resolve = loopback
) -> AsyncIterator[Sandbox]:
    """The site's name is allowed and trusted. `tunnel` is defined in it, `connected` (with TLS) and `ask` (what came)."""
    settings = settings or EgressSettings()
    settings = replace(settings, trusted=settings.trusted | {(HOST, site.port)})
    async with EgressGate(settings, resolve=resolve) as gate:
        sandbox = await Sandbox.start(engine, f"net-{os.urandom(4).hex()}", Limits(timeout_seconds=30))
        await sandbox.put_file("ca.pem", site.ca)
        await sandbox.connect(gate, Network(mode="allowlist", hosts=frozenset({HOST})), KEY)
        await prints(sandbox, ASK)
        yield sandbox
        await sandbox.remove()


async def prints(sandbox: Sandbox, code: str) -> str:
    """What code printed."""
    events = [event async for event in sandbox.run(code)]
    assert isinstance(events[-1], Outcome)
    return "".join(event.text for event in events if isinstance(event, Output))
