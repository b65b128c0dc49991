"""From a mention in Slack to the first sign and to the final post, with one cell and a model that answers at once.

The bot's own share: Slack and the model are loopback servers in this process, so what they cost is counted too.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from adapters.slack import SlackStore, slack
from bot.app import App, container_instance
from bot.clock import utc_now
from bot.core import Core
from bot.sandbox_setup import make_engine
from bot.settings import Settings
from tests.benchmarks.timing import summary
from tests.doubles.model_server import model_server, python
from tests.doubles.slack_bot import config, quick
from tests.doubles.slack_people import MENTION, People
from tests.doubles.slack_server import SlackServer, slack_server

MENTIONS = 40
PAUSE_SECONDS = 1.0  # for the pool to have a sandbox ready again: people do not mention without end


async def measure_mentions() -> dict[str, Any]:
    """Milliseconds, by stage."""
    with tempfile.TemporaryDirectory(prefix="threadbox-bench-") as folder, model_server() as model:
        model.script[:] = [python("print(6 * 7)"), "It is 42."] * (MENTIONS + 2)
        settings = Settings(
            OPENAI_BASE_URL=model.url,
            model="scripted",
            data_dir=Path(folder),
            turns_per_person=MENTIONS,
            warm_least=4,
            warm_most=6,
            max_sandboxes=MENTIONS + 8,
        )  # type: ignore[call-arg] # the rest has defaults
        async with slack_server() as server, App(settings) as app:
            store = SlackStore(artifacts=app.parts.artifacts, people=app.parts.people)
            connected = await app.enter(slack(config(server.api.url), store, quick))
            await app.serve({"slack": connected.platform})
            parts = app.parts
            core = Core(
                intake=parts.intake,
                commands=parts.commands,
                history=parts.history,
                choices=parts.choices,
                clock=utc_now,
            )
            async with connected.serving(core):
                figures = await _mentions(server, People(server))
        await _remove_containers(settings)
        return figures


async def _remove_containers(settings: Settings) -> None:
    """A bot that stops leaves them for its next start; here there is none."""
    engine = make_engine(settings, instance=container_instance(settings.folder))
    for container in await engine.containers():
        await engine.remove(container.container_id)
    await engine.aclose()


async def _mentions(server: SlackServer, people: People) -> dict[str, Any]:
    await people.ended(await people.say(f"{MENTION} warm up"))
    signs: list[float] = []
    posts: list[float] = []
    for _ in range(MENTIONS):
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.monotonic()
        ts = await people.say(f"{MENTION} what is 6 * 7?", wait=False)
        await server.until(lambda ts=ts: server.api.reactions["C1", ts])  # type: ignore[misc]
        signs.append((time.monotonic() - began) * 1000)
        await people.sees(ts, "It is 42.")
        posts.append((time.monotonic() - began) * 1000)
    acks = [seconds * 1000 for seconds in server.ack_seconds]
    return {
        "mention to first sign": summary(signs),
        "mention to final post": summary(posts),
        "acknowledgement": summary(acks),
    }


if __name__ == "__main__":
    print(asyncio.run(measure_mentions()))
