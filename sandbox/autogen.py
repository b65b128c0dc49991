"""Our sandbox as an AutoGen CodeExecutor: `SandboxCodeExecutor` goes wherever AutoGen takes an executor.

Python blocks share one interpreter; bash blocks run in the same workspace. Exit codes are the shells': 124 for a
time-out, 137 for out of memory. Nothing of the host is mounted: files are copied, both ways, when `work_dir` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from autogen_core import CancellationToken, Component
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from pydantic import BaseModel, model_validator

from sandbox.alone import make_engine
from sandbox.contract import Cut, Display, Engine, Outcome, Output, Waiting
from sandbox.egress import NetworkMode
from sandbox.errors import FileRefused, SandboxGone, UnsupportedLanguage
from sandbox.host_files import MAX_COPIED_BYTES, MAX_COPIED_FILES, read_files, write_inside
from sandbox.host_proxy import HostProxy
from sandbox.limits import Limits
from sandbox.reach import OwnGate, Reach, find_reach
from sandbox.sandbox import Sandbox
from sandbox.tunnels import EgressGate

FILENAME = "# filename:"


class NetworkConfig(BaseModel):
    """A network with the hosts that it takes: exact names, and in `trusted` those whose address is not public.

    `trusted` has host or host:port; a port other than 443 is reached only there. `proxy` is the host's own,
    as http://user:password@host:port.
    """

    mode: NetworkMode
    hosts: list[str] = []
    trusted: list[str] = []
    proxy: str | None = None

    @model_validator(mode="after")
    def _names_a_host(self) -> NetworkConfig:
        if self.mode == "allowlist" and not self.hosts:
            raise ValueError("the mode is allowlist, and no host is named")
        return self


class SandboxCodeExecutorConfig(BaseModel):
    """The component configuration: the constructor's arguments."""

    image: str | None = None
    timeout: float = 60
    memory_mib: int = 1024
    cpus: float = 1.0
    network: NetworkMode | NetworkConfig = "off"
    work_dir: str | None = None


class SandboxCodeExecutor(CodeExecutor, Component[SandboxCodeExecutorConfig]):
    """Runs code blocks in a sealed container that lives from `start` to `stop`.

    Args:
        image: name of a sandbox image; None builds ours if it is not there yet.
        timeout: seconds a block may run.
        memory_mib: memory of the container, the files in its workspace included.
        cpus: processors.
        network: "off"; "packages", where pip reaches the index that the image is configured for; or a NetworkConfig,
            which can name more hosts ("allowlist": those and no index).
        work_dir: a folder whose files are copied into the workspace at start, and to which files that the code
            makes are copied after each call. None copies nothing.
    """

    component_config_schema = SandboxCodeExecutorConfig
    component_provider_override = "sandbox.autogen.SandboxCodeExecutor"

    def __init__(
        self,
        image: str | None = None,
        timeout: float = 60,
        memory_mib: int = 1024,
        cpus: float = 1.0,
        network: NetworkMode | NetworkConfig = "off",
        work_dir: str | Path | None = None,
    ) -> None:
        self._config = SandboxCodeExecutorConfig(
            image=image,
            timeout=timeout,
            memory_mib=memory_mib,
            cpus=cpus,
            network=network,
            work_dir=str(work_dir) if work_dir is not None else None,
        )
        self._limits = Limits(memory_mib=memory_mib, cpus=cpus, timeout_seconds=timeout)
        self._engine: Engine | None = None
        self._sandbox: Sandbox | None = None
        asked = self._config.network
        self._network = asked if isinstance(asked, NetworkConfig) else NetworkConfig(mode=asked)
        self._own_gate = OwnGate()
        self._gate: EgressGate | None = None
        self._reach: Reach | None = None
        # AutoGen runs the tool calls of one model reply at once; one interpreter takes one cell at a time
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the container. Raises SandboxError."""
        if self._sandbox is None:
            self._engine = self._engine or await make_engine(self._config.image)
            self._sandbox = await Sandbox.start(self._engine, os.urandom(6).hex(), self._limits)
            try:
                await self._connect(self._engine, self._sandbox)
                await self._copy_in(self._sandbox)
            except BaseException:
                await self.stop()  # nobody leaves a context that was never entered
                raise

    async def _connect(self, engine: Engine, sandbox: Sandbox) -> None:
        wanted = self._network
        if wanted.mode == "off":
            return
        if self._reach is None:
            proxy = HostProxy.parse(wanted.proxy) if wanted.proxy else None
            self._reach = await find_reach(engine, wanted.mode, hosts=wanted.hosts, trusted=wanted.trusted, proxy=proxy)
        if self._gate is None:
            self._gate = await self._own_gate.open(self._reach.egress)
        await sandbox.connect(self._gate, self._reach.network, "autogen")

    async def stop(self) -> None:
        """Remove the container."""
        sandbox, self._sandbox = self._sandbox, None
        engine, self._engine = self._engine, None
        gate, self._own_gate, self._gate = self._own_gate, OwnGate(), None
        try:
            await gate.close()
            if sandbox is not None:
                await sandbox.remove()
        finally:
            if engine is not None:
                await engine.aclose()

    async def restart(self) -> None:
        """A new container in place of this one: no variables, no files."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await sandbox.remove()
        await self.start()

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        """Run the blocks in order, up to the first that fails; a cancelled run ends with code 1, as AutoGen's do."""
        async with self._turn:
            if not await self._lives():
                await self.restart()
            running = asyncio.ensure_future(self._run_blocks(code_blocks))
            cancellation_token.link_future(running)  # type: ignore[unused-awaitable]  # it returns its argument
            try:
                return await running
            except asyncio.CancelledError:
                if not cancellation_token.is_cancelled():
                    running.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await running
                    raise
                return CodeResult(exit_code=1, output="Code execution was cancelled.")

    async def _lives(self) -> bool:
        try:
            if self._sandbox is not None:
                await self._sandbox.revive()
        except SandboxGone:
            return False
        return self._sandbox is not None

    async def _run_blocks(self, blocks: list[CodeBlock]) -> CodeResult:
        parts: list[str] = []
        for block in blocks:
            try:
                await self._save_named(block.code)
            except FileRefused as error:
                return CodeResult(exit_code=1, output=f"{''.join(parts)}Filename is not in the workspace ({error})")
            text, exit_code = await self._run_block(block)
            parts.append(text)
            if exit_code != 0:
                return CodeResult(exit_code=exit_code, output="".join(parts))
        return CodeResult(exit_code=0, output="".join(parts))

    async def _run_block(self, block: CodeBlock) -> tuple[str, int]:
        assert self._sandbox is not None  # noqa: S101 - started by execute_code_blocks
        parts: list[str] = []
        try:
            async with contextlib.aclosing(self._sandbox.run(block.code, block.language)) as events:
                async for event in events:
                    match event:
                        case Output():
                            parts.append(event.text)
                        case Cut():
                            parts.append(f"\n[... {event.count:,} bytes left out ...]\n")
                        case Display():
                            parts.append(event.bundle.get("text/plain", b"").decode("utf-8", "replace") + "\n")
                        case Waiting():
                            pass  # a sandbox of one's own waits for nobody
                        case Outcome():
                            await self._copy_out(self._sandbox, event)
                            return "".join(parts) + _last_words(event), event.exit_code
        except UnsupportedLanguage as error:
            return str(error), 1
        raise AssertionError("a run ends with an Outcome")

    async def _save_named(self, code: str) -> None:
        """A first line `# filename: NAME` keeps the block as that file too, as AutoGen's executors do."""
        first, _, _ = code.partition("\n")
        if first.startswith(FILENAME) and self._sandbox is not None:
            await self._sandbox.put_file(first.removeprefix(FILENAME).strip(), code.encode("utf-8", "replace"))

    async def _copy_in(self, sandbox: Sandbox) -> None:
        if self._config.work_dir is None:
            return
        for name, data in await asyncio.to_thread(read_files, Path(self._config.work_dir)):
            await sandbox.put_file(name, data)

    async def _copy_out(self, sandbox: Sandbox, outcome: Outcome) -> None:
        if self._config.work_dir is None or not sandbox.is_alive:
            return
        for file in outcome.files[:MAX_COPIED_FILES]:
            with contextlib.suppress(FileRefused):
                data = await sandbox.get_file(file.path, limit_bytes=MAX_COPIED_BYTES)
                write_inside(Path(self._config.work_dir), file.path, data)

    def _to_config(self) -> SandboxCodeExecutorConfig:
        return self._config

    @classmethod
    def _from_config(cls, config: SandboxCodeExecutorConfig) -> SandboxCodeExecutor:
        return cls(**config.model_dump())


def _last_words(outcome: Outcome) -> str:
    match outcome.status:
        case "timeout":
            return f"\nTimeout: the code ran longer than allowed.{_lost(outcome)}"
        case "oom":
            return f"\nOut of memory.{_lost(outcome)}"
        case "output_limit":
            return f"\nStopped: too much output.{_lost(outcome)}"
        case "crashed" | "lost":
            return f"\n{outcome.error_message}{_lost(outcome)}"
        case _:
            return ""


def _lost(outcome: Outcome) -> str:
    return "" if outcome.variables_kept else " All variables are lost."
