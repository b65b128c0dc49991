"""The terminal as a platform: one person, one thread at a time."""

from adapters.terminal.adapter import TerminalPlatform
from adapters.terminal.conversation import Conversation
from adapters.terminal.keyboard import Keyboard
from adapters.terminal.screen import JsonLines, Screen

__all__ = ["Conversation", "JsonLines", "Keyboard", "Screen", "TerminalPlatform"]
