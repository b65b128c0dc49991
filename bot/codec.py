"""Values of bot.model as plain JSON and back, for the database and the record of steps."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime

from bot.model import (
    Artifact,
    Attachment,
    Block,
    CellResult,
    Code,
    File,
    IncomingMessage,
    Json,
    Notice,
    Person,
    Picture,
    Printed,
    Quoted,
    Reply,
    Text,
    ThreadKey,
)

_PLAIN: dict[str, type[Text] | type[Code] | type[Printed] | type[Notice]] = {
    "text": Text,
    "code": Code,
    "printed": Printed,
    "notice": Notice,
}
_KEPT: dict[str, type[Picture] | type[File]] = {"picture": Picture, "file": File}
_NAMES = {kind: name for name, kind in {**_PLAIN, **_KEPT}.items()}


def reply_to_json(reply: Reply) -> Json:
    """A reply without its key, which the outbox keeps beside it."""
    return {
        "blocks": [{"kind": _NAMES[type(block)], **asdict(block)} for block in reply.blocks],
        "final": reply.final,
        "actions": list(reply.actions),
    }


def reply_from_json(turn_id: str, part: int, value: Json) -> Reply:
    """The reply that `reply_to_json` wrote."""
    blocks = tuple(_block(dict(item)) for item in value["blocks"])
    return Reply(turn_id=turn_id, part=part, blocks=blocks, final=value["final"], actions=tuple(value["actions"]))


def _block(value: Json) -> Block:
    kind = value.pop("kind")
    if kind in _KEPT:
        return _KEPT[kind](artifact=Artifact(**value["artifact"]))
    return _PLAIN[kind](**value)


def message_to_json(message: IncomingMessage) -> Json:
    """A message as plain JSON, without what its author is now."""
    value = {**asdict(message), "sent_at": message.sent_at.isoformat()}
    del value["author"]["groups"]
    return value


def message_from_json(value: Json) -> IncomingMessage:
    """The message that `message_to_json` wrote."""
    return IncomingMessage(
        key=ThreadKey(**value["key"]),
        message_id=value["message_id"],
        author=Person(**value["author"]),
        text=value["text"],
        sent_at=datetime.fromisoformat(value["sent_at"]),
        for_us=value["for_us"],
        attachments=tuple(Attachment(**item) for item in value["attachments"]),
        for_others=value.get("for_others", False),
        in_thread=value.get("in_thread", False),
    )


def quoted_to_json(quoted: Quoted) -> Json:
    """An earlier message as plain JSON."""
    return asdict(quoted)


def quoted_from_json(value: Json) -> Quoted:
    """The earlier message that `quoted_to_json` wrote."""
    attachments = tuple(Attachment(**item) for item in value["attachments"])
    return Quoted(speaker=value["speaker"], text=value["text"], attachments=attachments)


def cell_from_json(value: Json) -> CellResult:
    """The result that `asdict` made of a CellResult, of another version perhaps."""
    known = {field.name for field in fields(CellResult)}
    return CellResult(
        **{
            **{name: item for name, item in value.items() if name in known},
            "shown": tuple(Artifact(**item) for item in value["shown"]),
            "files": tuple(Artifact(**item) for item in value["files"]),
            "notes": tuple(value.get("notes", ())),
        }
    )
