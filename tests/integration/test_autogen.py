"""SandboxCodeExecutor wherever AutoGen takes an executor, with a real container and a scripted model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autogen_agentchat.agents import ApprovalResponse, AssistantAgent, CodeExecutorAgent
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from autogen_ext.tools.code_execution import PythonCodeExecutionTool

from bot.agent.client import model_client
from sandbox.autogen import SandboxCodeExecutor
from sandbox.errors import FileRefused
from sandbox.host_files import write_inside
from tests.doubles.bot import model_settings
from tests.doubles.model_server import Call, model_server

pytestmark = pytest.mark.docker


@pytest.fixture
async def executor(image: str) -> AsyncIterator[SandboxCodeExecutor]:
    async with SandboxCodeExecutor(image=image, timeout=10) as executor:
        yield executor


async def execute(executor: CodeExecutor, *blocks: tuple[str, str]) -> CodeResult:
    return await executor.execute_code_blocks(
        [CodeBlock(language=language, code=code) for language, code in blocks], CancellationToken()
    )


async def test_blocks_share_state_and_run_in_order(executor: SandboxCodeExecutor) -> None:
    result = await execute(
        executor, ("python", "x = 2\nopen('a', 'w').write('3')"), ("bash", "cat a"), ("python", "print(x)")
    )

    assert (result.exit_code, result.output) == (0, "1\n32\n")


async def test_the_first_failure_ends_the_call(executor: SandboxCodeExecutor) -> None:
    result = await execute(executor, ("python", "1/0"), ("python", "print('never')"))

    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output
    assert "never" not in result.output


async def test_a_first_line_names_the_file_that_a_block_is_kept_as(executor: SandboxCodeExecutor) -> None:
    result = await execute(
        executor,
        ("python", "# filename: lib/tool.py\ndef double(n): return 2 * n"),
        ("python", "from lib.tool import double\nprint(double(21))"),
    )
    refused = await execute(executor, ("python", "# filename: ../../etc/x\nprint('never')"))

    assert (result.exit_code, result.output) == (0, "42\n")
    assert refused.exit_code == 1
    assert "Filename is not in the workspace" in refused.output


async def test_another_language_is_refused_by_name(executor: SandboxCodeExecutor) -> None:
    result = await execute(executor, ("ruby", "puts 1"))

    assert result.exit_code == 1
    assert "Cannot run 'ruby'" in result.output


async def test_exit_codes_are_the_shells(image: str) -> None:
    async with SandboxCodeExecutor(image=image, timeout=1, memory_mib=128) as executor:
        assert (await execute(executor, ("python", "while True: pass"))).exit_code == 124
        assert (await execute(executor, ("python", "a = b'x' * (200 << 20)"))).exit_code == 137


async def test_cancelling_ends_the_code_and_the_next_call_works(executor: SandboxCodeExecutor) -> None:
    token = CancellationToken()
    running = asyncio.ensure_future(
        executor.execute_code_blocks([CodeBlock(language="python", code="while True: pass")], token)
    )
    await asyncio.sleep(0.5)
    started = time.monotonic()
    token.cancel()

    result = await running

    assert (result.exit_code, result.output) == (1, "Code execution was cancelled.")
    assert time.monotonic() - started < 3
    assert (await execute(executor, ("python", "print(1)"))).output == "1\n"


async def test_calls_at_once_take_turns(executor: SandboxCodeExecutor) -> None:
    await execute(executor, ("python", "n = 0"))

    results = await asyncio.gather(*(execute(executor, ("python", "n += 1; print(n)")) for _ in range(5)))

    assert sorted(result.output for result in results) == [f"{n}\n" for n in range(1, 6)]


async def test_restart_forgets_everything(executor: SandboxCodeExecutor) -> None:
    await execute(executor, ("python", "x = 1\nopen('a', 'w').write('b')"))

    await executor.restart()

    assert "NameError" in (await execute(executor, ("python", "print(x)"))).output
    assert (await execute(executor, ("bash", "test -e a"))).exit_code == 1


async def test_work_dir_is_copied_in_and_out(image: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("1,2")
    async with SandboxCodeExecutor(image=image, work_dir=tmp_path) as executor:
        await execute(executor, ("bash", "mkdir d; rev in.csv > d/out.csv; ln -s /etc/passwd stolen"))

    assert (tmp_path / "d" / "out.csv").read_text() == "2,1"
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "link", "linked/x", "", "a\0b"])
def test_a_name_from_the_sandbox_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "out" / "x")
    (root / "linked").symlink_to(tmp_path / "out")

    with pytest.raises(FileRefused):
        write_inside(root, name, b"x")

    assert list((tmp_path / "out").iterdir()) == []


async def test_the_component_can_be_written_down_and_made_again(image: str) -> None:
    executor = SandboxCodeExecutor(image=image, timeout=7, memory_mib=300, cpus=0.5)

    again = CodeExecutor.load_component(executor.dump_component(), SandboxCodeExecutor)

    assert again._to_config() == executor._to_config()


def test_a_network_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'full'"):
        SandboxCodeExecutor(network="full")  # type: ignore[arg-type]


async def test_autogens_own_tool_and_agent_run_on_it(executor: SandboxCodeExecutor) -> None:
    script = [Call([("CodeExecutor", {"code": "print(6 * 7)"})]), "It is 42."]
    with model_server(script) as server:
        client = model_client(model_settings(server.url))
        tool = PythonCodeExecutionTool(executor)
        agent = AssistantAgent("a", client, tools=[tool], reflect_on_tool_use=True)
        result = await agent.run(task="compute")
        await client.close()

    assert any("42" in str(message) for message in result.messages[:-1])
    assert isinstance(result.messages[-1], TextMessage)
    assert result.messages[-1].content == "It is 42."


async def test_autogens_code_executor_agent_runs_on_it(executor: SandboxCodeExecutor) -> None:
    agent = CodeExecutorAgent(
        "runner", executor, approval_func=lambda _: ApprovalResponse(approved=True, reason="a test")
    )

    result = await agent.run(task="Run:\n```python\nprint(6 * 7)\n```")

    assert "42" in str(result.messages[-1])
