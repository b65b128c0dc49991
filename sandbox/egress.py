"""Which hosts a sandbox may reach: rules, the name in a ClientHello, and addresses that are never reached."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sandbox.host_proxy import HostProxy
from sandbox.limits import MIB

HTTPS = 443
HELLO_BYTES = 16 * 1024
HELLO_RECORDS = 64
"""A ClientHello longer than this is none."""
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+")
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_HANDSHAKE, _APPLICATION_DATA = 22, 23
NetworkMode = Literal["off", "packages", "allowlist"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What one sandbox may reach. `hosts` are exact names; in mode `packages` the index's are meant."""

    mode: NetworkMode = "off"
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """The operator's bounds on all tunnels. Nobody in a chat can change them."""

    trusted: frozenset[tuple[str, int]] = frozenset()
    """Host and port that may have an address which is not public, or a port other than 443."""
    proxy: HostProxy | None = None
    connections: int = 16
    """Of one sandbox at once."""
    up_bytes: int = 2 * MIB
    """Of one tunnel: requests are small, and what goes up is what could be carried out."""
    all_up_bytes: int = 32 * MIB
    """Of one sandbox, in all."""
    down_bytes: int = 2048 * MIB
    """Of one sandbox, in all."""
    seconds: float = 600.0
    connect_seconds: float = 15.0


class EgressRefused(Exception):
    """A tunnel is not allowed; the text is for the person in the chat."""


def check(host: str, port: int, network: Network, settings: EgressSettings) -> str:
    """The host's canonical name. Raises EgressRefused."""
    name = host.lower().removesuffix(".")
    trusted = (name, port) in settings.trusted
    if network.mode == "off":
        raise EgressRefused("the network is off in this sandbox")
    if _NAME.fullmatch(name) is None or name.rpartition(".")[2].isdigit():
        raise EgressRefused(f"{host[:80]} is not a host name; addresses are not reached from a sandbox")
    if name not in network.hosts:
        raise EgressRefused(f"{name} is not among the hosts that this sandbox may reach")
    if port != HTTPS and not trusted:
        raise EgressRefused(f"port {port} is not reached from a sandbox")
    return name


def usable(addresses: Sequence[str], *, trusted: bool) -> str:
    """The address to connect to: the first, where every one is public. Raises EgressRefused.

    One private address among public ones refuses the name: whoever answers so plays games.
    """
    if not addresses:
        raise EgressRefused("the host has no address")
    if not trusted and not all(is_public(address) for address in addresses):
        raise EgressRefused("the host has an address that is not public")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's: not private, loopback, link-local, shared (CGNAT), multicast or reserved."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if getattr(ip, "is_site_local", False) or any(ip in network for network in _HOST_SERVICES):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


# clouds' own services to their machines, at addresses that Python calls public (the second one's did until 3.12.4)
_HOST_SERVICES = [ipaddress.ip_network("168.63.129.16"), ipaddress.ip_network("192.0.0.0/24")]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass
class HelloReader:
    """Collects the first bytes of a TLS client until they say which server it means."""

    data: bytearray = field(default_factory=bytearray)
    name: str = ""
    checked: int = 0
    encrypted: bool = False
    """Whether everything from now on is."""

    def feed(self, data: bytes) -> str | None:
        """The server name once it is there. Raises EgressRefused for what is no ClientHello, or names nobody."""
        if self.name:
            return self._later(data)
        self.data += data
        found = _handshake(bytes(self.data))
        if found is None and len(self.data) > HELLO_BYTES:
            raise EgressRefused("no ClientHello came")
        if found is None:
            return None
        message, self.checked = found
        self.name = _server_name(message)
        return self._later(b"")  # more may have come with it

    def _later(self, data: bytes) -> str:
        """A second ClientHello, which a server may ask for, must mean the same one; the rest is encrypted."""
        if self.encrypted:
            return self.name
        self.data += data
        while self.checked + 5 <= len(self.data):
            kind, _, _, length = struct.unpack_from(">BBBH", self.data, self.checked)
            if kind == _APPLICATION_DATA:
                self.encrypted = True  # an upload may come with it: how much is of no concern here
                return self.name
            body = bytes(self.data[self.checked + 5 : self.checked + 5 + length])
            if len(body) < length:
                break
            if kind == _HANDSHAKE and _may_be_hello(body) and _server_name(body[4:]) != self.name:
                raise EgressRefused("the client names another server")
            self.checked += 5 + length
        if len(self.data) > HELLO_BYTES:
            raise EgressRefused("too much before anything is encrypted")
        return self.name


def _may_be_hello(body: bytes) -> bool:
    """Not by the first byte alone: before TLS 1.3 a handshake ends with a message that is encrypted already."""
    return body[:1] == b"\x01" and int.from_bytes(body[1:4], "big") <= HELLO_BYTES


def _handshake(data: bytes) -> tuple[bytes, int] | None:
    """The ClientHello out of its records, and where they end; None while it is not complete."""
    message = b""
    position = records = 0
    while position + 5 <= len(data) and records < HELLO_RECORDS:
        kind, major, _, length = struct.unpack_from(">BBBH", data, position)
        if kind != _HANDSHAKE or major != 3 or length == 0:
            raise EgressRefused("this is not TLS")
        message += data[position + 5 : position + 5 + length]
        position += 5 + length
        records += 1
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if message[0] != 1 or size > HELLO_BYTES:
                raise EgressRefused("this is not a ClientHello")
            if len(message) > 4 + size:
                raise EgressRefused("more than a ClientHello came in its record")
            if len(message) == 4 + size:
                return message[4:], position
    if records == HELLO_RECORDS:
        raise EgressRefused("the ClientHello comes in too many pieces")  # each of which costs a look at all of them
    return None


def _server_name(hello: bytes) -> str:
    try:
        position = 34  # version and random
        position += 1 + hello[position]  # session
        position += 2 + int.from_bytes(hello[position : position + 2], "big")  # cipher suites
        position += 1 + hello[position]  # compression
        end = position + 2 + int.from_bytes(hello[position : position + 2], "big")
        position += 2
        name = ""
        while position + 4 <= min(end, len(hello)):
            kind, length = struct.unpack_from(">HH", hello, position)
            body = hello[position + 4 : position + 4 + length]
            if kind == _ENCRYPTED_HELLO:
                raise EgressRefused("an encrypted server name is not let through")
            if kind == _SERVER_NAME and name:
                raise EgressRefused("the client names two servers")
            if kind == _SERVER_NAME:
                # list length, type 0, name length, name
                size = int.from_bytes(body[3:5], "big")
                if body[2] != 0 or len(body) != 5 + size:
                    raise EgressRefused("the server name makes no sense")
                name = body[5:].decode("ascii").lower()
            position += 4 + length
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise EgressRefused("this is not a ClientHello") from error
    if not name:
        raise EgressRefused("the client names no server")
    return name
