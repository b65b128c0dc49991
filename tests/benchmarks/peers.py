"""Executors side by side, one round of each in turn, so that a slow minute of the machine meets all of them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any, Protocol

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor
from autogen_ext.code_executors.docker import DockerCommandLineCodeExecutor
from llm_sandbox import SandboxSession

from sandbox.autogen import SandboxCodeExecutor
from sandbox.engine import connect
from tests.benchmarks.timing import timed

ROUNDS = 6  # containers of each kind
CELLS = 25  # cells on each live container
STAGES = ("start", "first cell", "live cell", "stop")
CODE = "print(6*7)"
Times = dict[str, list[float]]


class Peer(Protocol):
    """One executor."""

    async def start(self) -> None: ...
    async def cell(self) -> str: ...
    async def stop(self) -> None: ...


class AutoGenPeer:
    """Anything with AutoGen's interface."""

    def __init__(self, executor: CodeExecutor) -> None:
        self._executor = executor

    async def start(self) -> None:
        await self._executor.start()

    async def cell(self) -> str:
        block = CodeBlock(code=CODE, language="python")
        return (await self._executor.execute_code_blocks([block], CancellationToken())).output

    async def stop(self) -> None:
        await self._executor.stop()


class LlmSandboxPeer:
    """llm-sandbox, which blocks, in a thread; without its pip set-up, which a closed network would not finish."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._session: Any = None

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self._session = SandboxSession(
            lang="python", image=self._image, skip_environment_setup=True, keep_template=True
        )
        self._session.open()

    async def cell(self) -> str:
        return str((await asyncio.to_thread(self._session.run, CODE)).stdout)

    async def stop(self) -> None:
        await asyncio.to_thread(self._session.close)


def as_root(image: str) -> str:
    """The same image as peers need it: root, since AutoGen mounts a folder that only root may read, and a shell."""
    client = connect()
    text = f"FROM {image}\nUSER root\nCMD sleep infinity\n"
    client.images.build(fileobj=io.BytesIO(text.encode()), tag="threadbox-bench:root", rm=True)
    client.close()
    return "threadbox-bench:root"


async def one_round(peer: Peer, times: Times) -> None:
    async def cell() -> None:
        output = await peer.cell()
        if output.strip() != "42":
            raise RuntimeError(f"wrong answer: {output!r}")

    times["start"].append(await timed(peer.start))
    times["first cell"].append(await timed(cell))
    for _ in range(CELLS):
        times["live cell"].append(await timed(cell))
    times["stop"].append(await timed(peer.stop))


async def measure_peers(image: str, peer_image: str) -> dict[str, Times]:
    """Milliseconds by executor and stage."""
    kinds: dict[str, Callable[[], Peer]] = {
        "AutoGen": lambda: AutoGenPeer(DockerCommandLineCodeExecutor(image=peer_image)),
        "llm-sandbox": lambda: LlmSandboxPeer(peer_image),
        "Threadbox": lambda: AutoGenPeer(SandboxCodeExecutor(image=image)),
    }
    times: dict[str, Times] = {name: {stage: [] for stage in STAGES} for name in kinds}
    for _ in range(ROUNDS):
        for name, make in kinds.items():
            await one_round(make(), times[name])
    return times
