"""Containers that are a few lines of Python in this process: they speak frames, and keep one counter each.

A cell is `name`: it adds one to the counter and prints `name counter`. So light that a thousand races take seconds.
Save, restore, claim, ping and another host's HELLO work as in a supervisor; every answer comes a random few turns of
the loop later.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from sandbox.blobs import Blobs
from sandbox.contract import Container, Json
from sandbox.errors import SandboxGone, StateMissing
from sandbox.inside.frames import Decoder, Frame, Kind, encode
from sandbox.limits import Limits

MOST_TURNS = 3


async def some_turns(chance: random.Random, most: int = MOST_TURNS) -> None:
    """Let the others go first, a random number of times."""
    for _ in range(chance.randint(0, most)):
        await asyncio.sleep(0)


class ScriptedBox:
    """A supervisor and its interpreter; a wire writes to it and reads from it."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.counter = 0
        self.served: set[str] = set()
        """The names of the cells that were run here, as far as this box knows."""
        self.state = "running"
        self.reader: BoxWire | None = None
        self._chance = chance
        self._epoch = 0
        self._seq = 0
        self._unread: list[bytes] = []  # written while it was paused
        self._bodies: dict[int, bytearray] = defaultdict(bytearray)
        self._requests: dict[int, Json] = {}

    def take(self, data: bytes, decoder: Decoder) -> None:
        if self.state == "paused":
            self._unread.append(data)
            return
        for frame in decoder.feed(data):
            self._frame(frame)

    def resume(self, decoder: Decoder | None) -> None:
        self.state = "running"
        unread, self._unread = self._unread, []
        for data in unread:
            if decoder is not None:
                self.take(data, decoder)

    def _frame(self, frame: Frame) -> None:
        if frame.kind is Kind.HELLO:
            self._epoch = frame.epoch
            welcome = {"boot": self.name, "last_stream": max(self._requests, default=0), "running": None,
                       "last_run": None, "oldest": self._seq + 1, "python": "3"}  # fmt: skip
            self._send(encode(Kind.WELCOME, 0, json.dumps(welcome).encode(), epoch=self._epoch))
        elif frame.epoch != self._epoch:
            return
        elif frame.kind is Kind.PING:
            self._send(encode(Kind.PONG, epoch=self._epoch))
        elif frame.kind is Kind.OPEN:
            self._opened(frame.stream, json.loads(frame.payload))
        elif frame.kind is Kind.DATA:
            self._bodies[frame.stream] += frame.payload
        elif frame.kind is Kind.END:
            self._complete(frame.stream, self._requests[frame.stream]["op"], bytes(self._bodies.pop(frame.stream, b"")))

    def _opened(self, stream: int, request: Json) -> None:
        self._requests[stream] = request
        if request["op"] == "claim":
            self._end(stream, {"status": "ok"})
        elif request["op"] == "save":
            self._numbered(Kind.DATA, stream, json.dumps([self.counter, sorted(self.served)]).encode())
            self._end(stream, {"status": "ok", "files": 0, "variables": {"kept": ["n"], "lost": []}})

    def _complete(self, stream: int, op: str, body: bytes) -> None:
        if op == "restore":
            self.counter, served = json.loads(body)
            self.served = set(served)
            self._end(stream, {"status": "ok", "files": 0, "variables": {"kept": ["n"], "lost": []}})
        elif op == "run":
            self.counter += 1
            self.served.add(body.decode())
            self._numbered(Kind.STDOUT, stream, b"%s %d" % (body, self.counter))
            self._end(stream, {"status": "ok", "exit_code": 0})

    def _end(self, stream: int, end: Json) -> None:
        self._numbered(Kind.END, stream, json.dumps(end).encode())

    def _numbered(self, kind: Kind, stream: int, payload: bytes) -> None:
        self._seq += 1
        self._send(encode(kind, stream, payload, epoch=self._epoch, seq=self._seq))

    def _send(self, data: bytes) -> None:
        if self.reader is not None:
            self.reader.later(data, self._chance.randint(0, MOST_TURNS))


class BoxWire:
    """Standard input and output of a box; bytes come in order, some turns of the loop after they were sent."""

    def __init__(self, box: ScriptedBox) -> None:
        self.box = box
        self.decoder = Decoder()
        self._on_data: Callable[[bytes], None] = lambda data: None
        self._on_end: Callable[[], None] = lambda: None
        self._coming: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed and self.box.state != "gone":
            self.box.take(data, self.decoder)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def receive(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data, self._on_end = on_data, on_end

    def close(self) -> None:
        self.closed = True

    def later(self, data: bytes, turns: int) -> None:
        self._coming.append(data)
        self._after(turns)

    def _after(self, turns: int) -> None:
        asyncio.get_running_loop().call_soon(self._after if turns else self._arrive, *([turns - 1] if turns else []))

    def _arrive(self) -> None:
        if not self.closed:
            self._on_data(self._coming.pop(0))

    def end(self) -> None:
        if not self.closed:
            self._on_end()


class ScriptedEngine:
    """An Engine of scripted boxes; `boxes` are those that are there, `made` counts all."""

    def __init__(self, seed: int = 0) -> None:
        self.chance = random.Random(seed)
        self.boxes: dict[str, ScriptedBox] = {}
        self.made = 0

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, BoxWire]:
        await some_turns(self.chance)
        self.made += 1
        self.boxes[sandbox_id] = ScriptedBox(sandbox_id, self.chance)
        return sandbox_id, await self.attach(sandbox_id)

    async def attach(self, container_id: str) -> BoxWire:
        box = self._box(container_id)
        box.reader = BoxWire(box)
        return box.reader

    async def remove(self, container_id: str) -> None:
        await some_turns(self.chance)
        box = self.boxes.pop(container_id, None)
        if box is not None:
            box.state = "gone"
            if box.reader is not None:
                box.reader.end()

    async def pause(self, container_id: str) -> None:
        await some_turns(self.chance)
        self._box(container_id).state = "paused"

    async def unpause(self, container_id: str) -> None:
        await some_turns(self.chance)
        box = self._box(container_id)
        box.resume(box.reader.decoder if box.reader is not None else None)

    def _box(self, container_id: str) -> ScriptedBox:
        if container_id not in self.boxes:
            raise SandboxGone
        return self.boxes[container_id]

    async def containers(self) -> list[Container]:
        return [Container(container_id=name, sandbox_id=name, state=box.state) for name, box in self.boxes.items()]

    async def aclose(self) -> None:
        self.boxes.clear()


class DictBlobs(Blobs):
    """A store in a dict, without the threads of the real one: the order of events is the seed's alone."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(None)
        self._chance = chance
        self.kept: dict[str, bytes] = {}

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        data = b"".join([chunk async for chunk in chunks])
        await some_turns(self._chance)
        self.kept[name] = data
        return len(data)

    async def get(self, name: str) -> AsyncIterator[bytes]:
        await some_turns(self._chance)
        if name not in self.kept:
            raise StateMissing
        yield self.kept[name]

    async def delete(self, name: str) -> None:
        await some_turns(self._chance)
        self.kept.pop(name, None)
