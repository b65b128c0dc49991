"""A client of any OpenAI-compatible server, whether AutoGen knows the model's name or not."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import openai
from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage, ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

from bot.agent.settings import ModelSettings, model_address

LIMIT, OPENAI_LIMIT = "max_tokens", "max_completion_tokens"
"""The bound on an answer: as most servers know it, and as OpenAI asks for it since its models think.

https://platform.openai.com/docs/api-reference/chat/create
"""
MODEL_RETRIES = 2  # the client's own, for refused connections, 429 and 5xx


class ModelClient(OpenAIChatCompletionClient):
    """AutoGen's, whose messages and tools reach the wire as AutoGen has made them.

    Given as parameters the SDK holds each of them against every type that a request can have, for names that are
    spelled otherwise on the wire, of which there are none: 0.2 to 0.4 ms a message of a conversation, on the event
    loop. `extra_body` is the SDK's own way for what is not to be looked at.
    """

    async def create_stream(
        self, messages: Sequence[LLMMessage], **arguments: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        """As AutoGen's; a gateway to a model that thinks may ask for OpenAI's name of the bound, and is heeded."""
        had = LIMIT in self._create_args
        try:
            async for item in super().create_stream(messages, **arguments):
                yield item
        except openai.BadRequestError as error:
            if not (had and _asks_for_openais_limit(str(error))):
                raise
            if LIMIT in self._create_args:  # else another turn's call has learned it meanwhile
                self._create_args[OPENAI_LIMIT] = self._create_args.pop(LIMIT)
            async for item in super().create_stream(messages, **arguments):
                yield item

    def _process_create_args(self, *args: Any, **kwargs: Any) -> Any:
        made = super()._process_create_args(*args, **kwargs)
        body: dict[str, Any] = {"messages": made.messages}
        if made.tools:
            body["tools"] = made.tools
        return dataclasses.replace(made, messages=[], tools=[], create_args={**made.create_args, "extra_body": body})


def _asks_for_openais_limit(refusal: str) -> bool:
    """Whether it is of the name, and not of a number that is too large."""
    return OPENAI_LIMIT in refusal and "supported" in refusal


def model_client(settings: ModelSettings) -> ChatCompletionClient:
    """The client of one model, for all turns."""
    info = ModelInfo(
        vision=settings.vision,
        function_calling=settings.tools,
        json_output=False,
        structured_output=False,
        multiple_system_messages=True,
        family=ModelFamily.UNKNOWN,
    )
    arguments: dict[str, Any] = {
        "model": settings.model,
        "api_key": settings.api_key,
        "timeout": settings.timeout_seconds,
        "max_retries": MODEL_RETRIES,
        OPENAI_LIMIT if settings.base_url is None else LIMIT: settings.max_output_tokens,
        "include_usage": True,  # without it a stream reports no tokens
        "model_info": info,
    }
    if settings.base_url is not None:
        arguments["base_url"], arguments["default_query"] = model_address(settings.base_url)
    if settings.temperature is not None:
        arguments["temperature"] = settings.temperature
    return ModelClient(**arguments)
