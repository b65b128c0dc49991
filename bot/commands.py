"""What people say to the bot rather than to the agent. Every platform maps these onto its own form."""

from __future__ import annotations

from bot.model import IncomingMessage, ThreadKey
from bot.stops import Stops
from bot.text import NOTHING_RUNS
from sandbox.service import SandboxService

HELP = (
    "Mention me with a request, or with a code block to run as it is. Reply in the thread to go on: variables and "
    "files stay.\n\n"
    "**stop** ends what runs now. **reset** throws the thread's variables and files away. **help** shows this."
)


class Commands:
    """One method a command; `word` finds the one that a message is."""

    def __init__(self, stops: Stops, sandboxes: SandboxService) -> None:
        self._stops = stops
        self._sandboxes = sandboxes

    async def word(self, message: IncomingMessage) -> str | None:
        """Carry out a message that is nothing but a command; its answer, or None when it is something else."""
        match message.text.strip().lower().rstrip(".!"):
            case "stop":
                return "Stopping." if self.stop(message.key) else NOTHING_RUNS
            case "reset":
                return await self.reset(message.key)
            case "help":
                return HELP
            case _:
                return None

    def stop(self, key: ThreadKey) -> bool:
        """See bot.ports.Commands."""
        return self._stops.stop(key)

    async def reset(self, key: ThreadKey) -> str:
        """See bot.ports.Commands: waits until what runs has stopped."""
        self._stops.stop(key)
        async with self._sandboxes.lease(sandbox_key(key)) as lease:
            await lease.reset()
        return "Done: this thread's variables and files are gone. The next message starts with an empty sandbox."


def sandbox_key(key: ThreadKey) -> str:
    """The sandbox service's name for a thread."""
    return "/".join((key.platform, key.workspace, key.channel, key.thread))
