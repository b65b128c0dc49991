"""What the model may call: Python and bash in the thread's sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import BaseTool, ToolSchema
from pydantic import BaseModel, Field

from bot.agent.prompts import tool_result
from bot.errors import BotError, Stopped
from bot.ports import Cells
from bot.stops import Stop
from sandbox import SandboxError


class PythonCode(BaseModel):
    """The arguments of `python`."""

    code: str = Field(description="Python code; print what you want to know")


class ShellCommand(BaseModel):
    """The arguments of `shell`."""

    command: str = Field(description="bash commands")


class CellTool(BaseTool[Any, Any]):
    """A tool whose arguments are a model of ours.

    AutoGen's FunctionTool makes one anew for each turn, and its schema for each call of the model: a tenth of what we
    do in a turn.
    """

    _schemas: dict[str, ToolSchema] = {}  # noqa: RUF012 - one for all turns: it is the same

    def __init__(
        self, name: str, description: str, args: type[BaseModel], work: Callable[[Any], Awaitable[str]]
    ) -> None:
        super().__init__(args, str, name, description)
        self._work = work

    @property
    def schema(self) -> ToolSchema:
        """What the model is told of it."""
        if self.name not in self._schemas:
            self._schemas[self.name] = super().schema
        return self._schemas[self.name]

    async def run(self, args: Any, cancellation_token: CancellationToken) -> str:
        """What the tool returns; it heeds the turn's Stop, not AutoGen's token."""
        return await self._work(args)


class CellTools:
    """The tools `python` and `shell`. Neither ever raises; what ends the turn is kept in `failure`."""

    def __init__(self, cells: Cells, stop: Stop) -> None:
        self._cells = cells
        self._stop = stop
        self._running: set[asyncio.Task[Any]] = set()
        self._is_over = False
        self.failure: Exception | None = None

    def tools(self) -> list[CellTool]:
        """For AssistantAgent."""
        return [
            CellTool(
                "python",
                "Run Python code in the thread's interpreter and return what it prints. State is kept.",
                PythonCode,
                lambda args: self._run("python", args.code),
            ),
            CellTool(
                "shell",
                "Run bash commands in the thread's workspace; returns their output.",
                ShellCommand,
                lambda args: self._run("bash", args.command),
            ),
        ]

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
