"""Slack as a platform: the thread is the workplace."""

from adapters.slack.config import SlackConfig
from adapters.slack.manifest import manifest
from adapters.slack.server import SlackStore, slack

__all__ = ["SlackConfig", "SlackStore", "manifest", "slack"]
