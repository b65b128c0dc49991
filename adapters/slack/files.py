"""Files into a thread, each once: Slack's id of a file is kept before the file is shown."""

from __future__ import annotations

import json
from typing import Any

import structlog

from adapters.slack.calls import SlackCalls, SlackRefused
from bot.budget import Priority
from bot.model import Artifact, ThreadKey
from bot.store_ports import Artifacts
from bot.text import file_name, size_words

log = structlog.get_logger()

ALT_CHARS = 1_000
_BY_RULE = {"file_uploads_disabled", "file_type_not_allowed", "file_upload_size_restricted", "storage_limit_reached"}


class Files:
    """Uploads artifacts."""

    def __init__(self, calls: SlackCalls, artifacts: Artifacts) -> None:
        self._calls = calls
        self._artifacts = artifacts

    async def share(self, key: ThreadKey, artifact: Artifact) -> str:
        """Show a file in a thread if it is not there yet; words for the thread when that cannot be."""
        if artifact.size == 0:
            return f"{artifact.name} is empty; Slack takes no empty files."
        try:
            file_id = await self._artifacts.shown_as(artifact.id)
            if file_id is not None and await self._is_shared(file_id, key.channel):
                return ""
            if file_id is None:
                file_id = await self._upload(artifact)
            await self._calls.call(
                "files.completeUploadExternal",
                priority=Priority.FINAL,
                files=_json_list(file_id, artifact.name),
                channel_id=key.channel,
                thread_ts=key.thread,
            )
        except SlackRefused as error:
            if error.reason not in _BY_RULE:
                log.warning("slack.file_refused", reason=error.reason)
            return f"{artifact.name} ({size_words(artifact.size)}) could not be posted: Slack says {error.reason}."
        return ""

    async def _upload(self, artifact: Artifact) -> str:
        _, data = await self._artifacts.load(artifact.id)
        place = await self._calls.call(
            "files.getUploadURLExternal",
            priority=Priority.FINAL,
            filename=file_name(artifact.name),
            length=len(data),
            alt_txt=artifact.name[:ALT_CHARS],
        )
        await self._calls.upload(str(place["upload_url"]), data)
        file_id = str(place["file_id"])
        await self._artifacts.show_as(artifact.id, file_id)
        return file_id

    async def _is_shared(self, file_id: str, channel: str) -> bool:
        """Whether the file is in the channel: our answer may have been lost after Slack had shown it."""
        try:
            answer = await self._calls.call("files.info", priority=Priority.FINAL, file=file_id)
        except SlackRefused:
            return False
        shares: dict[str, Any] = (answer.get("file") or {}).get("shares") or {}
        places = {place for kind in shares.values() for place in kind}
        return channel in places or channel in ((answer.get("file") or {}).get("channels") or [])


def _json_list(file_id: str, title: str) -> str:
    return json.dumps([{"id": file_id, "title": title}])
