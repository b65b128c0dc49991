"""A site on loopback with TLS, under whatever names a test gives it: a small package index, and a download."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import ssl
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WHEEL = "tbhello-1.0-py3-none-any.whl"


@dataclass
class Site:
    """Where it is, whom to trust, and what was asked of it."""

    port: int
    ca: bytes
    requests: list[str] = field(default_factory=list)


def _wheel() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("tbhello.py", "WORD = 'hello from the index'\n")
        info = "tbhello-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tbhello\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "tbhello.py,,\n")
    return data.getvalue()


def certificate(folder: Path, names: list[str]) -> bytes:
    """Write key and certificate; the certificate, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "site.pem").write_bytes(secret + pem)
    return pem


def names_are_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that end in .test are this machine, to whoever asks its resolver."""
    look_up = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if str(host).endswith(".test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@asynccontextmanager
async def tls_site(folder: Path, names: list[str], big_bytes: int = 0) -> AsyncIterator[Site]:
    """Serve until left."""
    ca = certificate(folder, names)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "site.pem")
    wheel = _wheel()
    site = Site(0, ca)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1].decode()
                site.requests.append(path)
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                await _answer(writer, path, wheel, big_bytes)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()


async def _answer(writer: asyncio.StreamWriter, path: str, wheel: bytes, big_bytes: int) -> None:
    if path == "/big":
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {big_bytes}\r\n\r\n".encode())
        for _ in range(big_bytes // 65536):
            writer.write(bytes(65536))
            await writer.drain()
        return
    body = {
        "/simple/tbhello/": f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode(),
        f"/files/{WHEEL}": wheel,
        "/word": b"the word",
    }.get(path)
    status = "200 OK" if body is not None else "404 Not Found"
    kind = "text/html" if path.startswith("/simple") else "application/octet-stream"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body or b'')}\r\n\r\n"
    writer.write(head.encode() + (body or b""))
    await writer.drain()
