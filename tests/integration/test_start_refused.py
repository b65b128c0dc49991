"""A bot that strangers can reach does not start where their code would have no limits; real engine, real runsc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigurationError
from bot.gateway import look_at_engine
from bot.settings import Settings
from tests.doubles.gvisor import WITHOUT_LIMITS, GvisorEngine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SLACK = {"SLACK_BOT_TOKEN": "xoxb-1-2-x", "SLACK_APP_TOKEN": "xapp-1-A-1-x"}


@pytest.fixture
def engine_without_limits(gvisor: GvisorEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", gvisor.own.url)


@pytest.mark.usefixtures("engine_without_limits")
@pytest.mark.parametrize(
    ("more", "starts"),
    [
        (SLACK, False),
        ({"web_host": "0.0.0.0", "web_token": "t" * 32}, False),
        ({}, True),
        (SLACK | {"trust_everyone": True}, True),
    ],
    ids=["slack", "open web chat", "loopback", "all trusted"],
)
async def test_an_engine_without_limits_is_refused_to_strangers(
    tmp_path: Path, more: dict[str, Any], starts: bool
) -> None:
    said: list[str] = []
    settings = Settings(data_dir=tmp_path, runtime=WITHOUT_LIMITS, **more)

    if starts:
        await look_at_engine(settings, said.append)
    else:
        with pytest.raises(ConfigurationError) as raised:
            await look_at_engine(settings, said.append)
        said.append(str(raised.value))

    assert "runs with --ignore-cgroups: memory and processes have no limit" in said[0]
    assert said[0].startswith("error: ") == starts
