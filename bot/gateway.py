"""The command `run`: every platform that is configured, served until stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from adapters.slack import Core, SlackConfig, SlackStore, manifest, slack
from adapters.slack.check import check as check_slack
from adapters.web import WebConfig, make_platform, serving
from adapters.web.config import LOOPBACK
from bot.app import App
from bot.clock import utc_now
from bot.findings import start_findings
from bot.images import have_image
from bot.ports import Platform
from bot.settings import Settings
from bot.views import Finding
from sandbox.limits import MIB

Say = Callable[[str], None]

OK = 0


async def serve(settings: Settings, say: Say) -> int:
    """Serve until cancelled. Raises BotError, SandboxError."""
    slack_config = make_slack_config(settings)
    web_config = WebConfig(
        host=settings.web_host,
        port=settings.web_port,
        token=settings.web_token.get_secret_value() if settings.web_token else None,
        upload_bytes=settings.upload_mib * MIB,
    )
    await have_image(settings, say)
    for finding in await start_findings(settings):
        if finding.level != "ok":
            say(f"{finding.level}: {finding.what}. {finding.mend}")
    async with App(settings) as app, AsyncExitStack() as stack:
        parts = app.parts
        platforms: dict[str, Platform] = {}
        connected = None
        if slack_config is not None:  # entered into the app: replies go out until the queue has stopped
            store = SlackStore(artifacts=parts.artifacts, people=parts.people)
            connected = await app.enter(slack(slack_config, store))
            platforms[connected.platform.name] = connected.platform
        web = make_platform(parts.intake, parts.commands, parts.history, parts.artifacts)
        if serves_web(settings):
            platforms[web.name] = web
        await app.serve(platforms)
        if serves_web(settings):
            say(f"Threadbox is ready: {await stack.enter_async_context(serving(web, web_config, utc_now))}")
        if connected is not None:
            core = Core(
                intake=parts.intake,
                commands=parts.commands,
                history=parts.history,
                choices=parts.choices,
                clock=utc_now,
            )
            say(f"Threadbox is ready: {await stack.enter_async_context(connected.serving(core))}")
        if not settings.has_model:
            say("No model is set: I run code blocks as they are. Put OPENAI_API_KEY into .env to have an agent.")
        await asyncio.Event().wait()
    return OK


def serves_web(settings: Settings) -> bool:
    """Whether the web chat is served: by default where no other platform is."""
    return settings.web == "on" or (settings.web == "auto" and settings.slack_bot_token is None)


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


async def print_slack_manifest(settings: Settings, name: str, command: str | None, url: str | None) -> int:
    """Print the manifest of the Slack app. Raises ConfigurationError."""
    sys.stdout.write(manifest(name, command or settings.slack_command, url))
    return OK


async def check_platforms(settings: Settings) -> list[Finding]:
    """Where can people reach the bot? Raises ConfigurationError."""
    findings: list[Finding] = []
    slack_config = make_slack_config(settings)
    if slack_config is not None:
        findings += await check_slack(slack_config)
    if serves_web(settings):
        findings.append(_check_web(settings))
    return findings


def _check_web(settings: Settings) -> Finding:
    if settings.web_host not in LOOPBACK and settings.web_token is None:
        mend = "Set THREADBOX_WEB_TOKEN, or THREADBOX_WEB_HOST to 127.0.0.1."
        return Finding(level="error", what=f"The web chat would be open to everyone on {settings.web_host}", mend=mend)
    return Finding(level="ok", what=f"Web chat on http://{settings.web_host}:{settings.web_port}")
