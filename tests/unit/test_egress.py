"""The rules of the network: which names, ports, addresses and ClientHellos are let through."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress import EgressRefused, EgressSettings, HelloReader, Network, check, is_public, usable

INDEX = Network(mode="packages", hosts=frozenset({"index.example", "files.example.org"}))
SETTINGS = EgressSettings(trusted=frozenset({("mirror.corp", 8443)}))


@pytest.mark.parametrize("host", ["index.example", "Index.example", "index.example.", "files.example.org"])
def test_an_allowed_name_passes_in_any_case(host: str) -> None:
    assert check(host, 443, INDEX, SETTINGS) == host.lower().rstrip(".")


@pytest.mark.parametrize(
    "host",
    [
        "evil.org", "sub.index.example", "index.example.evil.org", "notindex.example", "org", "", "*", "*.index.example", ".index.example",
        "index.example..", "index.example:443", "index.example/", "index.example@evil.org", "index.example\0.evil.org", "index.example\r\nX: y",
        "index。example", "ind\u0435x.example", "xn--ypi-4cd.org", " index.example", "1.1.1.1", "127.0.0.1", "0x7f.1", "2130706433", "[::1]",
        "::1", "169.254.169.254", "metadata.google.internal", "localhost", "host.docker.internal", "a" * 300 + ".org",
    ],
)  # fmt: skip
def test_every_other_name_and_every_address_is_refused(host: str) -> None:
    """Case 37."""
    with pytest.raises(EgressRefused):
        check(host, 443, INDEX, SETTINGS)


@pytest.mark.parametrize("port", [22, 25, 80, 8080, 8443, 1, 65535])
def test_only_port_443_is_reached(port: int) -> None:
    """Case 37."""
    with pytest.raises(EgressRefused, match=f"port {port} is not reached"):
        check("index.example", port, INDEX, SETTINGS)


def test_a_trusted_port_is_reached_on_the_trusted_host_alone() -> None:
    network = Network(mode="allowlist", hosts=frozenset({"mirror.corp", "index.example"}))

    assert check("mirror.corp", 8443, network, SETTINGS) == "mirror.corp"
    with pytest.raises(EgressRefused):
        check("index.example", 8443, network, SETTINGS)


def test_trust_alone_opens_nothing() -> None:
    with pytest.raises(EgressRefused, match="not among the hosts"):
        check("mirror.corp", 8443, INDEX, SETTINGS)


@pytest.mark.parametrize("mode", ["packages", "allowlist"])
def test_an_empty_list_means_nothing_and_not_everything(mode: str) -> None:
    """Case 39."""
    with pytest.raises(EgressRefused):
        check("index.example", 443, Network(mode=mode), SETTINGS)  # type: ignore[arg-type]


def test_off_is_said_whatever_the_host() -> None:
    with pytest.raises(EgressRefused, match="the network is off"):
        check("index.example", 443, Network(hosts=frozenset({"index.example"})), SETTINGS)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "203.0.113.80", "::", "::1",
        "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2001:db8::1", "168.63.129.16", "192.0.0.192", "100.100.100.200", "fec0::1", "::127.0.0.1", "2001:0:7f00:1::",
        "fd20:ce::254", "ff0e::1", "::ffff:100.64.0.1", "64:ff9b::a00:1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """Case 36."""
    assert not is_public(address)
    with pytest.raises(EgressRefused):
        usable([address], trusted=False)


@pytest.mark.parametrize("address", ["1.1.1.1", "151.101.0.223", "2606:4700::1111", "64:ff9b::101:101"])
def test_a_public_address_is_reached(address: str) -> None:
    assert usable([address], trusted=False) == address


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    """Cases 36, 37."""
    with pytest.raises(EgressRefused):
        usable(["1.1.1.1", "127.0.0.1"], trusted=False)


def test_a_trusted_host_may_have_a_private_address() -> None:
    assert usable(["10.0.0.5"], trusted=True) == "10.0.0.5"


def hello(name: str | None) -> bytes:
    """A real ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # whom it would trust is not part of a hello
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_the_name_is_read_from_a_hello_cut_anywhere(step: int) -> None:
    data = hello("Index.example")
    reader = HelloReader()
    names = [reader.feed(data[start : start + step]) for start in range(0, len(data), step)]

    assert names[-1] == "index.example"
    assert set(names[:-1]) <= {None}


def test_a_hello_over_several_records_is_read() -> None:
    data = hello("index.example")
    body = data[5:]
    records = b"".join(
        bytes([22, 3, 1]) + len(part).to_bytes(2, "big") + part
        for part in (body[i : i + 50] for i in range(0, len(body), 50))
    )

    assert HelloReader().feed(records) == "index.example"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: index.example\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x00"]
)
def test_what_is_no_tls_is_refused(data: bytes) -> None:
    with pytest.raises(EgressRefused):
        HelloReader().feed(data)


def test_a_hello_that_names_nobody_is_refused() -> None:
    with pytest.raises(EgressRefused, match="names no server"):
        HelloReader().feed(hello(None))


def test_an_encrypted_hello_is_refused() -> None:
    data = bytearray(hello("index.example"))
    extension = b"\xfe\x0d\x00\x01\x00"
    body = bytearray(data[9:])
    position = 34
    position += 1 + body[position]
    position += 2 + int.from_bytes(body[position : position + 2], "big")
    position += 1 + body[position]
    size = int.from_bytes(body[position : position + 2], "big") + len(extension)
    body[position : position + 2] = size.to_bytes(2, "big")
    body += extension
    message = b"\x01" + len(body).to_bytes(3, "big") + body

    with pytest.raises(EgressRefused, match="encrypted"):
        HelloReader().feed(b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message)


@given(st.binary(max_size=600), st.integers(0, 600))
def test_no_bytes_raise_anything_but_a_refusal(noise: bytes, at: int) -> None:
    for data in (noise, HELLO[:at] + noise, HELLO[:at] + noise + HELLO[at:]):
        try:
            HelloReader().feed(data)
        except EgressRefused:
            continue


HELLO = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"


def test_a_second_hello_must_mean_the_same_server() -> None:
    reader = HelloReader()
    reader.feed(hello("index.example"))
    reader.feed(hello("index.example"))

    with pytest.raises(EgressRefused, match="names another server"):
        reader.feed(hello("evil.example"))


def test_another_hello_right_behind_the_first_is_refused() -> None:
    with pytest.raises(EgressRefused, match="names another server"):
        HelloReader().feed(hello("index.example") + hello("evil.example"))


@pytest.mark.parametrize("step", [1000, 100_000])
def test_an_upload_may_follow_the_hello_at_once(step: int) -> None:
    """Bug: what came with the first encrypted record was taken for more of the handshake, and cut off over 16 KiB."""
    upload = b"\x17\x03\x03\x40\x00" + bytes(16384)
    data = hello("index.example") + b"\x14\x03\x03\0\1\1" + 4 * upload
    reader = HelloReader()

    names = [reader.feed(data[start : start + step]) for start in range(0, len(data), step)]

    assert names[-1] == "index.example"


def test_the_end_of_a_handshake_of_old_is_no_hello_whatever_its_first_byte() -> None:
    """Bug: one in 256 connections with TLS 1.2 and no nonce in its records was cut off."""
    reader = HelloReader()
    reader.feed(hello("index.example"))

    assert reader.feed(b"\x14\x03\x03\0\1\1" + b"\x16\x03\x03\0\x28" + b"\x01" + 39 * b"\xe5") == "index.example"


@pytest.mark.parametrize("cut", [1, 3, 4, 100])
def test_a_second_hello_in_pieces_is_refused(cut: int) -> None:
    body = hello("evil.example")[5:]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (body[:cut], body[cut:]))
    reader = HelloReader()
    reader.feed(hello("index.example"))

    with pytest.raises(EgressRefused):
        reader.feed(records)


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xff" + bytes(16379), 4 * b"\x16\x03\x01\x10\x00\x01\x00\x3f\xff" + bytes(16379)],
)  # fmt: skip
def test_a_hello_without_end_is_refused(data: bytes) -> None:
    with pytest.raises(EgressRefused):
        HelloReader().feed(data)


def test_a_hello_in_very_many_pieces_is_refused() -> None:
    with pytest.raises(EgressRefused, match="too many pieces"):
        HelloReader().feed(
            b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in b"\x01\x00\x3f\xf0" + bytes(100))
        )


def test_much_that_is_not_encrypted_is_refused() -> None:
    reader = HelloReader()
    reader.feed(hello("index.example"))

    with pytest.raises(EgressRefused, match="before anything is encrypted"):
        reader.feed(10_000 * b"\x14\x03\x03\0\1\1")
