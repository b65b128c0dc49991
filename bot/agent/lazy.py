"""The AutoGen agent, imported beside the start: the bot is ready a second sooner, and a first mention waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.agent.settings import ModelSettings
from bot.collector import settling
from bot.model import Json, Request
from bot.ports import TurnTools

if TYPE_CHECKING:
    from bot.agent.autogen import AutoGenAgent


class LazyAgent:
    """The Agent port; `load` may be called early and by several at once."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._agent: AutoGenAgent | None = None
        self._loading = asyncio.Lock()  # two first turns import and connect once

    async def load(self) -> AutoGenAgent:
        """The agent, imported in a thread the first time."""
        async with self._loading:
            if self._agent is None:
                self._agent = await asyncio.to_thread(_make, self._settings)
            return self._agent

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        """See bot.ports.Agent."""
        agent = await self.load()
        return await agent.answer(request, memory, tools)

    async def aclose(self) -> None:
        """Close the connection to the model server."""
        if self._agent is not None:
            await self._agent.aclose()


def _make(settings: ModelSettings) -> AutoGenAgent:
    with settling():
        from bot.agent.autogen import AutoGenAgent

    return AutoGenAgent(settings)
