"""The proxy of the machine itself, where it has one: the host's end of a tunnel goes on through it."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sandbox.inside.frames import MAX_PAYLOAD

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProxy:
    """An HTTP proxy that is asked by CONNECT. It resolves the names, so that we see no addresses."""

    host: str
    port: int
    has_tls: bool = False
    authorization: str = field(default="", repr=False)
    """The header's value, of the user and password in the proxy's URL; never logged."""
    but_for: tuple[str, ...] = ()
    """Hosts that are reached directly, as in NO_PROXY: a name with all below it, name:port, or *."""

    @classmethod
    def parse(cls, url: str, but_for: str = "") -> HostProxy:
        """From http://user:password@host:port. Raises ValueError, with nothing of the URL in it."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            usual = _PORTS[parts.scheme]
            port = parts.port or usual
        except (ValueError, KeyError):
            raise ValueError("it is not http://host:port") from None
        if not parts.hostname:
            raise ValueError("it names no host")
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return cls(
            host=parts.hostname,
            port=port,
            has_tls=parts.scheme == "https",
            authorization="" if user == ":" else f"Basic {base64.b64encode(user.encode()).decode()}",
            but_for=tuple(word.lower() for word in but_for.replace(",", " ").split()),
        )

    def serves(self, host: str, port: int) -> bool:
        """Whether it is asked for this host."""
        for word in self.but_for:
            name, _, only = word.removeprefix("*.").lstrip(".").partition(":")
            if word == "*" or (only in ("", str(port)) and f".{host}".endswith(f".{name}")):
                return False
        return True

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the host. Raises OSError, whose text is for the person in the chat."""
        try:
            reader, writer = await asyncio.open_connection(
                self.host, self.port, ssl=self.has_tls or None, limit=2 * MAX_PAYLOAD
            )
        except OSError as error:
            raise OSError("the proxy of this machine does not answer") from error
        try:
            writer.write(self._request(f"{host}:{port}"))
            _check(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise OSError("the proxy of this machine hung up") from error
        except BaseException:
            writer.close()
            raise
        return reader, writer

    def _request(self, place: str) -> bytes:
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode()


def _check(head: bytes) -> None:
    status = head.split(b" ", 2)[1:2] if head.startswith(b"HTTP/1.") else []
    match b"".join(status)[:3]:
        case b"200":
            return
        case b"407":
            raise OSError("the proxy of this machine asks for another user or password (407)")
        case code:
            raise OSError(f"the proxy of this machine refused it ({code.decode('ascii', 'replace') or 'no HTTP'})")
