"""What Discord's description does not say of a request, and what this project asks of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]
Files = Sequence[tuple[str, bytes]]

FILE_BYTES = 10 << 20
REQUEST_BYTES = 25 << 20
COMPONENTS_V2 = 1 << 15
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]+")
_POST = re.compile(r"/channels/\d+/messages")
_EDIT = re.compile(r"/channels/\d+/messages/\d+|/webhooks/\d+/[^/]+/messages/[^/]+")
_FOLLOWUP = re.compile(r"/webhooks/\d+/[^/]+")
_CALLBACK = re.compile(r"/interactions/\d+/[^/]+/callback")
_THREAD = re.compile(r"/channels/\d+(/messages/\d+)?/threads")
_COMMANDS = re.compile(r"/applications/\d+(/guilds/\d+)?/commands")


def limits(method: str, path: str, body: Any, files: Files, *, file_bytes: int = FILE_BYTES) -> list[str]:
    """What is over a limit or against the rules of the house."""
    found = list(_of_files(files, file_bytes))
    if method == "POST" and _POST.fullmatch(path):
        found += [*_of_nonce(body), *_of_message(body, files, new=True)]
    elif method == "POST" and _FOLLOWUP.fullmatch(path):
        found += _of_message(body, files, new=True)
    elif method == "PATCH" and _EDIT.fullmatch(path):
        found += _of_message(body, files, new=False)
    elif method == "POST" and _CALLBACK.fullmatch(path):
        found += _of_callback(body, files)
    elif method == "POST" and _THREAD.fullmatch(path) and not 1 <= len(body.get("name") or "") <= 100:
        found.append("a thread's name has 1 to 100 characters")
    elif method == "PUT" and _COMMANDS.fullmatch(path):
        found += _of_commands(body)
    return found


def _of_files(files: Files, most: int) -> Iterator[str]:
    for name, data in files:
        if len(data) > most:
            yield f"the file {name} has {len(data)} bytes, {most} are allowed"
        if not _FILE_NAME.fullmatch(name):
            yield f"the file name {name!r} would be changed by Discord"
    if sum(len(data) for _, data in files) > REQUEST_BYTES:
        yield f"the request is over {REQUEST_BYTES} bytes"


def _of_nonce(body: Json) -> Iterator[str]:
    if not body.get("nonce") or len(str(body["nonce"])) > 25:
        yield "a new message has a nonce of 1 to 25 characters"
    if body.get("enforce_nonce") is not True:
        yield "enforce_nonce is not set"


def _of_message(body: Json, files: Files, *, new: bool) -> Iterator[str]:
    content = body.get("content") or ""
    if len(content) > 2000:
        yield f"the content has {len(content)} characters, 2000 are allowed"
    parts = ("components", "embeds", "sticker_ids", "poll", "attachments")
    if new and not content.strip() and not files and not any(body.get(part) for part in parts):
        yield "the message is empty"
    if len(body["attachments"] if body.get("attachments") is not None else files) > 10:
        yield "a message has at most 10 files"
    yield from _of_mentions(body, needed=bool(content) or (new and bool(body.get("components"))))
    yield from _of_components(body)


def _of_mentions(body: Json, *, needed: bool) -> Iterator[str]:
    """A message may ping only whom it names by id: what a program prints is not ours."""
    allowed = body.get("allowed_mentions")
    if allowed is None:
        if needed:
            yield "allowed_mentions is missing"
    elif allowed.get("parse") != []:
        yield f"allowed_mentions parses {allowed.get('parse')}"


def _of_components(body: Json) -> Iterator[str]:
    components = body.get("components") or []
    ids = [one["custom_id"] for one in walk(components) if one.get("custom_id")]
    if len(ids) != len(set(ids)):
        yield f"a custom_id is there twice: {sorted(ids)}"
    yield from (f"the custom_id {one} is longer than 100 characters" for one in ids if len(one) > 100)
    rows = [one for one in walk(components) if one.get("type") == 1]
    yield from ("a row has more than 5 buttons" for row in rows if len(row["components"]) > 5)
    if not (body.get("flags") or 0) & COMPONENTS_V2:
        if len(rows) > 5:
            yield "a message has more than 5 rows"
        return
    if body.get("content") or body.get("embeds"):
        yield "content and embeds do not go with the new components"
    if sum(len(one.get("content", "")) for one in walk(components) if one.get("type") == 10) > 4000:
        yield "the text displays have more than 4000 characters"


def walk(components: list[Json]) -> Iterator[Json]:
    """Components and those inside them."""
    for one in components:
        yield one
        inside = [*(one.get("components") or []), one.get("component"), one.get("accessory")]
        yield from walk([inner for inner in inside if inner])


def _of_callback(body: Json, files: Files) -> Iterator[str]:
    data = body.get("data") or {}
    if body.get("type") in (4, 7):
        yield from _of_message(data, files, new=body["type"] == 4)
    elif body.get("type") == 8 and len(data.get("choices") or []) > 25:
        yield "more than 25 choices"
    elif body.get("type") == 9:
        if len(data.get("title") or "") > 45:
            yield "a modal's title has at most 45 characters"
        if len(data.get("components") or []) > 5:
            yield "a modal has at most 5 components"
        yield from _of_components(data)


def _of_commands(body: list[Json]) -> Iterator[str]:
    for command in body:
        if (length := _command_text(command)) > 8000:
            yield f"the command {command['name']} has {length} characters, 8000 are allowed"


def _command_text(part: Json) -> int:
    own = len(part.get("name") or "") + len(part.get("description") or "") + len(str(part.get("value", "")))
    return own + sum(_command_text(inner) for inner in [*(part.get("options") or []), *(part.get("choices") or [])])
