"""A model client whose every call is a step: streamed to the thread as it comes, recorded when it is whole.

Failures are recorded as values and raised outside the step, each with words for the thread.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

import openai
import structlog
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage, ModelInfo, RequestUsage
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from bot.agent.words import TurnWords
from bot.errors import BudgetSpent, ModelFailed, Stopped
from bot.model import Json, Said, TextDelta, TextDone, Used
from bot.ports import TurnTools
from bot.text import valid_text

log = structlog.get_logger()

SAME_CALLS = 3  # the same code so often in a row ends a turn
BLANK_CHARS = 400  # so much white space in a row is a model that runs away
TEXT_CHARS = 60_000  # of one answer

# a reply that may turn out to be a call is not shown while it grows
_CALL_BEGINS = re.compile(r"\s*(?:`{1,3}(?:j|js|jso|json)?\s*)?(?:<tool_call>\s*)?(?:\{|$)|\s*<")
_FENCED_CALL = re.compile(
    r"^\s*(?:```(?:json)?\s*)?(?:<tool_call>\s*)?(\{.*\})\s*(?:</tool_call>\s*)?(?:```)?\s*$", re.S
)


class DurableModelClient(ChatCompletionClient):
    """Wraps another client for one turn."""

    def __init__(
        self, inner: ChatCompletionClient, tools: TurnTools, words: TurnWords, *, max_tokens: int, timeout: float
    ) -> None:
        self._inner = inner
        self._words = words
        self._steer = tools.steer
        self._steps = tools.steps
        self._emit = tools.emit
        self._stop = tools.stop
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._count = 0
        self._last_call = ""
        self._in_a_row = 0
        self._usage = RequestUsage(prompt_tokens=0, completion_tokens=0)

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """The model's reply. Raises Stopped, BudgetSpent, ModelFailed."""
        if self._stop.is_set:
            raise Stopped
        if self._usage.prompt_tokens + self._usage.completion_tokens > self._max_tokens:
            raise BudgetSpent(f"This request has used its {self._max_tokens:,} tokens.")
        if self._count:  # what came before the first call is an own turn, what comes during the run joins it
            messages = [*messages, *await self._words.take_up(await self._steer())]
        messages = self._words.with_images(messages)
        self._count += 1
        names = {tool.name if isinstance(tool, Tool) else tool["name"] for tool in tools}
        stream = self._inner.create_stream(
            messages, tools=tools, tool_choice=tool_choice, extra_create_args=extra_create_args or {}
        )
        recorded = await self._steps.step(f"model-{self._count}", lambda: self._call(stream))
        return self._checked(_raised(recorded), names)

    async def _call(self, stream: AsyncGenerator[str | CreateResult, None]) -> Json:
        """One call as plain data, whatever came of it."""
        cut: asyncio.Future[CreateResult] = asyncio.get_running_loop().create_future()
        call = asyncio.ensure_future(self._read(stream, cut))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            async with asyncio.timeout(self._timeout):
                waiting: set[asyncio.Future[Any]] = {call, stopping, cut}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if cut.done() or call.done():
                return {"result": (cut if cut.done() else call).result().model_dump(mode="json")}
            return {"stopped": True}
        except TimeoutError:
            return {"error": f"The model did not answer within {self._timeout:g} s."}
        except Exception as error:  # noqa: BLE001 - whatever a model server does is told to the thread, as a value
            log.warning("model.failed", error=type(error).__name__, status=getattr(error, "status_code", None))
            log.debug("model.failed", detail=str(error)[:300])  # servers quote keys and prompts
            return {"error": model_error_words(error)}
        finally:
            stopping.cancel()
            call.cancel()
            await asyncio.gather(call, stopping, return_exceptions=True)

    async def _read(
        self, stream: AsyncGenerator[str | CreateResult, None], cut: asyncio.Future[CreateResult]
    ) -> CreateResult:
        """Read to the end. A reply that runs away is put into `cut`: the caller cancels the reading then, which
        unwinds the client's generators from the inside; leaving the loop would strand them."""
        text = ""
        shown = 0
        async for item in stream:
            if isinstance(item, CreateResult):
                return _whole(item)
            text += valid_text(item)
            if not _CALL_BEGINS.match(text):
                self._emit(TextDelta(text=text[shown:]))
                shown = len(text)
            if not cut.done() and _runs_away(text):
                cut.set_result(_cut_off(text))
        raise ModelFailed(_HALF)

    def _checked(self, result: CreateResult, tools: set[str]) -> CreateResult:
        self._usage.prompt_tokens += result.usage.prompt_tokens
        self._usage.completion_tokens += result.usage.completion_tokens
        self._emit(Used(tokens=result.usage.prompt_tokens + result.usage.completion_tokens))
        if isinstance(result.content, str) and tools:
            call = call_in_text(result.content, tools)
            if call is not None:
                result = result.model_copy(update={"content": [call], "finish_reason": "function_calls"})
        if isinstance(result.content, str):
            words = result.content.strip() or "(The model gave an empty answer.)"
            self._emit(TextDone(text=words))
            if result.finish_reason == "length":
                self._emit(Said(text=_CUT, level="warning"))
            return result.model_copy(update={"content": words})
        if result.thought:
            self._emit(TextDone(text=result.thought))
        if any([self._is_same(called) for called in result.content]):
            words = f"I stopped: the model asked for the same code {SAME_CALLS} times. What it showed is above."
            self._emit(TextDone(text=words))
            return result.model_copy(update={"content": words, "thought": None})
        return result

    def _is_same(self, called: FunctionCall) -> bool:
        """Whether nothing else was called for so long: tests that are run again after each change are no loop."""
        call = f"{called.name}({called.arguments})"
        self._in_a_row = self._in_a_row + 1 if call == self._last_call else 1
        self._last_call = call
        return self._in_a_row >= SAME_CALLS

    async def create_stream(
        self, messages: Sequence[LLMMessage], **arguments: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        """The whole reply at once: the pieces have gone to the thread already."""
        yield await self.create(messages, **arguments)

    async def close(self) -> None:
        """Nothing: the inner client is shared by all turns."""

    def actual_usage(self) -> RequestUsage:
        """Of this turn."""
        return self._usage

    def total_usage(self) -> RequestUsage:
        """Of this turn."""
        return self._usage

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """Unused: BoundedContext counts."""
        raise NotImplementedError

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """Unused: BoundedContext counts."""
        raise NotImplementedError

    @property
    def capabilities(self) -> ModelInfo:
        """See model_info."""
        return self._inner.model_info

    @property
    def model_info(self) -> ModelInfo:
        """What the model can do."""
        return self._inner.model_info


def _runs_away(text: str) -> bool:
    return len(text) > TEXT_CHARS or (len(text) > BLANK_CHARS and not text[-BLANK_CHARS:].strip())


def _whole(result: CreateResult) -> CreateResult:
    """Raises ModelFailed for a stream that ended without saying so, which AutoGen takes for a reply.

    A server that has words of its own for the end, or tells the usage with every piece, is known by its usage.
    """
    if result.finish_reason == "unknown" and not result.usage.prompt_tokens + result.usage.completion_tokens:
        raise ModelFailed(_HALF if result.content else _UNREADABLE)
    return result


def _cut_off(text: str) -> CreateResult:
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    return CreateResult(content=text.strip(), finish_reason="length", usage=usage, cached=False)


def _raised(recorded: Json) -> CreateResult:
    if recorded.get("stopped"):
        raise Stopped
    if "error" in recorded:
        raise ModelFailed(recorded["error"])
    result = CreateResult.model_validate(recorded["result"])
    thought = None if result.thought is None else valid_text(result.thought)
    if isinstance(result.content, str):
        return result.model_copy(update={"content": valid_text(result.content), "thought": thought})
    calls = [
        FunctionCall(id=call.id, name=valid_text(call.name), arguments=valid_text(call.arguments))
        for call in result.content
    ]
    return result.model_copy(update={"content": calls, "thought": thought})


def call_in_text(text: str, tools: set[str]) -> FunctionCall | None:
    """A tool call that a model wrote as text instead of making it."""
    match = _FENCED_CALL.match(text)
    if match is None:
        return None
    try:
        value = json.loads(match[1])
        name, arguments = value["name"], value.get("arguments", value.get("parameters"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if name not in tools or not isinstance(arguments, dict):
        return None
    return FunctionCall(id="written", name=name, arguments=json.dumps(arguments))


def model_error_words(error: BaseException) -> str:
    """A short, true sentence about a failure of the model server; never the key, never a stack."""
    match error:
        case openai.BadRequestError():
            return _refused(error)
        case openai.APIStatusError():
            return _STATUS_WORDS.get(error.status_code, f"The model server failed (status {error.status_code}).")
        case openai.APITimeoutError():
            return "The model server did not answer in time."
        case openai.APIConnectionError() if type(error.__cause__).__name__ in _BROKEN_OFF:
            return "The model server broke the connection off."
        case openai.APIConnectionError():
            return "The model server cannot be reached. An operator must check OPENAI_BASE_URL."
        case ModelFailed():
            return str(error)
        case _:
            return _UNREADABLE


def _refused(error: openai.BadRequestError) -> str:
    """Its reason is told by its code alone: what servers write beside it quotes keys and prompts."""
    codes = [str(value) for value in (error.code, error.type, error.param) if value]
    if _TOO_LONG.search(f"{error} {codes}"):
        return "The thread has grown too long for the model. A new thread begins anew."
    if any("model" in code for code in codes):
        return _NO_MODEL
    code = next((code for code in codes if _A_CODE.fullmatch(code)), "without a reason")
    return f"The model server refused the request ({code})."


_TOO_LONG = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)
_A_CODE = re.compile(r"[a-z][\w.-]{2,60}", re.IGNORECASE)
_NO_MODEL = "The model server does not know this model. An operator must check THREADBOX_MODEL."
_CUT = "The model's answer was cut off here, too long. An operator may raise THREADBOX_MODEL_MAX_OUTPUT_TOKENS."
_HALF = "The model server ended its reply in the middle."
_BROKEN_OFF = {"RemoteProtocolError", "ReadError", "WriteError"}  # by name: which httpx it has is the client's affair
_UNREADABLE = "The model server sent something that cannot be read."
_NO_KEY = "The model server did not accept the key. An operator must check OPENAI_API_KEY."
_STATUS_WORDS = {
    401: _NO_KEY,
    403: _NO_KEY,
    404: _NO_MODEL,
    429: "The model server is over its rate limit or its budget. Try again in a while.",
}
