"""Results of steps that are too big for the record: kept in the blob store by their hash, and read back on replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Collection
from datetime import datetime

import structlog

from bot.errors import RecordLost
from bot.model import Json
from sandbox.blobs import Blobs
from sandbox.errors import BlobsUnavailable, StateMissing

log = structlog.get_logger()

RECORDED_BYTES = 64 << 10  # of a result in the record itself
FORGET_MOST = 10_000  # at one time
_FOLDER, _REFERENCE = "steps/", "__blob__"


class StepResults:
    """`recorded` makes of a result what goes into the record, `whole` makes of that the result again."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def recorded(self, turn_id: str, result: Json) -> Json:
        """The result, or where it is. Where the store fails, the result whatever its size."""
        data = json.dumps(result).encode()
        if len(data) <= RECORDED_BYTES:
            return result
        name = hashlib.sha256(data).hexdigest()
        try:
            await self._blobs.put(_name(turn_id, name), _once(data))
        except BlobsUnavailable as error:
            log.warning("turn.result_not_kept_apart", bytes=len(data), error=str(error))
            return result
        return {_REFERENCE: name}

    async def whole(self, turn_id: str, recorded: Json) -> Json:
        """The result of which `recorded` is in the record. Raises RecordLost."""
        name = recorded.get(_REFERENCE)
        if name is None:
            return recorded
        try:
            data = b"".join([piece async for piece in self._blobs.get(_name(turn_id, name))])
        except (StateMissing, BlobsUnavailable) as error:
            raise RecordLost from error
        if hashlib.sha256(data).hexdigest() != name:
            raise RecordLost
        result: Json = json.loads(data)
        return result

    async def forget(self, before: datetime, but_of: Collection[str]) -> int:
        """Delete what was kept before a moment, but of these turns; how many. Raises BlobsUnavailable."""
        old = await self._blobs.older(_FOLDER, before, FORGET_MOST)
        old = [name for name in old if name.removeprefix(_FOLDER).partition("/")[0] not in but_of]
        for name in old:
            await self._blobs.delete(name)
        return len(old)


def _name(turn_id: str, name: str) -> str:
    """Each turn has its own, so that what one forgets is never another's."""
    return f"{_FOLDER}{turn_id}/{name}"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
