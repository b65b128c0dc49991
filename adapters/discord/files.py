"""Artifacts as uploads, as many and as large as Discord takes, the rest named with its size; and files of people's."""

from __future__ import annotations

import re

import aiohttp

from adapters.discord.calls import Upload
from adapters.discord.config import MESSAGE_BYTES
from adapters.discord.outbound import Part
from adapters.discord.text import small
from bot.store_ports import Artifacts
from bot.text import size_words

DOWNLOAD_SECONDS = 60.0

# what Discord keeps of a file's name
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


class Files:
    """Reads artifacts."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def of(self, part: Part, most: int) -> tuple[list[Upload], list[str]]:
        """The files of a message, and a line for each that cannot come along. `most`: bytes of one file."""
        uploads = [Upload(name, text.encode("utf-8", "replace")) for name, text in part.texts]
        notes: list[str] = []
        room = MESSAGE_BYTES - sum(len(one.data) for one in uploads) - (1 << 16)
        for artifact in part.artifacts:
            if artifact.size > min(most, room):
                limit = (
                    f"a file here may have {size_words(most)}" if artifact.size > most else "one message takes 25 MB"
                )
                notes.append(small(f"📎 {artifact.name} ({size_words(artifact.size)}) is not attached: {limit}."))
                continue
            try:
                _, data = await self._artifacts.load(artifact.id)
            except LookupError:
                notes.append(small(f"📎 {artifact.name} is no longer kept."))
                continue
            room -= len(data)
            uploads.append(Upload(_unique(safe_name(artifact.name), uploads), data, artifact.name))
        return uploads, notes

    def named(self, part: Part) -> list[str]:
        """A line for each file of a message that Discord would not take although its limits say so."""
        files = [*((name, len(text)) for name, text in part.texts), *((one.name, one.size) for one in part.artifacts)]
        return [small(f"📎 {name} ({size_words(size)}) is not attached: Discord refused it.") for name, size in files]


async def download(url: str, most: int) -> bytes:
    """A file of Discord's. Raises LookupError, also when it has more than `most` bytes; OSError."""
    timeout = aiohttp.ClientTimeout(total=DOWNLOAD_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise LookupError(f"Discord did not give the file (status {response.status})")
            data = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                data += chunk
                if len(data) > most:  # half a file is no file
                    raise LookupError(f"larger than the {most} bytes that Discord spoke of")
            return bytes(data)
    except aiohttp.ClientError as error:
        raise ConnectionError(f"download: {type(error).__name__}") from error


def safe_name(name: str) -> str:
    """A name as Discord would make it."""
    stem, dot, suffix = _OTHER.sub("_", name).rpartition(".")
    return (stem[:80] + dot + suffix[:16]).strip("._") or "file"


def _unique(name: str, others: list[Upload]) -> str:
    taken = {one.name for one in others}
    while name in taken:
        name = f"_{name}"
    return name
