"""The agent: AutoGen's AssistantAgent with two tools over the thread's sandbox.

AutoGen 0.7.5 is in maintenance; its defects are worked around here: a tool that lets an exception of any kind out
hangs the stream (so ours lets none out), one tool iteration by default, raw output at the limit (so we reflect),
tool calls at once (so cells take turns), a context without bound (so BoundedContext).
"""

from __future__ import annotations

from dataclasses import replace

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient

from bot.agent.client import model_client
from bot.agent.context import BoundedContext
from bot.agent.durable import DurableModelClient
from bot.agent.prompts import request_text, system_message
from bot.agent.settings import ModelSettings
from bot.agent.tools import CellTools
from bot.agent.words import TurnWords
from bot.errors import BotError
from bot.model import Json, Request
from bot.ports import TurnTools


class AutoGenAgent:
    """The Agent port on AutoGen. A model's client serves all turns; everything else is made anew for each."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._clients: dict[str, ChatCompletionClient] = {}

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        """See bot.ports.Agent."""
        settings = self._settings
        context = BoundedContext(settings.context_tokens)
        text = request_text(request)
        client = DurableModelClient(
            self._client_of(request.model or settings.model),
            tools,
            TurnWords(context, text, request.images, sees=settings.vision),
            max_tokens=settings.turn_tokens,
            timeout=settings.timeout_seconds,
        )
        cells = CellTools(tools.cells, tools.stop)
        agent = AssistantAgent(
            "threadbox",
            client,
            tools=[*cells.tools()] if settings.tools else None,
            model_context=context,
            system_message=system_message(settings.network, request.prompt),
            reflect_on_tool_use=True,
            max_tool_iterations=settings.turn_rounds,
        )
        if memory is not None:
            await agent.load_state(memory)
        try:
            await agent.run(task=text)
        except BotError as error:
            ended = cells.failure or error
            if not isinstance(ended, BotError):
                raise ended from error
            ended.memory = await _memory(agent, context)
            raise ended from error
        finally:
            await cells.end()
            await agent.close()
        return await _memory(agent, context)

    async def aclose(self) -> None:
        """Close the connections to the model server."""
        for client in self._clients.values():
            await client.close()

    def _client_of(self, model: str) -> ChatCompletionClient:
        """One for each model; which there are is the operator's list."""
        if model not in self._clients:
            self._clients[model] = model_client(replace(self._settings, model=model))
        return self._clients[model]


async def _memory(agent: AssistantAgent, context: BoundedContext) -> Json:
    await context.trim()
    return dict(await agent.save_state())
