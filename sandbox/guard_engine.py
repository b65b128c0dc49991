"""The guard's side towards the engine: a connection for each call, and the questions that the guard asks for itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlencode

import h11

from sandbox.contract import LABEL, LABEL_ID
from sandbox.engine_address import EnginePlace
from sandbox.errors import EngineUnavailable
from sandbox.guard_rules import OURS, Forward
from sandbox.guard_stream import FLUSH_SECONDS, Streams
from sandbox.limits import ENGINE_SECONDS

CHUNK_BYTES = 256 * 1024  # read at once; a side that does not take its bytes holds up no more than a few of these
ANSWER_BYTES = 4 * 1024 * 1024  # to a question of ours
KNOWN_IDS = 1024  # containers that are known to be ours


class GuardedEngine:
    """The engine behind the guard."""

    def __init__(self, place: EnginePlace) -> None:
        self._place = place
        self._known: dict[str, None] = {}

    @contextlib.asynccontextmanager
    async def calling(self, forward: Forward, container_id: str = "") -> AsyncIterator[Streams]:
        """The call, sent in words of our own. Raises OSError."""
        socket, tls = self._place.socket, self._place.tls
        if isinstance(socket, str):
            reader, writer = await asyncio.open_unix_connection(socket, limit=CHUNK_BYTES)
        else:
            reader, writer = await asyncio.open_connection(*socket, limit=CHUNK_BYTES, ssl=tls)
        try:
            writer.write(_request(forward, container_id))
            yield reader, writer
        finally:
            await closed(writer)

    async def ours(self, name: str) -> str | None:
        """The full id of the container of that id or name; None if it is not there or not ours."""
        if name in self._known:
            return name
        status, found = await self._ask(f"/containers/{name}/json")
        if status == 404:
            return None
        if status != 200:  # which is no word on whether it is there
            raise EngineUnavailable(f"The Docker Engine answers {status} when asked for a container.")
        labels = found["Config"]["Labels"] or {}
        # an image can bring labels too, so one word is not proof enough
        if labels.get(LABEL) != "1" or found["Name"] != f"/threadbox-{labels.get(LABEL_ID)}":
            return None
        container_id = str(found["Id"])
        if len(self._known) >= KNOWN_IDS:
            del self._known[next(iter(self._known))]
        self._known[container_id] = None  # an id is never given twice, and labels never change
        return container_id if name in (container_id, found["Name"][1:]) else None

    async def image_ids(self, names: Iterable[str]) -> set[str]:
        """The ids of the images of these names, those that are there."""
        answers = [await self._ask(f"/images/{name}/json") for name in names]
        return {str(found["Id"]) for status, found in answers if status == 200}

    async def count(self) -> int:
        """How many containers are ours, running or not."""
        filters = json.dumps({"label": [OURS]})
        status, found = await self._ask("/containers/json", ("all", "1"), ("filters", filters))
        if status != 200:
            raise EngineUnavailable(f"The Docker Engine answers {status} to a list of containers.")
        return len(found)

    async def _ask(self, path: str, *query: tuple[str, str]) -> tuple[int, Any]:
        async with asyncio.timeout(ENGINE_SECONDS):
            async with self.calling(Forward(method="GET", path=path, query=query)) as (reader, _):
                status, body = await read_answer(reader)
        return status, json.loads(body)


def _request(forward: Forward, container_id: str) -> bytes:
    target = forward.path.format(container_id)
    if forward.query:
        target += f"?{urlencode(forward.query)}"
    headers = [("Host", "docker"), ("Content-Length", str(len(forward.body)))]
    if forward.upgrades:
        headers += [("Connection", "Upgrade"), ("Upgrade", "tcp")]
    else:
        headers += [("Connection", "close"), ("Content-Type", "application/json")]
    http = h11.Connection(h11.CLIENT)
    head = http.send(h11.Request(method=forward.method, target=target, headers=headers)) or b""
    return head + forward.body


async def read_answer(reader: asyncio.StreamReader, early: bytes = b"") -> tuple[int, bytes]:
    """Status and body of an answer whose first bytes were read already. Raises EngineUnavailable."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "docker"), ("Connection", "close")]))
    http.send(h11.EndOfMessage())
    if early:
        http.receive_data(early)
    status, body = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data) and len(body) <= ANSWER_BYTES:
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        else:
            raise EngineUnavailable("The Docker Engine sent no answer that can be read.")


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, its last bytes sent if the other side takes them soon."""
    if writer.is_closing():
        return
    writer.close()
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
