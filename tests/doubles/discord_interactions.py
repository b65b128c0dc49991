"""Interactions of the loopback Discord: what the bot answers to a command, a press or a form, and by when."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.discord_channels import Call
from tests.doubles.discord_guild import APPLICATION, BOT, ApiError, Guild
from tests.doubles.discord_messages import EPHEMERAL, LOADING, REPLY, Files, Messages, words

Json = dict[str, Any]

COMMAND, COMPONENT, AUTOCOMPLETE, FORM = 2, 3, 4, 5
MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
MAY_ANSWER = {
    COMMAND: {MESSAGE, DEFER, MODAL},
    COMPONENT: {MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    FORM: {MESSAGE, DEFER, DEFER_UPDATE, UPDATE},
}


@dataclass
class Interaction:
    """One thing that somebody did, and what came of it."""

    id: str
    token: str
    kind: int
    payload: Json
    channel_id: str
    user_id: str
    source: Json | None = None
    """The message that the button is on."""
    opened_by: Interaction | None = None
    """What brought up the form that this sends back."""
    sent: float = field(default_factory=time.monotonic)
    ack_seconds: float | None = None
    responses: list[Json] = field(default_factory=list)
    original: Json | None = None
    messages: list[Json] = field(default_factory=list)
    """What it shows, oldest first."""
    choices: list[Json] = field(default_factory=list)
    """What an autocomplete offers."""
    modal: Json | None = None

    @property
    def ephemeral(self) -> bool:
        """Whether only the person sees what it shows."""
        return bool(self.messages) and all(message["flags"] & EPHEMERAL for message in self.messages)

    @property
    def shown(self) -> str:
        """The text of the responses and follow-ups, in order."""
        return "\n".join([words(message) for message in self.messages] + [one["name"] for one in self.choices])


class Interactions:
    """The REST methods of interactions and of their webhooks."""

    def __init__(self, guild: Guild, messages: Messages) -> None:
        self.guild = guild
        self.messages = messages
        self.by_token: dict[str, Interaction] = {}
        self.ack_window: float | None = 3.0
        """Seconds until Discord has forgotten an interaction that nobody acknowledged; None: never."""
        self.token_seconds = 900.0

    def callback(self, call: Call) -> Json | None:
        interaction = self.by_token.get(call.ids["interaction_token"])
        if interaction is None or interaction.id != call.ids["interaction_id"]:
            raise ApiError(10062)
        seconds = time.monotonic() - interaction.sent
        if interaction.ack_seconds is not None:
            raise ApiError(40060)
        if self.ack_window is not None and seconds > self.ack_window:
            raise ApiError(10062)
        kind, data = call.body["type"], call.body.get("data") or {}
        wrong = kind in (DEFER_UPDATE, UPDATE) and interaction.source is None
        if kind not in MAY_ANSWER[interaction.kind] or wrong:
            raise ApiError(50035, detail=f"type: {kind} does not answer interaction type {interaction.kind}")
        self._answer(interaction, kind, data, call.files)
        interaction.ack_seconds = seconds
        interaction.responses.append(call.body)
        return self._told(interaction, kind) if call.query.get("with_response") in ("1", "true") else None

    def _answer(self, interaction: Interaction, kind: int, data: Json, files: Files) -> None:
        match kind:
            case 4:
                interaction.original = self._say(interaction, data, files)
            case 5:
                interaction.original = self._say(interaction, data, {}, loading=True)
            case 6:
                interaction.original = interaction.source
            case 7:
                assert interaction.source is not None
                self._change(interaction.source, data, files)
                interaction.original = interaction.source
            case 8:
                interaction.choices = data.get("choices") or []
            case 9:
                interaction.modal = data

    def _say(self, interaction: Interaction, data: Json, files: Files, *, loading: bool = False) -> Json:
        """A message in the channel, or one that only the person sees."""
        kind = 20 if interaction.kind == COMMAND else REPLY if interaction.source else 0
        if interaction.kind == COMMAND and interaction.payload["data"].get("type") == 3:
            kind = 23
        flags = {"flags": (data.get("flags") or 0) & EPHEMERAL | LOADING} if loading else {}
        message = self.messages.new(interaction.channel_id, BOT, data, files, **flags)
        message |= {"type": kind, "application_id": APPLICATION, "webhook_id": APPLICATION}
        message["interaction_metadata"] = self._metadata(interaction)
        if message["flags"] & EPHEMERAL:
            self.messages.hidden[message["id"]] = message
        else:
            self.messages.add(message)
        interaction.messages.append(message)
        return message

    def _metadata(self, interaction: Interaction) -> Json:
        about = {
            "id": interaction.id, "type": interaction.kind, "user": self.guild.users[interaction.user_id],
            "authorizing_integration_owners": interaction.payload["authorizing_integration_owners"],
        }  # fmt: skip
        if interaction.kind == COMPONENT and interaction.source is not None:
            about["interacted_message_id"] = interaction.source["id"]
        if interaction.opened_by is not None:
            about["triggering_interaction_metadata"] = self._metadata(interaction.opened_by)
        return about

    def _told(self, interaction: Interaction, kind: int) -> Json:
        about: Json = {"id": interaction.id, "type": interaction.kind}
        answer: Json = {"interaction": about}
        if interaction.original is not None:
            flags = interaction.original["flags"]
            about |= {"response_message_id": interaction.original["id"],
                      "response_message_loading": bool(flags & LOADING),
                      "response_message_ephemeral": bool(flags & EPHEMERAL)}  # fmt: skip
        if kind in (MESSAGE, UPDATE) and interaction.original is not None:
            answer["resource"] = {"type": kind, "message": self.messages.render(interaction.original)}
        return answer

    # ---- the webhook of an interaction

    def follow_up(self, call: Call) -> Json:
        """One more message; the first after a deferral takes its place."""
        interaction = self._open(call)
        original = interaction.original
        if original is not None and original["flags"] & LOADING:
            return self._changed(original, call)
        message = self._say(interaction, call.body, call.files)
        interaction.responses.append(call.body)
        return self.messages.render(message)

    def show(self, call: Call) -> Json:
        return self.messages.render(self._one(call))

    def change(self, call: Call) -> Json:
        return self._changed(self._one(call), call)

    def delete(self, call: Call) -> None:
        interaction, message = self._open(call), self._one(call)
        self.messages.remove(message)
        if message in interaction.messages:
            interaction.messages.remove(message)

    def _open(self, call: Call) -> Interaction:
        interaction = self.by_token.get(call.ids["webhook_token"])
        if interaction is None or call.ids["webhook_id"] != APPLICATION:
            raise ApiError(10015)
        if time.monotonic() - interaction.sent > self.token_seconds:
            raise ApiError(50027)
        if interaction.ack_seconds is None:
            raise ApiError(10015)
        return interaction

    def _one(self, call: Call) -> Json:
        interaction, wanted = self._open(call), call.ids.get("message_id")
        known = [*interaction.messages, *([interaction.original] if interaction.original else [])]
        found = interaction.original if wanted is None else next((m for m in known if m["id"] == wanted), None)
        if found is None or (found["id"] not in self.messages.hidden and not self.messages.anywhere(found["id"])):
            raise ApiError(10008)
        return found

    def _changed(self, message: Json, call: Call) -> Json:
        self._change(message, call.body, call.files)
        self._open(call).responses.append(call.body)
        return self.messages.render(message)

    def _change(self, message: Json, body: Json, files: Files) -> None:
        before = message["flags"]
        message["flags"] &= ~LOADING
        try:
            self.messages.fill(message, body, files)
        except ApiError:
            message["flags"] = before
            raise
        self.messages.edited(message)

    def unanswered(self) -> list[Interaction]:
        return [one for one in self.by_token.values() if one.ack_seconds is None]
