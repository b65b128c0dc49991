"""Discord's REST API in memory: what a bot calls, answered and refused as Discord does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.doubles.discord_channels import Call, Channels
from tests.doubles.discord_guild import ADA, APPLICATION, BOT, DM, GUILD, PUBLIC_THREAD, ApiError, Guild
from tests.doubles.discord_interactions import Interactions
from tests.doubles.discord_messages import Messages
from tests.doubles.discord_rates import Rates

Json = dict[str, Any]
Handler = Callable[[Call], Any]

LIMITED_CONTENT = 1 << 19
"""The application flag of the message content intent below 10,000 users."""


@dataclass(frozen=True)
class Fault:
    """How the next call of a route fails.

    `status` (the HTTP status, a text body), `cut` (the connection, before the deed) and `cut_after`, `429_via` (seconds),
    `429_banned`, `error` (HTTP status, Discord's code).
    """

    kind: str
    value: Any = None


class DiscordApi:
    """One guild, its messages, the bot's commands; `enforce` makes the rate limits real."""

    def __init__(self) -> None:
        self.guild = Guild()
        self.messages = Messages(self.guild)
        self.channels = Channels(self.guild, self.messages)
        self.interactions = Interactions(self.guild, self.messages)
        self.rates = Rates()
        self.enforce = False
        self.expired = False
        """Whether the addresses of files are a day old, and no longer good."""
        self.commands: list[Json] = []
        self.command_syncs = 0
        self.gateway_url = ""
        self._routes: list[tuple[str, str, re.Pattern[str], Handler]] = [
            (method, template, _pattern(template), handler) for (method, template), handler in self._table().items()
        ]

    def as_new(self) -> None:
        """Only the commands, the addresses and the switched-on intent stay; ids go on rising."""
        guild, messages, commands, gateway_url = self.guild, self.messages, self.commands, self.gateway_url
        self.__init__()  # type: ignore[misc]  # the routes are bound to this object
        self.commands, self.gateway_url = commands, gateway_url
        self.guild.follow(guild)
        self.messages.url, self.messages.content_allowed = messages.url, messages.content_allowed

    @property
    def message_content(self) -> bool:
        """Whether the message content intent is switched on for the application."""
        return self.messages.content_allowed

    @message_content.setter
    def message_content(self, allowed: bool) -> None:
        self.messages.content_allowed = allowed

    @property
    def over_limit(self) -> list[str]:
        """What the bot sent faster than Discord allows."""
        return self.rates.over_limit

    def _table(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/gateway"): lambda call: {"url": self.gateway_url},
            ("GET", "/gateway/bot"): self._gateway_bot,
            ("GET", "/users/@me"): lambda call: self.me(),
            ("GET", "/users/@me/guilds"): self._my_guilds,
            ("POST", "/users/@me/channels"): self._open_dm,
            ("GET", "/users/{user_id}"): self._user,
            ("GET", "/applications/@me"): lambda call: self.application(),
            ("GET", "/oauth2/applications/@me"): lambda call: self.application(),
            ("GET", "/applications/{application_id}/commands"): lambda call: self.commands,
            ("PUT", "/applications/{application_id}/commands"): self._set_commands,
            ("GET", "/guilds/{guild_id}"): lambda call: self._of_guild(call, self.guild.brief()),
            ("GET", "/guilds/{guild_id}/channels"): self._guild_channels,
            ("GET", "/guilds/{guild_id}/roles"): lambda call: self._of_guild(call, list(self.guild.roles.values())),
            ("GET", "/guilds/{guild_id}/threads/active"): self._active_threads,
            ("GET", "/guilds/{guild_id}/members/{user_id}"): self._member,
            **self._channel_table(),
            **self._interaction_table(),
        }

    def _channel_table(self) -> dict[tuple[str, str], Handler]:
        base, one = "/channels/{channel_id}", "/channels/{channel_id}/messages/{message_id}"
        emoji = f"{one}/reactions/{{emoji_name}}"
        return {
            ("GET", base): self.channels.get,
            ("PATCH", base): self.channels.edit,
            ("POST", f"{base}/typing"): self.channels.type,
            ("PUT", f"{base}/thread-members/@me"): self.channels.join_thread,
            ("GET", f"{base}/messages"): self.channels.page,
            ("POST", f"{base}/messages"): self.channels.post,
            ("GET", one): self.channels.one,
            ("PATCH", one): self.channels.change,
            ("DELETE", one): self.channels.delete,
            ("POST", f"{one}/threads"): self.channels.start_thread,
            ("GET", emoji): self.channels.who_reacted,
            ("PUT", f"{emoji}/@me"): self.channels.react,
            ("DELETE", f"{emoji}/@me"): self.channels.unreact,
            ("DELETE", f"{emoji}/{{user_id}}"): self.channels.unreact,
        }

    def _interaction_table(self) -> dict[tuple[str, str], Handler]:
        webhook = "/webhooks/{webhook_id}/{webhook_token}"
        original, one = f"{webhook}/messages/@original", f"{webhook}/messages/{{message_id}}"
        return {
            ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): self.interactions.callback,
            ("POST", webhook): self.interactions.follow_up,
            **{("GET", path): self.interactions.show for path in (original, one)},
            **{("PATCH", path): self.interactions.change for path in (original, one)},
            **{("DELETE", path): self.interactions.delete for path in (original, one)},
        }

    def match(self, method: str, path: str) -> tuple[str, dict[str, str], Handler] | None:
        """The route's template, its ids and what carries it out."""
        for verb, template, pattern, handler in self._routes:
            if verb == method and (found := pattern.fullmatch(path)):
                return template, found.groupdict(), handler
        return None

    # ---- who

    def me(self) -> Json:
        return {**self.guild.users[BOT], "verified": True, "mfa_enabled": False, "email": None,
                "locale": "en-US"}  # fmt: skip

    def application(self) -> Json:
        return {
            "id": APPLICATION, "name": "Threadbox", "icon": None, "description": "", "bot_public": True,
            "bot_require_code_grant": False, "verify_key": "0" * 64, "owner": self.guild.users[ADA], "team": None,
            "flags": LIMITED_CONTENT if self.message_content else 0, "bot": self.guild.users[BOT],
            "interactions_endpoint_url": None, "redirect_uris": [], "approximate_guild_count": 1, "type": None,
            "approximate_user_install_count": 0, "approximate_user_authorization_count": 0, "flags_new": "0",
            "explicit_content_filter": 0, "role_connections_verification_url": None, "eligible_oauth2_scopes": [],
        }  # fmt: skip

    def _gateway_bot(self, call: Call) -> Json:
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return {"url": self.gateway_url, "shards": 1, "session_start_limit": limit}

    def _my_guilds(self, call: Call) -> list[Json]:
        if self.guild.left:
            return []
        own = {key: self.guild.brief()[key] for key in ("id", "name", "icon", "features")}
        return [{**own, "owner": False, "permissions": str(self.guild.permissions(BOT)), "banner": None}]

    def _open_dm(self, call: Call) -> Json:
        return self.guild.dm(self._known(str(call.body["recipient_id"])))

    def _user(self, call: Call) -> Json:
        return self.guild.users[self._known(call.ids["user_id"])]

    def _known(self, user_id: str) -> str:
        if user_id not in self.guild.users:
            raise ApiError(10013)
        return user_id

    # ---- the guild

    def _of_guild(self, call: Call, answer: Any) -> Any:
        if self.guild.left or call.ids["guild_id"] != GUILD:
            raise ApiError(10004)
        return answer

    def _guild_channels(self, call: Call) -> Any:
        top = [c for c in self.guild.channels.values() if c["type"] not in (DM, PUBLIC_THREAD)]
        return self._of_guild(call, top)

    def _active_threads(self, call: Call) -> Any:
        return self._of_guild(call, {"threads": self.guild.active_threads(), "members": []})

    def _member(self, call: Call) -> Any:
        return self._of_guild(call, self.guild.members[self._known(call.ids["user_id"])])

    # ---- commands

    def _set_commands(self, call: Call) -> list[Json]:
        if call.ids["application_id"] != APPLICATION:
            raise ApiError(50001)
        self.command_syncs += 1
        before = {(command["type"], command["name"]): command["id"] for command in self.commands}
        self.commands = [
            {"description": "", "options": [], **given, "application_id": APPLICATION, "version": self.guild.new_id(),
             "type": given.get("type") or 1, "integration_types": given.get("integration_types") or [0],
             "id": before.get((given.get("type") or 1, given["name"])) or self.guild.new_id()}
            for given in call.body
        ]  # fmt: skip
        for command in self.commands:
            if command.get("default_member_permissions") is not None:
                command["default_member_permissions"] = str(command["default_member_permissions"])
        return self.commands


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
