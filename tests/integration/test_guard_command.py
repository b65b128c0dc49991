"""threadbox engine-guard as a process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bot.errors import ConfigurationError
from bot.guard import serve
from bot.settings import Settings
from sandbox.engine import connect


@pytest.mark.docker
async def test_the_command_serves_until_it_is_told_to_stop(image: str, tmp_path: Path) -> None:
    listen = tmp_path / "run" / "engine.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "engine-guard",
        env={**os.environ, "THREADBOX_GUARD_SOCKET": str(listen), "THREADBOX_IMAGE": image},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = await process.stderr.readline()
    client = await asyncio.to_thread(connect, f"unix://{listen}")
    answers = client.ping()
    client.close()
    process.terminate()
    rest = await process.stderr.read()

    assert (await process.wait(), rest) == (0, b"")
    assert answers
    assert str(listen) in said.decode()
    assert not listen.exists()


async def test_a_guard_in_front_of_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")

    with pytest.raises(ConfigurationError, match="own socket"):
        await serve(Settings(guard_socket=tmp_path / "engine.sock"), print)
