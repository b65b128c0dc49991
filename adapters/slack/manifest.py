"""The app manifest with the operator's names; pure. The file beside this one is the manifest with ours."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.slack.config import COMMAND
from bot.errors import ConfigurationError

_NAME = re.compile(r"[\w .&+-]{1,35}")  # Slack's bound on an app's name


def manifest(name: str, command: str, url: str | None) -> str:
    """YAML to paste; with `url` for HTTP instead of Socket Mode. Raises ConfigurationError."""
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"{name!r} cannot be an app's name: up to 35 letters, digits, spaces and .&+-")
    if COMMAND.fullmatch(command) is None:
        raise ConfigurationError(f"{command!r} is not a command like /sandbox.")
    text = (Path(__file__).parent / "manifest.yaml").read_text()
    text = text[text.index("display_information") :]
    text = text.replace("name: Threadbox", f'name: "{name}"').replace(
        "display_name: threadbox", f'display_name: "{name.lower().replace(" ", "-")}"'
    )
    text = text.replace("command: /sandbox", f"command: {command}")
    return text if url is None else _by_http(text, url)


def _by_http(text: str, url: str) -> str:
    if not url.startswith("https://") or any(mark in url for mark in "\"' \n"):
        raise ConfigurationError(f"{url!r}: Slack delivers to an https address only.")
    url = url.rstrip("/")
    if not url.endswith("/slack/events"):
        url += "/slack/events"
    text = text.replace("socket_mode_enabled: true", "socket_mode_enabled: false")
    text = text.replace("event_subscriptions:\n", f'event_subscriptions:\n    request_url: "{url}"\n')
    text = text.replace("interactivity:\n", f'interactivity:\n    request_url: "{url}"\n')
    return re.sub(r"(    - command: \S+\n)", rf'\g<1>      url: "{url}"\n', text)
