"""Discord as a platform: the thread is the workplace."""

from adapters.discord.config import DiscordConfig
from adapters.discord.server import DiscordStore, discord_platform

__all__ = ["DiscordConfig", "DiscordStore", "discord_platform"]
