"""What doctor asks of Discord, and the link by which it is invited."""

from __future__ import annotations

import discord

from adapters.discord.config import PORTAL, DiscordConfig
from adapters.discord.server import identity, logged_in
from bot.errors import ConfigurationError
from bot.views import Finding

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    create_public_threads=True,
    read_message_history=True,
    attach_files=True,
    embed_links=True,
    add_reactions=True,
)
SERVERS_MOST = 50  # looked at
NO_CONTENT = "Without Message Content Intent the bot reads mentions, replies to it and commands alone"


def invite_link(application_id: int) -> str:
    """Where somebody who manages a server adds the bot to it."""
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands"))


async def invite(config: DiscordConfig) -> str:
    """The link for the bot of a token, and what to switch on. Raises ConfigurationError."""
    async with logged_in(config) as client:
        us = identity(client, config)
        lines = [invite_link(us.application_id)]
        if not us.reads_messages and config.message_content == "auto":
            lines.append(f"First switch on Message Content Intent: {PORTAL}/{us.application_id}/bot")
        return "\n".join(lines)


async def check(config: DiscordConfig) -> list[Finding]:
    """Each finding with its mend."""
    try:
        async with logged_in(config) as client:
            us = identity(client, config)
            findings = [Finding(level="ok", what=f"Discord knows the bot as {us.name}")]
            if not us.reads_messages and config.message_content == "auto":
                mend = f"Switch it on: {PORTAL}/{us.application_id}/bot; or set THREADBOX_DISCORD_MESSAGE_CONTENT=off."
                findings.append(Finding(level="warning", what=NO_CONTENT, mend=mend))
            return [*findings, *await _servers(client, us.application_id)]
    except ConfigurationError as error:
        what, _, mend = str(error).partition(". ")
        return [Finding(level="error", what=what, mend=mend or "Check the network, a proxy, or DISCORD_API_URL.")]


async def _servers(client: discord.Client, application_id: int) -> list[Finding]:
    guilds = await client.http.get_guilds(SERVERS_MOST)
    if not guilds:
        mend = f"Open {invite_link(application_id)}"
        return [Finding(level="warning", what="The bot is in no Discord server yet", mend=mend)]
    findings = []
    for guild in guilds:
        granted = discord.Permissions(int(guild["permissions"]))
        missing = [name for name, wanted in PERMISSIONS if wanted and not getattr(granted, name)]
        if missing and not granted.administrator:
            what = f"In the server {guild['name']} the bot lacks: {', '.join(missing)}"
            findings.append(
                Finding(level="warning", what=what, mend="Grant them to its role in the server's settings.")
            )
    return findings or [Finding(level="ok", what=f"The bot may do what it needs in {len(guilds)} Discord servers")]
