"""Images that come with a message go to models that see, as they came."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from bot.agent.autogen import AutoGenAgent
from bot.model import Attachment
from sandbox.service import SandboxService
from tests.doubles.bot import Bot, model_settings, running_bot
from tests.doubles.model_server import Held, ModelServer, python

# one loop for the module: its tests share the sandboxes of tests/integration/conftest.py
pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = b"\x89PNG not really one, and never decoded"


@pytest_asyncio.fixture(loop_scope="module", params=[True, False], ids=["sees", "is blind"])
async def bot(
    request: pytest.FixtureRequest, tmp_path: Path, sandboxes: SandboxService, model: ModelServer
) -> AsyncIterator[Bot]:
    agent = AutoGenAgent(replace(model_settings(model.url), vision=request.param))
    async with running_bot(tmp_path, sandboxes, agent=agent) as running:
        yield running
    await agent.aclose()


async def test_an_image_goes_to_a_model_that_sees_in_its_own_turn_alone(
    bot: Bot, model: ModelServer, request: pytest.FixtureRequest
) -> None:
    bot.platform.files["f"] = PNG
    sees = "sees" in request.node.callspec.id

    await bot.ask("what is this?", attachments=(Attachment(name="a.png", size=len(PNG), source="f"),))
    await bot.ask("and now?")

    asked = model.requests[0]["messages"][-1]["content"]
    if sees:
        assert asked[0]["text"].startswith("Ada: what is this?")
        assert asked[1]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert "image_url" not in str(model.requests[0 if not sees else 1])
    assert "a.png" in str(asked)


async def test_what_is_sent_during_a_run_is_named_and_seen(
    bot: Bot, model: ModelServer, request: pytest.FixtureRequest
) -> None:
    bot.platform.files["f"] = PNG
    sees = "sees" in request.node.callspec.id
    held = Held(python("print(1)"))
    model.script[:] = [held, "Both."]

    await bot.say("begin")
    await model.asked()
    await bot.say("use this instead", attachments=(Attachment(name="b.png", size=len(PNG), source="f"),))
    held.release()
    await bot.platform.ended("1")

    joined = model.requests[1]["messages"][-1]["content"]
    words = joined[0]["text"] if sees else joined
    assert words.startswith("Ada: use this instead") and "b.png" in words
    assert ("image_url" in str(joined)) is sees
