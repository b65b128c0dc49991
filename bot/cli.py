"""What the commands do, each as one coroutine that ends with an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from adapters.terminal import TerminalPlatform
from adapters.terminal.config import TerminalConfig
from adapters.terminal.inbound import message
from bot.clock import utc_now
from bot.codec import reply_to_json
from bot.errors import Refused
from bot.findings import start_findings
from bot.model import Artifact, Reply
from bot.sandbox_setup import image_source, make_engine, make_reach, make_service
from bot.settings import Settings
from bot.text import file_name, printable
from sandbox import Cut, Display, Outcome, Output, RunEvent, Waiting
from sandbox.host_files import write_inside
from sandbox.image_build import ensure_image
from sandbox.image_store import check_image
from sandbox.instances import process_instance

if TYPE_CHECKING:
    from bot.app import Parts

Say = Callable[[str], None]
Work = Callable[[Settings], Coroutine[Any, Any, int]]

OK, FAILED, USAGE = 0, 1, 2


def version() -> str:
    """The installed version."""
    return package_version("threadbox")


async def have_image(settings: Settings, say: Say) -> None:
    """Build the sandbox image if it is not there. Raises SandboxError."""
    if settings.image is None:
        await asyncio.to_thread(ensure_image, image_source(settings), say)
    else:
        engine = make_engine(settings, instance=process_instance())
        try:
            await check_image(engine, settings.image)
        finally:
            await engine.aclose()


async def serve(settings: Settings, say: Say) -> int:
    """Serve the web chat until cancelled."""
    from adapters.web import WebConfig, make_platform, serving
    from bot.app import App

    await have_image(settings, say)
    for finding in await start_findings(settings):
        if finding.level != "ok":
            say(f"{finding.level}: {finding.what}. {finding.mend}")
    async with App(settings) as app:
        config = WebConfig(
            host=settings.web_host,
            port=settings.web_port,
            token=settings.web_token.get_secret_value() if settings.web_token else None,
            upload_bytes=settings.upload_mib * 1024 * 1024,
        )
        parts = app.parts
        platform = make_platform(parts.intake, parts.commands, parts.history, parts.artifacts)
        await app.serve({platform.name: platform})
        async with serving(platform, config, utc_now) as address:
            say(f"Threadbox is ready: {address}")
            if not settings.has_model:
                say("No model is set: I run code blocks as they are. Put OPENAI_API_KEY into .env to have an agent.")
            await asyncio.Event().wait()
    return OK


async def chat(settings: Settings, thread: str, say: Say) -> int:
    """Read lines until end of file; each is a message."""
    from bot.app import App

    await have_image(settings, say)
    console = Console(highlight=False)
    platform = TerminalPlatform(lambda line: console.print(line, markup=False, soft_wrap=True))
    config = TerminalConfig(thread=thread)
    async with App(settings, durable=False, on_exit="save") as app:
        await app.serve({platform.name: platform})
        say("Write to Threadbox; stop, reset and help are commands, Ctrl-D ends.")
        while (line := await asyncio.to_thread(_read_line)) is not None:
            if line.strip():
                await _one_turn(app.parts, platform, config, line, say)
    return OK


def _read_line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


async def _one_turn(parts: Parts, platform: TerminalPlatform, config: TerminalConfig, text: str, say: Say) -> int:
    sent = message(text, config, uuid.uuid4().hex, utc_now())
    with platform.ending(sent.message_id) as ending:
        try:
            receipt = await parts.intake.take(sent, platform)
        except Refused as error:
            say(error.for_people)
            return USAGE
        if receipt.kind == "command":
            say(receipt.answer)
            return OK
        return OK if await ending == "done" else FAILED


async def ask(settings: Settings, text: str, thread: str | None, out: Path | None, *, as_json: bool, say: Say) -> int:
    """One turn; of a thread without a name nothing is kept.

    Files go to `out`; with `as_json` each reply is one line of JSON on standard output.
    """
    from bot.app import App

    await have_image(settings, say)
    console = Console(highlight=False)
    made: list[Artifact] = []

    def print_line(line: str) -> None:
        if not as_json:
            console.print(line, markup=False, soft_wrap=True)

    platform = TerminalPlatform(print_line, made.append)
    async with App(settings, durable=False, on_exit="save" if thread else "remove") as app:
        await app.serve({platform.name: platform})
        config = TerminalConfig(thread=thread or f"ask-{uuid.uuid4().hex[:8]}")
        code = await _one_turn(app.parts, platform, config, text, say)
        if as_json:
            for reply in await _replies(app.parts, config):
                console.print(json.dumps({"part": reply.part, **reply_to_json(reply)}), markup=False, soft_wrap=True)
        if out is not None:
            for path in await _save(app.parts, made, out):
                say(f"saved {path}")
    return code


async def _replies(parts: Parts, config: TerminalConfig) -> tuple[Reply, ...]:
    key = message("", config, "", utc_now()).key
    entries = await parts.history.entries(key, limit=1)
    return entries[-1].replies if entries else ()


async def _save(parts: Parts, artifacts: list[Artifact], out: Path) -> list[Path]:
    saved: list[Path] = []
    taken: set[str] = set()
    for artifact in artifacts:
        _, data = await parts.artifacts.load(artifact.id)
        name = file_name(artifact.name)
        while name in taken:
            name = f"_{name}"
        taken.add(name)
        saved.append(await asyncio.to_thread(write_inside, out, name, data))
    return saved


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
                    say(event.bundle.get("text/plain", b"[picture]").decode("utf-8", "replace"))
                case Waiting():
                    say(f"Waiting for room: {event.before} before this.")
                case Outcome():
                    exit_code = event.exit_code
                    if event.status not in ("ok", "error"):
                        say(f"{event.status}: {event.error_message}".rstrip(": "))
    return exit_code
