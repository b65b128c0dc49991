"""From a mention to the first sign and to the final post, with one cell and a model that answers at once.

The bot's own share: the platform and the model are loopback servers in this process, so what they cost is counted too.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.discord.server import DiscordStore, discord_platform
from adapters.slack.server import SlackStore, slack
from bot.app import App
from bot.folder import container_instance
from bot.gateway import make_core
from bot.sandbox_setup import make_engine
from bot.settings import Settings
from tests.benchmarks.timing import summary
from tests.doubles.discord_bot import config as discord_config
from tests.doubles.discord_people import MENTION as DISCORD_MENTION
from tests.doubles.discord_people import People as DiscordPeople
from tests.doubles.discord_server import discord_server
from tests.doubles.model_server import model_server, python
from tests.doubles.slack_bot import config, quick
from tests.doubles.slack_people import MENTION, People
from tests.doubles.slack_server import slack_server

MENTIONS = 40
PAUSE_SECONDS = 1.0  # for the pool to have a sandbox ready again: people do not mention without end
ASKED = "what is 6 * 7?"


@dataclass(frozen=True)
class Chat:
    """A platform with a bot and people in it."""

    say: Callable[[], Awaitable[str]]
    signed: Callable[[str], Awaitable[Any]]
    answered: Callable[[str], Awaitable[Any]]
    acks: Callable[[], list[float]]


@asynccontextmanager
async def in_slack(app: App) -> AsyncIterator[Chat]:
    """Milliseconds until Slack has its acknowledgement are those of deliveries."""
    async with slack_server() as server:
        store = SlackStore(artifacts=app.parts.artifacts, people=app.parts.people)
        connected = await app.enter(slack(config(server.api.url), store, quick))
        await app.serve({"slack": connected.platform})
        people = People(server)
        async with connected.serving(make_core(app.parts)):
            yield Chat(
                say=lambda: people.say(f"{MENTION} {ASKED}", wait=False),
                signed=lambda ts: server.until(lambda: server.api.reactions["C1", ts]),
                answered=lambda ts: people.sees(ts, "It is 42."),
                acks=lambda: server.ack_seconds,
            )


@asynccontextmanager
async def in_discord(app: App) -> AsyncIterator[Chat]:
    """What Discord waits for is a command's acknowledgement: one is given with each mention."""
    async with discord_server() as server:
        server.limited = False
        store = DiscordStore(artifacts=app.parts.artifacts, people=app.parts.people, memos=app.parts.memos)
        connected = await app.enter(discord_platform(discord_config(server), store, app.parts.commands))
        await app.serve({"discord": connected.platform})
        people = DiscordPeople(server)
        acks: list[float] = []

        async def answered(message: str) -> None:
            await people.sees(message, "It is 42.")
            acks.append((await people.slash("sandbox status", user="bob")).ack_seconds or 0.0)

        async with connected.serving(make_core(app.parts)):
            yield Chat(
                say=lambda: people.say(f"{DISCORD_MENTION} {ASKED}"),
                signed=lambda message: server.until(lambda: people.reactions(message)),
                answered=answered,
                acks=lambda: acks,
            )


async def measure_mentions() -> dict[str, Any]:
    """Milliseconds, by platform and stage."""
    found: dict[str, Any] = {}
    for name, chat_in in (("Slack", in_slack), ("Discord", in_discord)):
        # a loop of its own for each: DBOS ends its loop's executor with itself
        figures = await asyncio.to_thread(asyncio.run, _measure(chat_in))
        found |= {f"{name}: {stage}": values for stage, values in figures.items()}
    return found


async def _measure(chat_in: Callable[[App], AbstractAsyncContextManager[Chat]]) -> dict[str, Any]:
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
        async with App(settings) as app, chat_in(app) as chat:
            figures = await _mentions(chat)
        await _remove_containers(settings)
        return figures


async def _remove_containers(settings: Settings) -> None:
    """A bot that stops leaves them for its next start; here there is none."""
    engine = make_engine(settings, instance=container_instance(settings.folder))
    for container in await engine.containers():
        await engine.remove(container.container_id)
    await engine.aclose()


async def _mentions(chat: Chat) -> dict[str, Any]:
    await chat.answered(await chat.say())
    signs: list[float] = []
    posts: list[float] = []
    for _ in range(MENTIONS):
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.monotonic()
        message = await chat.say()
        await chat.signed(message)
        signs.append((time.monotonic() - began) * 1000)
        await chat.answered(message)
        posts.append((time.monotonic() - began) * 1000)
    return {
        "mention to first sign": summary(signs),
        "mention to final post": summary(posts),
        "acknowledgement": summary([seconds * 1000 for seconds in chat.acks()]),
    }


if __name__ == "__main__":
    print(asyncio.run(measure_mentions()))
