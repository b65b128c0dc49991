"""Files for a browser: what hostile code made is never opened as a page of ours."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from adapters.web.outbound import SEALED
from bot.store_ports import Artifacts
from bot.text import file_name

SEALED_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


class Downloads:
    """The addresses of an artifact."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def file(self, request: Request) -> Response:
        """A picture to look at, anything else to keep. Raises LookupError."""
        artifact, data = await self._artifacts.load(request.path_params["id"])
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        mime = image_type(data)
        if mime is not None:
            headers["Content-Disposition"] = disposition("inline", artifact.name)
            return Response(data, media_type=mime, headers=headers)
        headers["Content-Disposition"] = disposition("attachment", artifact.name)
        headers["Content-Security-Policy"] = SEALED_POLICY
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def sealed(self, request: Request) -> Response:
        """HTML or SVG for an <iframe sandbox>. Raises LookupError."""
        artifact, data = await self._artifacts.load(request.path_params["id"])
        if artifact.mime not in SEALED:
            raise LookupError(artifact.id)
        headers = {"Content-Security-Policy": SEALED_POLICY}
        return Response(data, media_type=f"{artifact.mime}; charset=utf-8", headers=headers)


def image_type(data: bytes) -> str | None:
    """The type of a picture that a browser shows, by its first bytes: its name is hostile code's choice."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":  # a RIFF may be sound or film too
        return "image/webp"
    return next((mime for magic, mime in MAGIC.items() if data.startswith(magic)), None)


def disposition(how: Literal["inline", "attachment"], name: str) -> str:
    """The header that names a file, in ASCII and beside it as it is: https://www.rfc-editor.org/rfc/rfc6266#section-5"""
    name = file_name(name)
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    header = f'{how}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
