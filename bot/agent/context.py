"""The agent's memory of a thread: bounded by tokens, and never with a call parted from its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autogen_core.model_context import ChatCompletionContext
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    UserMessage,
)
from pydantic import BaseModel

CHARS_PER_TOKEN = 3.5  # a cautious guess; the real count needs the model's own tokenizer


class _Config(BaseModel):
    max_tokens: int


class BoundedContext(ChatCompletionContext):
    """Keeps what was asked last and the newest groups that fit. A group is a message, or a call with its results."""

    component_config_schema = _Config
    component_provider_override = "bot.agent.context.BoundedContext"

    def __init__(self, max_tokens: int) -> None:
        super().__init__()
        self._max_tokens = max_tokens

    async def get_messages(self) -> list[LLMMessage]:
        """What was asked last and the newest messages that fit, oldest first; the newest group always."""
        return fitting(self._messages, self._max_tokens)

    async def trim(self) -> None:
        """Mend what a stopped turn left unanswered, and forget what no longer fits."""
        self._messages = fitting(mended(self._messages), self._max_tokens)

    def _to_config(self) -> _Config:
        return _Config(max_tokens=self._max_tokens)

    @classmethod
    def _from_config(cls, config: _Config) -> BoundedContext:
        return cls(config.max_tokens)


def groups(messages: Sequence[LLMMessage]) -> list[list[LLMMessage]]:
    """Messages in groups that stay together."""
    found: list[list[LLMMessage]] = []
    for message in messages:
        if isinstance(message, FunctionExecutionResultMessage) and found:
            found[-1].append(message)
        else:
            found.append([message])
    return found


def fitting(messages: Sequence[LLMMessage], max_tokens: int) -> list[LLMMessage]:
    """The newest groups within the bound, and what was asked last.

    A turn of many calls loses its first calls, not what people said: what is left out then stands between.
    """
    whole = groups(messages)
    asked = _asked(whole, max_tokens)
    left = max_tokens - sum(_cost(whole[at]) for at in asked)
    first = newest = len(whole) - 1  # of those kept without a gap
    for at in range(newest, -1, -1):
        cost = 0 if at in asked else _cost(whole[at])  # what was asked is counted already
        if cost > left and at != newest:
            break
        first, left = at, left - cost
    # the oldest kept must not be an answer to something that is gone
    while first < min(asked, default=-1) and not isinstance(whole[first][0], UserMessage):
        first += 1
    kept = [group for at, group in enumerate(whole) if at >= first or at in asked]
    return [message for group in kept for message in group]


def _asked(whole: Sequence[Sequence[LLMMessage]], max_tokens: int) -> set[int]:
    """Where the words of people since the last answer stand, as far as they fit; the last always."""
    asked: set[int] = set()
    left = float(max_tokens)
    for at in range(len(whole) - 1, -1, -1):
        head = whole[at][0]
        if isinstance(head, UserMessage):
            left -= _cost(whole[at])
            if asked and left < 0:
                break
            asked.add(at)
        elif asked and isinstance(head, AssistantMessage) and isinstance(head.content, str):
            break
    return asked


def _cost(group: Sequence[LLMMessage]) -> float:
    return sum(tokens(message) for message in group)


def tokens(message: LLMMessage) -> float:
    """A guess at a message's tokens."""
    content: Any = message.content
    text = content if isinstance(content, str) else "".join(_words(item) for item in content)
    return len(text) / CHARS_PER_TOKEN + 4


def _words(item: Any) -> str:
    return str(getattr(item, "content", "") or getattr(item, "arguments", "") or item)


def mended(messages: Sequence[LLMMessage]) -> list[LLMMessage]:
    """Messages with a result for every call: a turn that was stopped may have left some open."""
    whole: list[LLMMessage] = []
    for group in groups(messages):
        whole += group
        head = group[0]
        if not isinstance(head, AssistantMessage) or isinstance(head.content, str):
            continue
        answered = {result.call_id for message in group[1:] for result in _results(message)}
        missing = [call for call in head.content if call.id not in answered]
        if missing:
            stubs = [
                FunctionExecutionResult(
                    content="Stopped before it ran.", name=call.name, call_id=call.id, is_error=True
                )
                for call in missing
            ]
            whole.append(FunctionExecutionResultMessage(content=stubs))
    return whole


def _results(message: LLMMessage) -> list[FunctionExecutionResult]:
    return message.content if isinstance(message, FunctionExecutionResultMessage) else []
