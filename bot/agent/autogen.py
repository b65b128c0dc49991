"""The agent: AutoGen's AssistantAgent with two tools over the thread's sandbox.

AutoGen 0.7.5 is in maintenance; its defects are worked around here: a tool that lets an exception of any kind out
hangs the stream (so ours lets none out), one tool iteration by default, raw output at the limit (so we reflect),
tool calls at once (so cells take turns), a context without bound (so BoundedContext).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient
from autogen_core.tools import FunctionTool

from bot.agent.client import model_client
from bot.agent.context import BoundedContext
from bot.agent.durable import DurableModelClient
from bot.agent.prompts import request_text, system_message, tool_result
from bot.agent.settings import ModelSettings
from bot.agent.words import TurnWords
from bot.errors import BotError, Stopped
from bot.model import Json, Request
from bot.ports import Cells, TurnTools
from bot.stops import Stop
from sandbox import SandboxError


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


class CellTools:
    """The tools `python` and `shell`. Neither ever raises; what ends the turn is kept in `failure`."""

    def __init__(self, cells: Cells, stop: Stop) -> None:
        self._cells = cells
        self._stop = stop
        self._running: set[asyncio.Task[Any]] = set()
        self._is_over = False
        self.failure: Exception | None = None

    def tools(self) -> list[FunctionTool]:
        """For AssistantAgent."""
        return [
            FunctionTool(
                self.python,
                name="python",
                description="Run Python code in the thread's interpreter and return what it prints. State is kept.",
            ),
            FunctionTool(
                self.shell,
                name="shell",
                description="Run bash commands in the thread's workspace; returns their output.",
            ),
        ]

    async def python(self, code: Annotated[str, "Python code; print what you want to know"]) -> str:
        """Run a cell."""
        return await self._run("python", code)

    async def shell(self, command: Annotated[str, "bash commands"]) -> str:
        """Run commands."""
        return await self._run("bash", command)

    async def end(self) -> None:
        """Cancel what runs: AutoGen's tasks of a turn that is cancelled go on by themselves."""
        self._is_over = True  # a task that has not begun yet does not
        running = [task for task in self._running if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, language: str, code: str) -> str:
        if self._stop.is_set or self._is_over:
            return str(Stopped())
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._running.add(task)
        try:
            return tool_result(await self._cells.run(language, code))
        except BotError as error:
            self.failure = error
            self._stop.set()
            return str(error)
        except SandboxError as error:
            return f"The sandbox failed: {error}"
        except Exception as error:  # noqa: BLE001 - it is the turn's: AutoGen would tell the model that the code said so
            self.failure = error
            self._stop.set()
            return str(Stopped())
        finally:
            self._running.discard(task)
