"""What the commands do, each as one coroutine that ends with an exit code."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, closing
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from adapters.terminal import Conversation, JsonLines, Keyboard, Screen, TerminalPlatform
from adapters.terminal.adapter import Keep
from adapters.terminal.config import TerminalConfig
from adapters.terminal.outbound import Kept
from bot.cell_words import cell_words
from bot.clock import utc_now
from bot.displays import as_text
from bot.images import have_image
from bot.model import Artifact
from bot.sandbox_setup import make_engine, make_reach, make_service
from bot.settings import Settings
from bot.text import file_name, printable
from sandbox import Cut, Display, Outcome, Output, RunEvent, SandboxError, Waiting
from sandbox.host_files import write_beside
from sandbox.instances import process_instance

if TYPE_CHECKING:
    from bot.app import Parts

Say = Callable[[str], None]
Work = Callable[[Settings], Coroutine[Any, Any, int]]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
WELCOME = "Write to Threadbox, or help. While it works, Ctrl-C stops it; here, Ctrl-C or Ctrl-D leaves."
EXIT_CODES = {"done": OK, "failed": FAILED, "stopped": FAILED, "refused": USAGE}


def version() -> str:
    """The installed version."""
    return package_version("threadbox")


class Chat:
    """A conversation; `interrupted` does what Ctrl-C asks for, and says whether that is all."""

    def __init__(self, thread: str, out: Path, say: Say) -> None:
        self._config = TerminalConfig(thread=thread)
        self._out = out
        self._say = say
        self._conversation: Conversation | None = None

    async def run(self, settings: Settings) -> int:
        """Take messages until end of file, or Ctrl-C at the prompt."""
        from bot.app import App

        await have_image(settings, self._say)
        screen = _screen()
        async with App(settings, durable=False, on_exit="save") as app:
            platform = TerminalPlatform(screen, _keeper(app.parts, self._out))
            await app.serve({platform.name: platform}, lost=platform.lost)
            conversation = _conversation(app.parts, platform, self._config)
            with closing(Keyboard()) as keyboard:
                self._conversation = conversation
                self._say(WELCOME)
                await conversation.talk(keyboard, self._say, screen.note)
        return OK

    def interrupted(self) -> bool:
        """Whether Ctrl-C stopped a turn, or ended the conversation; false where it is to end the program."""
        return self._conversation is not None and self._conversation.interrupted()


async def ask(settings: Settings, text: str, thread: str | None, out: Path | None, *, as_json: bool, say: Say) -> int:
    """One turn; of a thread without a name nothing is kept. Files go to `out`."""
    from bot.app import App

    await have_image(settings, say)
    lines = JsonLines(sys.stdout) if as_json else None
    async with App(settings, durable=False, on_exit="save" if thread else "remove") as app:
        platform = TerminalPlatform(lines or _screen(), _keeper(app.parts, out) if out is not None else None)
        await app.serve({platform.name: platform}, lost=platform.lost)
        config = TerminalConfig(thread=thread or f"ask-{uuid.uuid4().hex[:8]}")
        try:
            answered = await _conversation(app.parts, platform, config).ask(text)
        except asyncio.CancelledError:
            if lines is not None:
                lines.end("stopped", INTERRUPTED, "")
            raise
        code = EXIT_CODES[answered.status]
        if lines is not None:
            lines.end(answered.status, code, answered.words)
        elif answered.words:
            say(answered.words)
    return code


def _screen() -> Screen:
    console = Console()
    is_live = sys.stdout.isatty() and not console.is_dumb_terminal
    return Screen(sys.stdout, (lambda: console.width) if is_live else None)


def _conversation(parts: Parts, platform: TerminalPlatform, config: TerminalConfig) -> Conversation:
    return Conversation(parts.intake, parts.commands, platform, config, utc_now)


def _keeper(parts: Parts, out: Path) -> Keep:
    async def keep(artifact: Artifact) -> Kept:
        """Code chose the name: it stays in the folder, and what is there already stays too."""
        try:
            _, data = await parts.artifacts.load(artifact.id)
            path = await asyncio.to_thread(write_beside, out, file_name(artifact.name), data)
        except (LookupError, OSError, SandboxError) as error:
            return Kept(problem=str(error))
        return Kept(path=str(path))

    return keep


def language_of(file: str) -> str:
    """The language of a file by its ending."""
    return "bash" if file.endswith((".sh", ".bash")) else "python"


async def execute(settings: Settings, code: str, language: str, say: Say) -> int:
    """Run code in a sandbox of its own and pass its output and exit code on."""
    await have_image(settings, say)
    engine = make_engine(settings, instance=process_instance())
    try:
        reach = await make_reach(settings, engine)
        async with make_service(settings, engine, reach=reach) as service, service.lease("exec") as lease:
            return await _pass_on(lease.run(code, language), say)
    finally:
        await engine.aclose()


async def _pass_on(run: AsyncGenerator[RunEvent, None], say: Say) -> int:
    exit_code = FAILED
    async with aclosing(run) as events:
        async for event in events:
            match event:
                case Output():
                    stream = sys.stdout if event.stream == "stdout" else sys.stderr
                    stream.write(printable(event.text))
                    stream.flush()
                case Cut():
                    say(f"[{event.count:,} bytes of output left out]")
                case Display():
                    say(as_text(event) or "[picture]")
                case Waiting():
                    say(f"Waiting for room: {event.before} before this.")
                case Outcome():
                    exit_code = event.exit_code
                    words = cell_words(event.status, event.duration_ms, exit_code, event.error_message)
                    if words and event.status != "error":  # that is said by what it printed, and by our exit code
                        say(words)
    return exit_code
