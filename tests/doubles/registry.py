"""A registry of images on loopback, which every Docker Engine trusts: one repository, whose tag can be moved."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """What it serves, and the name of its only image."""

    def __init__(self, port: int) -> None:
        self.repository = f"127.0.0.1:{port}/base"
        self.name = f"{self.repository}:newest"
        self._blobs: dict[str, tuple[str, bytes]] = {}

    def publish(self, text: str) -> str:
        """Move the tag to an image that holds a file with this text; the digest that pins it."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("what")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        tree = archive.getvalue()
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [_digest(tree)]}}  # fmt: skip
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._add(CONFIG, json.dumps(config).encode()),
            "layers": [self._add(LAYER, gzip.compress(tree))],
        }
        added = self._add(MANIFEST, json.dumps(manifest).encode())
        self._blobs["newest"] = self._blobs[added["digest"]]
        return f"{self.repository}@{added['digest']}"

    def _add(self, kind: str, data: bytes) -> dict[str, Any]:
        self._blobs[_digest(data)] = kind, data
        return {"mediaType": kind, "size": len(data), "digest": _digest(data)}

    def find(self, path: str) -> tuple[str, bytes] | None:
        """Kind and bytes of what a path names."""
        return ("text/plain", b"") if path == "/v2/" else self._blobs.get(path.rpartition("/")[2])


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def registry() -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = served.find(self.path)
            kind, data = found or ("text/plain", b"")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", _digest(data))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Registry(server.server_port)
    thread = threading.Thread(target=server.serve_forever, name="registry")
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
