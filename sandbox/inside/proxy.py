"""The sandbox's way out: an HTTP proxy on 127.0.0.1 that carries each CONNECT to the host as a stream of frames.

It decides nothing: the host's end does. While the host has not opened the network it refuses at once.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable

from .frames import MAX_PAYLOAD, Frame, Kind
from .link import HostLink
from .process import parse_json

PORT = 3128
FIRST_STREAM = 1 << 31  # streams that the sandbox opens; the host's are below
MAX_TUNNELS = 16
MAX_HEAD = 8 * 1024  # bytes of a request's head
WINDOW = 256 * 1024  # bytes of one tunnel on their way in
CREDIT_EVERY = WINDOW // 4
OFF = "the network is off in this sandbox"


class Tunnel:
    """One client's connection."""

    def __init__(self, client: socket.socket, number: int) -> None:
        self.client = client
        self.number = number
        self.stage = "head"  # -> asked -> open -> draining -> closed
        self.head = bytearray()
        self.out = bytearray()  # for the client
        self.credit = 0  # bytes that the host takes
        self.eaten = 0  # bytes that the client took and the host does not know of
        self.events = selectors.EVENT_READ


class Proxy:
    """The listener and its tunnels; callbacks of the supervisor's selector."""

    def __init__(self, link: HostLink, selector: selectors.BaseSelector) -> None:
        self._link = link
        self._selector = selector
        self._tunnels: dict[int, Tunnel] = {}
        self._next = FIRST_STREAM
        self._open = False
        self._listener = _listen()
        selector.register(self._listener, selectors.EVENT_READ, self._accept)
        address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            os.environ[name] = address  # noqa: TID251 - for what we exec from now on
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = "localhost,127.0.0.1,::1"  # noqa: TID251

    def allow(self, is_open: bool) -> None:
        """Ask the host from now on, or refuse everything here."""
        self._open = is_open

    def reset(self) -> None:
        """Another host came: it knows nothing of these tunnels."""
        for tunnel in list(self._tunnels.values()):
            self._close(tunnel)

    def pump(self) -> None:
        """Go on reading where the host's link was full."""
        for tunnel in list(self._tunnels.values()):
            self._watch(tunnel)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # no descriptor left, or gone again
        client.setblocking(False)
        if len(self._tunnels) >= MAX_TUNNELS:
            _turn_away(client)
            return
        tunnel = Tunnel(client, self._next)
        self._next += 1
        self._tunnels[tunnel.number] = tunnel
        self._selector.register(client, tunnel.events, lambda: self._ready(tunnel))

    def _ready(self, tunnel: Tunnel) -> None:
        if tunnel.stage == "closed":
            return
        try:
            if self._may_read(tunnel):
                self._read(tunnel)
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(tunnel)
        self._watch(tunnel)

    def _may_read(self, tunnel: Tunnel) -> bool:
        return tunnel.stage == "head" or (tunnel.stage == "open" and tunnel.credit > 0 and not self._link.is_full)

    def _read(self, tunnel: Tunnel) -> None:
        size = MAX_HEAD if tunnel.stage == "head" else min(MAX_PAYLOAD, tunnel.credit)
        data = tunnel.client.recv(size)
        if not data:
            self._hang_up(tunnel)
        elif tunnel.stage == "open":
            tunnel.credit -= len(data)
            self._link.send(Kind.DATA, tunnel.number, data)
        else:
            tunnel.head += data
            if b"\r\n\r\n" in tunnel.head or len(tunnel.head) >= MAX_HEAD:
                self._ask(tunnel)

    def _ask(self, tunnel: Tunnel) -> None:
        words = bytes(tunnel.head.partition(b"\r\n")[0]).decode("latin-1").split(" ")
        tunnel.head.clear()
        host, _, port = (words[1] if len(words) == 3 else "").rpartition(":")
        if not self._open:
            self._refuse(tunnel, 403, OFF)
        elif words[0] != "CONNECT" or not host or not port.isascii() or not port.isdigit() or len(port) > 5:
            self._refuse(tunnel, 405, "only https goes out of this sandbox, by CONNECT")
        else:
            tunnel.stage = "asked"
            request = {"host": host[:300], "port": int(port), "credit": WINDOW}
            self._link.send_json(Kind.CONNECT, tunnel.number, request)

    def frame(self, frame: Frame) -> bool:
        """Take a frame of a tunnel; false when it is none."""
        if frame.stream < FIRST_STREAM:
            return False
        tunnel = self._tunnels.get(frame.stream)
        if tunnel is not None:
            self._frame(tunnel, frame)
            self._watch(tunnel)
        return True

    def _frame(self, tunnel: Tunnel, frame: Frame) -> None:
        if frame.kind is Kind.ANSWER and tunnel.stage == "asked":
            answer = parse_json(frame.payload)
            if answer.get("status") == "ok":
                tunnel.stage = "open"
                tunnel.credit = WINDOW
                tunnel.out += b"HTTP/1.1 200 Connection established\r\n\r\n"
            else:
                self._refuse(tunnel, 403, str(answer.get("error")))
        elif frame.kind is Kind.DATA and tunnel.stage == "open":
            self._put(tunnel, frame.payload)
        elif frame.kind is Kind.CREDIT:
            tunnel.credit += int.from_bytes(frame.payload[:4], "big")
        elif frame.kind is Kind.END:
            tunnel.stage = "draining"

    def _put(self, tunnel: Tunnel, data: bytes) -> None:
        if len(tunnel.out) + len(data) > 2 * WINDOW:
            self._hang_up(tunnel)  # a host that does not keep to its credit
            return
        tunnel.out += data

    def _refuse(self, tunnel: Tunnel, code: int, why: str) -> None:
        # clients show the reason phrase of a proxy's refusal, and rarely its body
        phrase = "".join(c if c.isprintable() and c.isascii() else "?" for c in why)[:200]
        tunnel.out += f"HTTP/1.1 {code} {phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        tunnel.stage = "draining"

    def _watch(self, tunnel: Tunnel) -> None:
        if tunnel.stage == "closed":
            return
        if tunnel.out:
            try:
                sent = tunnel.client.send(tunnel.out)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._hang_up(tunnel)
                return
            del tunnel.out[:sent]
            tunnel.eaten += sent if tunnel.stage == "open" else 0
        if tunnel.stage == "draining" and not tunnel.out:
            self._close(tunnel)
            return
        if tunnel.eaten >= CREDIT_EVERY:
            self._link.send(Kind.CREDIT, tunnel.number, tunnel.eaten.to_bytes(4, "big"))
            tunnel.eaten = 0
        events = (selectors.EVENT_WRITE if tunnel.out else 0) | (selectors.EVENT_READ if self._may_read(tunnel) else 0)
        self._select(tunnel, events)

    def _select(self, tunnel: Tunnel, events: int) -> None:
        if events == tunnel.events:
            return
        ready: Callable[[], None] = lambda: self._ready(tunnel)  # noqa: E731
        if not tunnel.events:
            self._selector.register(tunnel.client, events, ready)
        elif not events:
            self._selector.unregister(tunnel.client)
        else:
            self._selector.modify(tunnel.client, events, ready)
        tunnel.events = events

    def _hang_up(self, tunnel: Tunnel) -> None:
        if tunnel.stage in ("asked", "open"):
            self._link.send_json(Kind.END, tunnel.number, {})
        self._close(tunnel)

    def _close(self, tunnel: Tunnel) -> None:
        if tunnel.stage == "closed":
            return
        tunnel.stage = "closed"
        self._select(tunnel, 0)
        tunnel.client.close()
        self._tunnels.pop(tunnel.number, None)


def _turn_away(client: socket.socket) -> None:
    """At once and for good: who only connects must not hold a descriptor of ours."""
    try:
        client.send(f"HTTP/1.1 503 {MAX_TUNNELS} connections are open already\r\nContent-Length: 0\r\n\r\n".encode())
    except OSError:
        pass
    client.close()


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(("127.0.0.1", PORT))
    except OSError:  # outside a container it may be taken
        listener.bind(("127.0.0.1", 0))
    listener.listen(MAX_TUNNELS)
    listener.setblocking(False)
    return listener
