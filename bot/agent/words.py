"""What a turn adds to the words of its request: messages that came during the run, and images."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from autogen_core import Image
from autogen_core.models import LLMMessage, UserMessage

from bot.agent.context import BoundedContext
from bot.agent.prompts import request_text
from bot.model import Request
from bot.pictures import image_type


class SealedImage(Image):
    """An image that is passed on as it came: somebody's file is not decoded in our process."""

    def __init__(self, data: bytes) -> None:  # Image's own decodes
        self._base64 = base64.b64encode(data).decode()
        self._uri = f"data:{image_type(data)};base64,{self._base64}"

    def to_base64(self) -> str:
        """The file."""
        return self._base64

    @property
    def data_uri(self) -> str:
        """The file with its type."""
        return self._uri


class TurnWords:
    """The agent's memory keeps what people said; images go to the model in this turn alone."""

    def __init__(self, context: BoundedContext, text: str, images: Sequence[bytes], *, sees: bool) -> None:
        self._context = context
        self._sees = sees
        self._images: dict[str, list[SealedImage]] = {}
        self._keep(text, images)

    async def take_up(self, requests: Sequence[Request]) -> list[LLMMessage]:
        """Requests as messages, kept in the agent's memory too."""
        messages: list[LLMMessage] = [UserMessage(content=request_text(one), source="user") for one in requests]
        for message in messages:
            await self._context.add_message(message)
        for request in requests:
            self._keep(request_text(request), request.images)
        return messages

    def with_images(self, messages: Sequence[LLMMessage]) -> Sequence[LLMMessage]:
        """The messages, with the images beside the request that they came with."""
        if not self._images:
            return messages
        return [
            UserMessage(content=[message.content, *self._images[message.content]], source=message.source)
            if isinstance(message, UserMessage) and isinstance(message.content, str) and message.content in self._images
            else message
            for message in messages
        ]

    def _keep(self, text: str, images: Sequence[bytes]) -> None:
        if images and self._sees:
            self._images[text] = [SealedImage(data) for data in images]
