"""What doctor asks of Slack: are the tokens good, are all scopes granted."""

from __future__ import annotations

import re
import time
from pathlib import Path

from slack_sdk.errors import SlackApiError

from adapters.slack.calls import SlackCalls, reason_of
from adapters.slack.config import SlackConfig
from adapters.slack.socket import first_socket
from bot.errors import ConfigurationError
from bot.views import Finding

REINSTALL = "Add it under OAuth & Permissions at api.slack.com/apps and install the app again."


def wanted_scopes() -> list[str]:
    """The bot scopes of the manifest."""
    text = (Path(__file__).parent / "manifest.yaml").read_text()
    return re.findall(r"      - ([a-z_]+:[a-z_]+|commands)\n", text[text.index("scopes:") : text.index("settings:")])


async def check(config: SlackConfig) -> list[Finding]:
    """Each finding with its mend."""
    async with SlackCalls(config, time.monotonic) as calls:
        try:
            answer = await calls.client.auth_test()
        except SlackApiError as error:
            what = f"Slack does not accept SLACK_BOT_TOKEN ({reason_of(error)})"
            return [Finding(level="error", what=what, mend="Copy it again from OAuth & Permissions of the app.")]
        except OSError as error:
            what = f"Slack cannot be reached at {config.base_url} ({type(error).__name__})"
            return [Finding(level="error", what=what, mend="Check the network, a proxy, or SLACK_API_URL.")]
        findings = [Finding(level="ok", what=f"Slack knows the bot as {answer.get('user')} of {answer.get('team')}")]
        granted = str(answer.headers.get("x-oauth-scopes") or "").replace(" ", "").split(",")
        if granted != [""]:
            missing = [scope for scope in wanted_scopes() if scope not in granted]
            findings += [
                Finding(level="warning", what=f"The Slack app lacks the scope {scope}", mend=REINSTALL)
                for scope in missing
            ]
        return [*findings, await _deliveries(config, calls)]


async def _deliveries(config: SlackConfig, calls: SlackCalls) -> Finding:
    if not config.app_token:
        return Finding(level="ok", what=f"Slack delivers by HTTP to port {config.port}, path /slack/events")
    try:
        address = await first_socket(calls, config.app_token)
    except ConfigurationError as error:
        return Finding(level="error", what=str(error), mend="Make one under Basic Information, App-Level Tokens.")
    if address is None:
        return Finding(level="warning", what="Slack gives no socket now", mend="Try again; the bot does so by itself.")
    return Finding(level="ok", what="Slack gives a socket (Socket Mode)")
