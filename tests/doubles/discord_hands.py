"""What people press, choose, command and send back in the loopback Discord."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from tests.doubles.discord_forms import command_options, find_command, form_components
from tests.doubles.discord_guild import APPLICATION, BOT, DM, GUILD, PUBLIC_THREAD, Guild
from tests.doubles.discord_interactions import AUTOCOMPLETE, COMMAND, COMPONENT, FORM, Interaction
from tests.doubles.discord_limits import walk
from tests.doubles.discord_messages import Messages
from tests.doubles.discord_server import DiscordServer

Json = dict[str, Any]

BUTTON, SELECTS = 2, (3, 5, 6, 7, 8)
ACK_SECONDS = 5.0


class Hands:
    """Each deed returns what came of it once the bot has acknowledged it."""

    def __init__(self, server: DiscordServer) -> None:
        self.server = server
        self.api = server.api

    @property
    def guild(self) -> Guild:
        return self.api.guild

    @property
    def kept(self) -> Messages:
        return self.api.messages

    def place(self, channel: str, user: str) -> Json:
        """A channel or thread by id or name; "dm" is the person's own."""
        if channel in ("dm", self.guild.dm_id(user)):
            return self.guild.dm(self.guild.user_id(user))
        return self.guild.channel(channel)

    def message(self, message_id: str) -> Json:
        found = self.kept.anywhere(message_id)
        if found is None:
            raise LookupError(f"there is no message {message_id}")
        return found

    # ---- under a message

    async def press(
        self, custom_id: str, message: str | Json | Interaction | None = None, user: str = "ada", *, wait: bool = True
    ) -> Interaction:
        """The newest button whose custom_id begins so."""
        component, under = self._component(custom_id, (BUTTON,), message, user)
        return await self._use(component, under, user, {}, wait=wait)

    async def select(
        self, custom_id: str, *values: str, message: str | Json | Interaction | None = None, user: str = "ada"
    ) -> Interaction:
        """Options of the newest select whose custom_id begins so."""
        component, under = self._component(custom_id, SELECTS, message, user)
        offered = {option["value"] for option in component.get("options") or []}
        if offered and not set(values) <= offered:
            raise ValueError(f"{custom_id} offers {sorted(offered)}, not {values}")
        return await self._use(component, under, user, {"values": list(values)})

    async def _use(self, component: Json, under: Json, user: str, more: Json, *, wait: bool = True) -> Interaction:
        data = {"custom_id": component["custom_id"], "component_type": component["type"], "id": component["id"], **more}
        return await self._act(COMPONENT, data, under["channel_id"], user, source=under, wait=wait)

    def _component(
        self, custom_id: str, kinds: tuple[int, ...], message: str | Json | Interaction | None, user: str
    ) -> tuple[Json, Json]:
        seen = []
        for under in self._under(message, self.guild.user_id(user)):
            for one in walk(under["components"]):
                seen.append(one.get("custom_id"))
                if one["type"] in kinds and (one.get("custom_id") or "").startswith(custom_id):
                    if one.get("disabled"):
                        raise ValueError(f"{one['custom_id']} is disabled")
                    return one, under
        raise LookupError(f"nothing begins with {custom_id}: {[one for one in seen if one]}")

    def _under(self, message: str | Json | Interaction | None, user_id: str) -> Iterator[Json]:
        """Where to look, the newest first."""
        if isinstance(message, Interaction):
            yield from reversed(message.messages)
        elif message is not None:
            yield self.message(message if isinstance(message, str) else message["id"])
        else:
            every = [one for messages in self.kept.by_channel.values() for one in messages]
            own = [
                message
                for interaction in self.api.interactions.by_token.values()
                if interaction.user_id == user_id
                for message in interaction.messages
                if message["id"] in self.kept.hidden
            ]
            yield from sorted([*every, *own], key=lambda one: int(one["id"]), reverse=True)

    # ---- forms

    async def submit(self, opened: Interaction, values: dict[str, Any] | None = None, user: str = "ada") -> Interaction:
        """The form that an interaction opened, sent back. Files of an upload are (name, bytes) pairs."""
        if opened.modal is None:
            raise LookupError("no form was opened")
        resolved: Json = {}
        components = form_components(
            opened.modal, values or {}, lambda name, data: self.kept.attach(opened.channel_id, name, data), resolved
        )
        data = {"custom_id": opened.modal["custom_id"], "components": components}
        if resolved:
            data["resolved"] = resolved
        return await self._act(FORM, data, opened.channel_id, user, source=opened.source, opened_by=opened)

    # ---- commands

    async def slash(
        self, command: str, channel: str = "general", user: str = "ada", *, force: bool = False, **options: Any
    ) -> Interaction:
        """A slash command by its whole name. Who may not see it gets a PermissionError, unless by `force`."""
        root, parts = find_command(self.api.commands, command)
        place = self.place(channel, user)
        if not force:
            self._may_use(root, place, user)
        data = {"id": root["id"], "name": root["name"], "type": 1, "options": command_options(root, parts, options)}
        return await self._act(COMMAND, data, place["id"], user)

    async def autocomplete(
        self, command: str, focused: str, text: str, channel: str = "general", user: str = "ada", **others: Any
    ) -> Interaction:
        """What an option offers while it is being typed: `.choices`."""
        root, parts = find_command(self.api.commands, command)
        options = command_options(root, parts, {**others, focused: text}, focused=focused)
        data = {"id": root["id"], "name": root["name"], "type": 1, "options": options}
        return await self._act(AUTOCOMPLETE, data, self.place(channel, user)["id"], user)

    async def menu(self, name: str, message_id: str, user: str = "ada", *, force: bool = False) -> Interaction:
        """An entry of a message's menu."""
        root = next((one for one in self.api.commands if one["type"] == 3 and one["name"] == name), None)
        if root is None:
            raise LookupError(f"there is no menu entry {name}")
        target = self.message(message_id)
        place = self.guild.channel(target["channel_id"])
        if not force:
            self._may_use(root, place, user)
        resolved = {"messages": {message_id: self.kept.render(target)}}
        data = {"id": root["id"], "name": name, "type": 3, "target_id": message_id, "resolved": resolved}
        return await self._act(COMMAND, data, place["id"], user)

    def _may_use(self, command: Json, place: Json, user: str) -> None:
        """As the client hides what somebody may not use."""
        contexts = command.get("contexts")
        if contexts is not None and (1 if place["type"] == DM else 0) not in contexts:
            raise PermissionError(f"{command['name']} is not offered here")
        if place["type"] == DM:
            if command.get("dm_permission") is False:
                raise PermissionError(f"{command['name']} is not offered in direct messages")
            return
        wanted = int(command.get("default_member_permissions") or 0)
        held = self.guild.permissions(self.guild.user_id(user), place)
        if command.get("default_member_permissions") == "0" or held & wanted != wanted:
            raise PermissionError(f"{user} does not see {command['name']}")
        if place["type"] == PUBLIC_THREAD and place["thread_metadata"]["archived"]:
            raise PermissionError("no commands in archived threads")

    # ---- the interaction

    async def _act(
        self, kind: int, data: Json, channel_id: str, user: str, *, source: Json | None = None,
        opened_by: Interaction | None = None, wait: bool = True,
    ) -> Interaction:  # fmt: skip
        await self.server.until(self.server.gateway.listening)
        interaction = self._opened(kind, data, channel_id, self.guild.user_id(user), source)
        interaction.opened_by = opened_by
        self.api.interactions.by_token[interaction.token] = interaction
        self.server.gateway.dispatch("INTERACTION_CREATE", interaction.payload)
        if wait:
            try:
                await self.server.until(lambda: interaction.ack_seconds is not None, ACK_SECONDS)
            except TimeoutError:
                raise AssertionError(f"This interaction failed: {data}") from None
        return interaction

    def _opened(self, kind: int, data: Json, channel_id: str, user_id: str, source: Json | None) -> Interaction:
        channel, number, token = self.guild.channel(channel_id), self.guild.new_id(), secrets.token_urlsafe(40)
        in_guild = channel["type"] != DM
        payload: Json = {
            "id": number, "application_id": APPLICATION, "type": kind, "data": data, "token": token, "version": 1,
            "channel_id": channel_id, "channel": self._shown(channel, user_id), "locale": "en-US", "entitlements": [],
            "app_permissions": str(self.guild.permissions(BOT, channel)), "context": 0 if in_guild else 1,
            "authorizing_integration_owners": {"0": GUILD if in_guild else "0"},
            "attachment_size_limit": self.kept.file_bytes,
        }  # fmt: skip
        if in_guild:
            permissions = str(self.guild.permissions(user_id, channel))
            payload |= {"guild_id": GUILD, "guild_locale": "en-US",
                        "guild": {"id": GUILD, "locale": "en-US", "features": []},
                        "member": {**self.guild.members[user_id], "permissions": permissions}}  # fmt: skip
        else:
            payload["user"] = self.guild.users[user_id]
        if source is not None:
            payload["message"] = self.kept.render(source)
        return Interaction(number, token, kind, payload, channel_id, user_id, source)

    def _shown(self, channel: Json, user_id: str) -> Json:
        return {**channel, "permissions": str(self.guild.permissions(user_id, channel))}
