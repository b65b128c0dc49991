"""The machine's own proxy: how its address is read, for whom it is asked, and whose setting counts."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from bot.errors import ConfigurationError
from bot.sandbox_setup import host_proxy
from bot.settings import load
from sandbox.host_proxy import HostProxy


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "THREADBOX_EGRESS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THREADBOX_NETWORK", "packages")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://proxy.corp:3128", ("proxy.corp", 3128, False)),
        ("http://proxy.corp", ("proxy.corp", 80, False)),
        ("proxy.corp:8080", ("proxy.corp", 8080, False)),
        ("https://proxy.corp/", ("proxy.corp", 443, True)),
        ("http://[fd00::1]:3128", ("fd00::1", 3128, False)),
    ],
)
def test_a_proxy_is_addressed_as_other_programs_write_it(url: str, place: tuple[str, int, bool]) -> None:
    proxy = HostProxy.parse(url)

    assert (proxy.host, proxy.port, proxy.has_tls) == place
    assert proxy.authorization == ""


def test_user_and_password_are_sent_as_they_are_meant_and_never_shown() -> None:
    proxy = HostProxy.parse("http://me:p%40ss%3Aword@proxy.corp:3128")

    assert proxy.authorization == "Basic " + b64encode(b"me:p@ss:word").decode()
    assert not any(word in repr(proxy) for word in ("p%40ss", "p@ss", proxy.authorization))


@pytest.mark.parametrize(
    "url",
    ["socks5://me:hunter2@proxy.corp:1", "http://me:hunter2@proxy.corp:port", "http://me:hunter2@", "http://[hunter2", "//"],
)  # fmt: skip
def test_what_is_no_such_address_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)

    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: it ") as caught:
        host_proxy(load())

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("but_for", "asked"),
    [
        ("", True),
        ("index.corp", False),
        ("corp", False),
        (".corp", False),
        ("*.corp", False),
        ("*", False),
        ("localhost, Index.corp", False),
        ("index.corp:8443", False),
        ("index.corp:443", True),
        ("dex.corp", True),
        ("10.0.0.0/8,::1", True),
    ],
)
def test_a_host_in_no_proxy_is_reached_directly(but_for: str, asked: bool) -> None:
    proxy = HostProxy.parse("http://proxy.corp:3128", but_for)

    assert proxy.serves("index.corp", 8443) is asked


def test_the_machines_proxy_counts_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_proxy(load()) is None

    monkeypatch.setenv("https_proxy", "http://me:hunter2@machine.corp:1")
    monkeypatch.setenv("no_proxy", "index.corp")
    settings = load()
    machines = host_proxy(settings)
    monkeypatch.setenv("THREADBOX_EGRESS_PROXY", "http://me:hunter%33@ours.corp:2")
    ours = host_proxy(load())
    monkeypatch.setenv("THREADBOX_NETWORK", "off")

    assert machines is not None and (machines.host, machines.but_for) == ("machine.corp", ("index.corp",))
    assert ours is not None and (ours.host, ours.but_for) == ("ours.corp", ("index.corp",))
    assert "hunter2" not in repr(settings) and "hunter2" in settings.secrets
    assert {"hunter%33", "hunter3"} <= set(load().secrets)
    assert host_proxy(load()) is None
