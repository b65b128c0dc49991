"""Vercel's emulate behind tests/emulate/launch.mjs: a Slack that we did not write. People act with tokens of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from playwright._impl._driver import compute_driver_executable

Json = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "emulate"
BOT_USER = "UBOT"


def is_installed() -> bool:
    return (FOLDER / "node_modules" / "emulate").is_dir()


class EmulatedSlack:
    """One workspace."""

    def __init__(self, url: str, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._process = process
        self._session = session

    async def subscribe(self, url: str) -> None:
        """Have events sent there."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{url}\n".encode())
        await self._process.stdin.drain()

    async def call(self, method: str, token: str = "xoxp-ada", **fields: Any) -> Json:
        """A call of the Web API."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self._session.post(f"{self.url}/api/{method}", json=fields, headers=headers) as response:
            answer: Json = await response.json()
        assert answer["ok"], (method, answer)
        return answer

    async def channel(self) -> str:
        """Where everybody is, the bot too."""
        found = await self.call("conversations.list")
        channel = next(one["id"] for one in found["channels"] if one["name"] == "work")
        await self.call("conversations.join", "xoxb-test-token", channel=channel)
        return str(channel)

    async def say(self, channel: str, text: str, *, token: str = "xoxp-ada", thread: str | None = None) -> str:
        """A message of a person's; its ts."""
        fields = {"thread_ts": thread} if thread else {}
        return str((await self.call("chat.postMessage", token, channel=channel, text=text, **fields))["ts"])

    async def share(self, channel: str, name: str, data: bytes, words: str) -> str:
        """A file that Ada posts with some words; the ts of its message."""
        place = await self.call("files.getUploadURLExternal", filename=name, length=len(data))
        async with self._session.post(place["upload_url"], data=data) as response:
            assert response.status == 200
        await self.call(
            "files.completeUploadExternal",
            files=[{"id": place["file_id"], "title": name}],
            channel_id=channel,
            initial_comment=words,
        )
        found = await self.call("conversations.history", channel=channel, limit=1)
        return str(found["messages"][0]["ts"])

    async def thread(self, channel: str, ts: str) -> list[Json]:
        """A thread's messages."""
        found = await self.call("conversations.replies", "xoxb-test-token", channel=channel, ts=ts, limit=200)
        return list(found["messages"])

    async def shows(self, channel: str, ts: str, text: str) -> list[Json]:
        """A thread once it shows `text`."""
        messages: list[Json] = []
        try:
            async with asyncio.timeout(30):
                while text not in str(messages := await self.thread(channel, ts)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{text!r} never came: {messages}") from None
        return messages

    async def reacted(self, channel: str, ts: str, emoji: str) -> None:
        """Return once a message has a reaction."""
        async with asyncio.timeout(30):
            while emoji not in str(await self.call("reactions.get", "xoxb-test-token", channel=channel, timestamp=ts)):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def emulated_slack() -> AsyncIterator[EmulatedSlack]:
    """A running one, on the Node that Playwright brings."""
    process = await asyncio.create_subprocess_exec(
        compute_driver_executable()[0],
        "launch.mjs",
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(20):
                line = await process.stdout.readline()
            yield EmulatedSlack(json.loads(line)["url"], process, session)
    finally:
        process.stdin.close()
        await process.wait()
