"""What a file is by its first bytes; nothing is decoded."""

from __future__ import annotations

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def image_type(data: bytes) -> str | None:
    """The type of an image that models and chats take; None for anything else."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _TYPES.items() if data.startswith(start)), None)
