"""Slack as a platform: the thread is the workplace. `server` has it, and its SDK: half a second of imports."""

from adapters.slack.config import SlackConfig
from adapters.slack.manifest import manifest

__all__ = ["SlackConfig", "manifest"]
