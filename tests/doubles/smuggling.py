"""Requests that try to get another one past the guard, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib


async def said_to(guard: str, *parts: bytes) -> bytes:
    """The answer to raw bytes, part after part."""
    reader, writer = await asyncio.open_unix_connection(guard.removeprefix("unix://"))
    answer = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while data := await reader.read(65536):
                answer += data
    writer.transport.abort()
    return answer


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: docker", *headers, "", ""]).encode() + body


def smuggled(foreign: str, own: str, body: bytes) -> dict[str, list[bytes]]:
    """Requests that would start or remove a container that is not ours, or make one that is not a sandbox."""
    start = request(f"POST /containers/{foreign}/start", "Content-Length: 0")
    create, length = "POST /containers/create?name=threadbox-0123abcd", f"Content-Length: {len(body)}"
    privileged = body.replace(b'"Privileged": false', b'"Privileged": true')
    chunked = f"{len(privileged):x}\r\n".encode() + privileged + b"\r\n0\r\n\r\n"
    attach = request(f"POST /containers/{own}/attach?stream=1", "Connection: Upgrade", "Upgrade: tcp")
    return {
        "behind a refusal": [request("GET /events"), start],
        "behind a refusal at once": [request("GET /events") + start],
        "behind a call that passes": [request("GET /_ping") + start],
        "behind an answer": [request("GET /_ping"), start],
        "behind a body that is too short": [request("GET /_ping", "Content-Length: 0") + start],
        "in a body": [request("GET /_ping", f"Content-Length: {len(start)}", body=start)],
        "in an attach without upgrade": [request(f"POST /containers/{own}/attach?stream=1") + start],
        "in an attach": [attach + start],
        "two lengths": [request(create, length, "Content-Length: 5", body=privileged)],
        "length and chunks": [request(create, length, "Transfer-Encoding: chunked", body=chunked)],
        "chunks": [request(create, "Transfer-Encoding: chunked", body=chunked)],
        "chunks in another case": [request(create, "transfer-encoding: Chunked", body=chunked)],
        "chunks after a space": [request(create, length, "Transfer-Encoding : chunked", body=chunked)],
        "chunks on a folded line": [request(create, "X: y", " Transfer-Encoding: chunked", length, body=chunked)],
        "negative length": [request(create, "Content-Length: -1", body=privileged)],
        "length with a sign": [request(create, f"Content-Length: +{len(body)}", body=privileged)],
        "too long a body": [request(create, "Content-Length: 99999999", body=b" " * 200_000)],
        "too long a head": [request("GET /_ping", "X: " + "x" * 100_000)],
        "a line of its own": [request(f"POST /containers/{own}/start HTTP/1.1\r\nX: y\r\n\r\n{start.decode()}")],
        "a bare carriage return": [request(f"GET /_ping\rPOST /containers/{foreign}/start")],
        "an address of its own": [request(f"POST http://docker/containers/{foreign}/start")],
        "dots": [request(f"POST /containers/{own}/../{foreign}/start")],
        "dots in an image": [request(f"GET /images/x/../../containers/{foreign}/json")],
        "encoded dots": [request(f"POST /containers/{own}/%2e%2e/{foreign}/start")],
        "encoded slash": [request(f"POST /containers%2f{foreign}%2fstart")],
        "encoded letter": [request(f"POST /containers/{own}/%73tart")],
        "two slashes": [request(f"POST //containers/{foreign}/start")],
        "old version": [request(f"POST /v1.23/containers/{own}/start", "Content-Length: 2", body=b"{}")],
        "another method": [request("GET /_ping", "X-HTTP-Method-Override: POST", "Content-Length: 3", body=b"a=b")],
        "a head of an older kind": [f"POST /containers/{foreign}/start\r\n\r\n".encode()],
        "no HTTP": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64],
        "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    }
