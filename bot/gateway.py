"""The command `run`: every platform that is configured, served until stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from adapters.discord import DiscordConfig
from adapters.slack import SlackConfig, manifest
from adapters.web import Sessions, WebConfig, make_platform, serving
from adapters.web.config import LOOPBACK
from bot.app import App, Parts
from bot.clock import utc_now
from bot.collector import settling
from bot.core import Core
from bot.errors import ConfigurationError
from bot.findings import start_findings
from bot.images import have_image
from bot.kept_key import kept_key
from bot.ports import Platform
from bot.settings import Check, Settings
from bot.start_checks import APP
from bot.views import Finding
from sandbox.limits import MIB

if TYPE_CHECKING:
    from adapters.discord.server import Discord
    from adapters.slack.server import Slack

Say = Callable[[str], None]

OK = 0


async def serve(settings: Settings, say: Say) -> int:
    """Serve until cancelled. Raises BotError, SandboxError."""
    await look_at_engine(settings, say)
    await have_image(settings, say)
    async with App(settings) as app, AsyncExitStack() as stack:
        parts = app.parts
        connected = await _connect(app, settings)
        platforms: dict[str, Platform] = {one.platform.name: one.platform for one in connected}
        web = make_platform(parts.intake, parts.commands, parts.history, parts.artifacts)
        if serves_web(settings):
            platforms[web.name] = web
        with settling():
            await app.serve(platforms)
        web_config = make_web_config(settings)
        if web_config is not None:
            sessions = Sessions(await asyncio.to_thread(kept_key, settings.folder / "web.key"), web_config.token)
            address = await stack.enter_async_context(serving(web, web_config, sessions, utc_now))
            say(f"Threadbox is ready: {address}")
        core = make_core(parts)
        for one in connected:
            say(f"Threadbox is ready: {await stack.enter_async_context(one.serving(core))}")
        if not settings.has_model:
            say("No model is set: I run code blocks as they are. Put OPENAI_API_KEY into .env to have an agent.")
        await asyncio.Event().wait()
    return OK


async def _connect(app: App, settings: Settings) -> list[Slack | Discord]:
    """Every platform with a token, entered into the app: replies go out until the queue has stopped.

    Only then its SDK is imported.
    """
    parts = app.parts
    connected: list[Slack | Discord] = []
    slack_config, discord_config = make_slack_config(settings), make_discord_config(settings)
    if slack_config is not None:
        from adapters.slack.server import SlackStore, slack

        slack_store = SlackStore(artifacts=parts.artifacts, people=parts.people)
        connected.append(await app.enter(slack(slack_config, slack_store)))
    if discord_config is not None:
        from adapters.discord.server import DiscordStore, discord_platform

        discord_store = DiscordStore(artifacts=parts.artifacts, people=parts.people, memos=parts.memos)
        connected.append(await app.enter(discord_platform(discord_config, discord_store, parts.commands)))
    return connected


def make_core(parts: Parts) -> Core:
    """What platforms hand their deliveries to."""
    return Core(
        intake=parts.intake, commands=parts.commands, history=parts.history, choices=parts.choices, clock=utc_now
    )


def make_web_config(settings: Settings) -> WebConfig | None:
    """The web chat's slice of the settings; None where it is not served. Raises ConfigurationError."""
    if not serves_web(settings):
        return None
    return WebConfig(
        host=settings.web_host,
        port=settings.web_port,
        token=settings.web_token.get_secret_value() if settings.web_token else None,
        upload_bytes=settings.upload_mib * MIB,
    )


def serves_web(settings: Settings) -> bool:
    """Whether the web chat is served: by default where no other platform is."""
    return settings.web == "on" or (
        settings.web == "auto" and settings.slack_bot_token is None and settings.discord_bot_token is None
    )


async def look_at_engine(settings: Settings, say: Say) -> None:
    """Warn of an engine that cannot hold hostile code, or refuse it. Raises ConfigurationError, SandboxError."""
    for finding in await start_findings(settings):
        if finding.level == "error" and reaches_others(settings) and not settings.trust_everyone:
            raise ConfigurationError(
                f"{finding.what}. {finding.mend} Where nobody who reaches the bot is a stranger, "
                "THREADBOX_TRUST_EVERYONE=true starts it all the same."
            )
        say(f"{finding.level}: {finding.what}. {finding.mend}")


def reaches_others(settings: Settings) -> bool:
    """Whether more people can write to the bot than who sits at this machine."""
    has_token = settings.slack_bot_token is not None or settings.discord_bot_token is not None
    return has_token or (serves_web(settings) and settings.web_host not in LOOPBACK)


def make_slack_config(settings: Settings) -> SlackConfig | None:
    """Slack's slice of the settings; None without a token. Raises ConfigurationError."""
    if settings.slack_bot_token is None:
        return None
    return SlackConfig(
        bot_token=settings.slack_bot_token.get_secret_value(),
        app_token=settings.slack_app_token.get_secret_value() if settings.slack_app_token else None,
        signing_secret=settings.slack_signing_secret.get_secret_value() if settings.slack_signing_secret else None,
        api_url=settings.slack_api_url,
        host=settings.slack_host,
        port=settings.slack_port,
        command=settings.slack_command,
        admins=frozenset(settings.slack_admins.replace(",", " ").split()),
    )


def make_discord_config(settings: Settings) -> DiscordConfig | None:
    """Discord's slice of the settings; None without a token. Raises ConfigurationError."""
    if settings.discord_bot_token is None:
        return None
    return DiscordConfig(
        token=settings.discord_bot_token.get_secret_value(),
        api_url=settings.discord_api_url,
        gateway_url=settings.discord_gateway_url,
        message_content=settings.discord_message_content,
        direct_messages=settings.discord_direct_messages,
        shards=settings.discord_shards,
        admins=frozenset(settings.discord_admins.replace(",", " ").split()),
    )


async def print_slack_manifest(settings: Settings, name: str, command: str | None, url: str | None) -> int:
    """Print the manifest of the Slack app. Raises ConfigurationError."""
    sys.stdout.write(manifest(name, command or settings.slack_command, url))
    return OK


async def print_discord_invite(settings: Settings) -> int:
    """Print the link that adds the bot to a server. Raises ConfigurationError."""
    config = make_discord_config(settings)
    if config is None:
        raise ConfigurationError("Put DISCORD_BOT_TOKEN into .env first.")
    from adapters.discord.check import invite

    sys.stdout.write(f"{await invite(config)}\n")
    return OK


async def check_platforms(settings: Settings) -> list[Finding]:
    """Where can people reach the bot? Raises ConfigurationError."""
    findings: list[Finding] = []
    slack_config = make_slack_config(settings)
    if slack_config is not None:
        from adapters.slack.check import check as check_slack

        findings += await check_slack(slack_config)
    discord_config = make_discord_config(settings)
    if discord_config is not None:
        from adapters.discord.check import check as check_discord

        findings += await check_discord(discord_config)
    if serves_web(settings):
        findings.append(Finding(level="ok", what=f"Web chat on http://{settings.web_host}:{settings.web_port}"))
    return findings


def somebody_to_serve(settings: Settings) -> None:
    """Can anybody reach the bot? Raises ConfigurationError."""
    if settings.slack_bot_token is None:
        parts = {"SLACK_APP_TOKEN": settings.slack_app_token, "SLACK_SIGNING_SECRET": settings.slack_signing_secret}
        ConfigurationError.raise_for(
            [f"{name} is of no use without SLACK_BOT_TOKEN." for name, value in parts.items() if value is not None]
        )
    if settings.slack_bot_token is None and settings.discord_bot_token is None and not serves_web(settings):
        raise ConfigurationError("THREADBOX_WEB is off, and neither SLACK_BOT_TOKEN nor DISCORD_BOT_TOKEN is set.")


CHECKS: tuple[Check, ...] = (*APP, somebody_to_serve, make_slack_config, make_discord_config, make_web_config)
"""For commands that begin, or look at, everything."""
