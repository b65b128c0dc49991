"""The host's end of a sandbox's stream: streams of frames over a wire, in order, acknowledged.

Everything that arrives is hostile until decoded: frames are taken strictly in sequence, each stream counts
its bytes, and a stream over its bound ends the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable

from sandbox.contract import Json, Wire
from sandbox.errors import SandboxError, SandboxGone
from sandbox.inside.frames import COST, PADDING, Decoder, Frame, Kind, chunks, encode
from sandbox.welcome import FIRST_TUNNEL, Welcome

ACK_EVERY = 2 * 1024 * 1024  # bytes received between two acknowledgements; until then a new host gets them again
STREAM_BYTES = 64 * 1024 * 1024  # received on one stream and not yet read
FRAMES_AT_ONCE = 16  # taken from a stream before everybody else has a turn
_NUMBERED = {Kind.DATA, Kind.END, Kind.STDOUT, Kind.STDERR, Kind.DISPLAY, Kind.NOTE, Kind.CONNECT, Kind.CREDIT}


class Channel:
    """One attachment to one sandbox. `hello` comes first; a lease makes sure that there is only one at a time."""

    def __init__(self, wire: Wire, *, epoch: int, nonce: str, seen: int = 0, run: Stream | None = None) -> None:
        self.epoch = epoch
        self._wire = wire
        self.nonce = nonce
        self._seen = seen
        self._unacknowledged = 0
        self._waiting: list[bytes] = []
        self._decoder = Decoder()
        self._streams: dict[int, Stream] = {}
        self._next_stream = 1
        self.run = run
        """The stream of the run under way: one over all attachments of a host, so that nothing is lost between them."""
        self.adopted: Stream | None = None
        """The same where an earlier attachment asked for it, unless its end was seen."""
        self.memory_bytes = 0
        """What the sandbox uses, as it was last told; 0 before that."""
        self.is_superseded = False
        """Whether the sandbox answers another host now."""
        self.on_tunnel: Callable[[Frame], None] | None = None
        """Takes frames of the streams that the sandbox opens; without it they are dropped."""
        self.on_end: Callable[[], None] | None = None
        """Told when the stream has ended."""
        self._welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._pongs: asyncio.Event = asyncio.Event()
        self.gone = asyncio.Event()

    @property
    def seen(self) -> int:
        """The number of the last frame that arrived, for the next attachment."""
        return self._seen

    async def hello(self, *, again: bool = False) -> Welcome:
        """Greet the supervisor and wait for its answer. `again`: another host may have been here before."""
        self._wire.receive(self._received, self._ended)
        if again:
            self._wire.write(PADDING)
        hello = json.dumps({"nonce": self.nonce, "seen": self._seen}).encode()
        self._send(Kind.HELLO, 0, hello)
        return await self._welcome

    def open(self, request: Json) -> Stream:
        """A stream for one request. Raises SandboxGone."""
        if not self.stands:
            raise SandboxGone
        self._acknowledge()  # only now: until the next request a new host can still have the last one's answer
        number = self._next_stream
        self._next_stream += 1
        stream = self._streams[number] = Stream(self, number)
        self._send(Kind.OPEN, number, json.dumps(request).encode())
        return stream

    @property
    def stands(self) -> bool:
        """Whether the supervisor has answered, and the stream was not cut since."""
        return self._welcome.done() and not self.gone.is_set()

    async def ping(self) -> None:
        """Return once the supervisor has answered. Raises SandboxGone."""
        self._pongs.clear()
        self._send(Kind.PING, 0)
        await self._pongs.wait()
        if self.gone.is_set():
            raise SandboxGone

    def send_tunnel(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        """See tunnels.Sender."""
        if not self.gone.is_set():
            self._send(kind, stream, payload)

    async def drain(self) -> None:
        """See tunnels.Sender."""
        self._flush()
        await self._wire.drain()

    def close(self) -> None:
        """Detach; streams still open end with SandboxGone."""
        self._flush()
        self._wire.close()
        self._ended()

    def _send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        if not self._waiting:
            # frames of one moment go as one write: each is a wake-up of the engine, of its shim and of the supervisor
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(encode(kind, stream, payload, epoch=self.epoch))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._wire.write(b"".join(waiting))

    async def _send_body(self, stream: int, data: bytes) -> None:
        pieces = chunks(data)
        for number, chunk in enumerate(pieces):
            self._send(Kind.DATA, stream, chunk)
            if number < len(pieces) - 1:
                await self.drain()

    def _received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            if frame.epoch > self.epoch:
                self.is_superseded = True
                self.close()
                return
            if frame.kind is Kind.WELCOME and frame.epoch == self.epoch:
                self._welcomed(frame)
            elif frame.kind is Kind.PONG:
                self._pongs.set()
            elif frame.kind is Kind.NOTE and not frame.seq:
                self._noted(frame)
            elif frame.kind in _NUMBERED and frame.seq == self._seen + 1 and self._welcome.done():
                # anything else is a copy sent again, or comes again after the welcome
                self._seen = frame.seq
                self._deliver(frame)

    def _welcomed(self, frame: Frame) -> None:
        welcome = Welcome.read(frame.payload)
        if welcome is None or self._welcome.done():
            return
        self._welcome.set_result(welcome)
        # at once and not in hello: what an earlier host has missed may come in the same bytes
        self._seen = max(self._seen, welcome.oldest - 1)
        self._next_stream = welcome.last_stream + 1
        if welcome.last_run is not None and not 0 < welcome.last_run[3] <= self._seen:
            number = welcome.last_run[1]
            if self.run is None or self.run.number != number:
                self.run = Stream(self, number)
            self.run.move_to(self)
            self.adopted = self._streams[number] = self.run

    def _noted(self, frame: Frame) -> None:
        with contextlib.suppress(SandboxError, ValueError, TypeError, OverflowError):
            self.memory_bytes = int(decode_json(frame.payload).get("memory", 0))

    def _deliver(self, frame: Frame) -> None:
        self._unacknowledged += len(frame.payload) + COST
        if self._unacknowledged >= ACK_EVERY:
            self._acknowledge()
        if frame.stream >= FIRST_TUNNEL:
            if self.on_tunnel is not None:
                self.on_tunnel(frame)
            return
        stream = self._streams.get(frame.stream)
        if stream is not None and not stream.put(frame):
            self.close()
        if frame.kind is Kind.END:
            self._streams.pop(frame.stream, None)

    def _acknowledge(self) -> None:
        self._unacknowledged = 0
        self._send(Kind.ACK, 0, self._seen.to_bytes(8, "big"))

    def _ended(self) -> None:
        if not self.gone.is_set() and self.on_end is not None:
            self.on_end()
        self.gone.set()
        self._pongs.set()
        if not self._welcome.done():
            self._welcome.set_exception(SandboxGone())
            self._welcome.exception()  # retrieved: a hello that timed out has nobody waiting
        for stream in self._streams.values():
            stream.put(None)
        self._streams.clear()


class Stream:
    """One request and what comes back for it."""

    def __init__(self, channel: Channel, number: int) -> None:
        self.number = number
        self._channel = channel
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._waiting_bytes = 0

    def move_to(self, channel: Channel) -> None:
        """Go on over another attachment."""
        self._channel = channel

    async def send(self, body: bytes) -> None:
        """Send a body; the engine's back-pressure is kept."""
        await self._channel._send_body(self.number, body)

    def finish(self) -> None:
        """Say that the body is complete."""
        self._channel._send(Kind.END, self.number)

    def interrupt(self) -> None:
        """Ask the supervisor to stop this request's work."""
        self._channel._send(Kind.INTERRUPT, self.number)

    def credit(self, count: int) -> None:
        """Allow so many more bytes of a download."""
        self._channel._send(Kind.CREDIT, self.number, count.to_bytes(4, "big"))

    def put(self, frame: Frame | None) -> bool:
        """Take a frame from the channel; false when nobody reads and the bound is reached."""
        if frame is not None:
            self._waiting_bytes += len(frame.payload) + COST
        self._frames.put_nowait(frame)
        return self._waiting_bytes <= STREAM_BYTES

    async def frames(self) -> AsyncIterator[Frame]:
        """Frames up to and including END. Raises SandboxGone when the channel ends first; then they may go on again."""
        for number in itertools.count(1):
            if number % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a queue that is never empty would keep the loop from everybody else
            if self._frames.empty() and self._channel.gone.is_set():
                raise SandboxGone
            frame = await self._frames.get()
            if frame is None:  # a channel has ended: this stream's, or one before it
                continue
            self._waiting_bytes -= len(frame.payload) + COST
            yield frame
            if frame.kind is Kind.END:
                return


def end_of(frame: Frame) -> Json:
    """What an END says; empty for any other frame."""
    return decode_json(frame.payload) if frame.kind is Kind.END else {}


def decode_json(payload: bytes) -> Json:
    """JSON that the supervisor sent. Raises SandboxError when it is no object."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise SandboxError("The sandbox sent something that is not JSON.") from error
    if not isinstance(value, dict):
        raise SandboxError("The sandbox sent something that is not an object.")
    return value
