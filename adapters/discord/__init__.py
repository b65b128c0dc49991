"""Discord as a platform: where communities live. `server` has it, and its SDK: half a second of imports."""

from adapters.discord.config import DiscordConfig

__all__ = ["DiscordConfig"]
