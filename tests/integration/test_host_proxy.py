"""Tunnels that go on through the machine's own proxy, and what is said where it does not let them."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sandbox.egress import EgressSettings
from sandbox.host_proxy import HostProxy
from tests.doubles.connect_proxy import ConnectProxy, connect_proxy
from tests.doubles.networked import networked, prints
from tests.doubles.process_engine import ProcessEngine
from tests.doubles.tls_site import Site, tls_site

BASIC = b64encode(b"me:hunter2").decode()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with tls_site(tmp_path, ["index.test", "localhost"]) as running:
        yield running


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    async with connect_proxy() as running:
        yield running


def through(proxy: ConnectProxy, *, scheme: str = "http", but_for: str = "") -> EgressSettings:
    return EgressSettings(proxy=HostProxy.parse(f"{scheme}://me:hunter2@localhost:{proxy.port}", but_for))


async def unknown(host: str, port: int) -> list[str]:
    raise OSError("only the proxy knows the names")


async def test_the_proxy_resolves_and_connects_and_is_given_user_and_password(
    process_engine: ProcessEngine, site: Site, proxy: ConnectProxy
) -> None:
    with capture_logs() as logs:
        async with networked(process_engine, site, through(proxy), resolve=unknown) as sandbox:
            printed = await prints(sandbox, f"print(ask({site.port}))")

    assert printed == "b'the word'\n"
    [head] = proxy.heads
    lines = head.split("\r\n")
    assert lines[0] == f"CONNECT index.test:{site.port} HTTP/1.1"
    assert f"Proxy-Authorization: Basic {BASIC}" in lines
    assert [entry["event"] for entry in logs] == ["egress.ended"]
    assert not any(secret in str(logs) for secret in ("hunter2", BASIC))


async def test_what_the_proxy_carries_is_looked_at_all_the_same(
    process_engine: ProcessEngine, site: Site, proxy: ConnectProxy
) -> None:
    code = f"""
sock = tunnel({site.port}).sock
sock.sendall(b'GET /word HTTP/1.1\\r\\nHost: index.test\\r\\n\\r\\n')
print(sock.recv(100), ask({site.port}, host='other.test'))
"""

    async with networked(process_engine, site, through(proxy), resolve=unknown) as sandbox:
        printed = await prints(sandbox, code)

    assert printed.startswith("b'' ") and "other.test is not among the hosts" in printed
    assert site.requests == []
    assert len(proxy.heads) == 1


async def test_a_host_in_no_proxy_is_connected_to_directly(
    process_engine: ProcessEngine, site: Site, proxy: ConnectProxy
) -> None:
    async with networked(process_engine, site, through(proxy, but_for=".test")) as sandbox:
        printed = await prints(sandbox, f"print(ask({site.port}))")

    assert printed == "b'the word'\n"
    assert proxy.heads == []


async def test_a_proxy_with_tls_is_spoken_to_with_it(
    process_engine: ProcessEngine, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(site.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "site.pem")

    async with connect_proxy(context) as proxy, networked(process_engine, site, through(proxy, scheme="https")) as box:
        printed = await prints(box, f"print(ask({site.port}))")

    assert printed == "b'the word'\n"
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "asks for another user or password (407)"),
        (b"HTTP/1.0 403 Forbidden\r\nX: me:hunter2\r\n\r\n", "refused it (403)"),
        (b"HTTP/1.1 503\r\n\r\n", "refused it (503)"),
        (b"SSH-2.0-x\r\n\r\n", "refused it (no HTTP)"),
        (b"HTTP/1.1 200", "hung up"),
        (b"HTTP/1.1 200 " + bytes(300_000) + b"\r\n\r\n", "hung up"),
    ],
)
async def test_a_proxy_that_refuses_is_named_in_the_error(
    process_engine: ProcessEngine, site: Site, proxy: ConnectProxy, answer: bytes, why: str
) -> None:
    proxy.answer = answer

    with capture_logs() as logs:
        async with networked(process_engine, site, through(proxy)) as sandbox:
            printed = await prints(sandbox, f"print(ask({site.port}))")

    assert f"403 index.test cannot be reached: the proxy of this machine {why}" in printed
    assert [(entry["event"], entry["host"]) for entry in logs] == [("egress.unreachable", "index.test")]
    assert "hunter2" not in printed + str(logs)


async def test_a_proxy_that_is_not_there_is_named_in_the_error_and_its_address_is_not(
    process_engine: ProcessEngine, site: Site
) -> None:
    async with connect_proxy() as proxy:
        pass

    async with networked(process_engine, site, through(proxy)) as sandbox:
        printed = await prints(sandbox, f"print(ask({site.port}))")

    assert "cannot be reached: the proxy of this machine does not answer" in printed
    assert str(proxy.port) not in printed
