"""Where pip in the image gets packages from, asked of pip itself: no list of ours goes stale."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from sandbox.contract import Engine, Output
from sandbox.egress import HTTPS, is_public
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox
from sandbox.tunnels import Resolve, resolve

log = structlog.get_logger()

_ASK = """
import json
from pip._internal.configuration import Configuration
from pip._internal.models.index import PyPI
settings = Configuration(isolated=False)
settings.load()
found = dict(settings.items())
names = ("index-url", "extra-index-url")
urls = [url for key, value in found.items() if key.rpartition(".")[2] in names for url in value.split()]
has_index = any(key.endswith(".index-url") for key in found)
print(json.dumps(urls if has_index else [*urls, PyPI.simple_url, f"https://{PyPI.file_storage_domain}/"]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexHost:
    """One host of the index, and what its name says now."""

    host: str
    port: int
    addresses: tuple[str, ...]

    @property
    def is_public(self) -> bool:
        """Whether every address is anybody's."""
        return bool(self.addresses) and all(is_public(address) for address in self.addresses)


async def index_hosts(engine: Engine, limits: Limits, *, resolve: Resolve = resolve) -> list[IndexHost]:
    """The hosts that pip in a fresh sandbox would ask. Raises SandboxError."""
    sandbox = await Sandbox.start(engine, f"index-{os.urandom(4).hex()}", limits)
    try:
        events = [event async for event in sandbox.run(_ASK)]
    finally:
        await sandbox.remove()
    text = "".join(event.text for event in events if isinstance(event, Output) and event.stream == "stdout")
    try:
        urls = [urlsplit(str(url)) for url in json.loads(text)]
    except ValueError as error:
        raise SandboxError(f"pip in the sandbox image does not say where its index is: {text[-200:]}") from error
    hosts = [(url.hostname, url.port or HTTPS) for url in urls if url.scheme == "https" and url.hostname]
    return [await _look_up(str(host), port, resolve) for host, port in dict.fromkeys(hosts)]


async def _look_up(host: str, port: int, resolve: Resolve) -> IndexHost:
    try:
        addresses = tuple(dict.fromkeys(await resolve(host, port)))
    except OSError as error:
        log.warning("egress.index_unknown", host=host, error=str(error))
        addresses = ()
    return IndexHost(host=host, port=port, addresses=addresses)
