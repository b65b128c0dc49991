"""The command line."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bot import cli
from bot.cli import INTERRUPTED, OK, USAGE
from bot.collector import relax
from bot.errors import BotError
from bot.observability import configure_logs
from bot.settings import Check, load
from bot.start_checks import APP, IMAGE, SANDBOX
from sandbox import SandboxError

FILES = Path("threadbox-files")

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="A bot that gives every chat thread an AI agent and a sandbox."
)
say = Console(stderr=True, highlight=False)


@app.command()
def run() -> None:
    """Serve Slack and Discord, or where no token is set the web chat, until stopped."""
    from bot.gateway import CHECKS, serve

    _go(lambda settings: serve(settings, _say_line), CHECKS, serves=True)


@app.command()
def chat(
    thread: Annotated[str, typer.Option(help="Name of the conversation.")] = "main",
    out: Annotated[Path, typer.Option(help="Folder for files and pictures, made when there are some.")] = FILES,
) -> None:
    """Talk to the bot here, in the terminal. Ctrl-C stops what runs; at the prompt it leaves, as Ctrl-D does."""
    conversation = cli.Chat(thread, out, _say_line)
    _go(conversation.run, APP, interrupted=conversation.interrupted)


@app.command()
def ask(
    request: Annotated[str, typer.Argument(help="What to do; - reads standard input.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files and pictures.")] = None,
    thread: Annotated[str | None, typer.Option(help="Name of a conversation to go on with.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, as things come.")] = False,
) -> None:
    """Ask once and print the replies as they come; exit code 0 if the turn ended well, 1 if not.

    With --json, one object a line as things come, told apart by their "type":

    output: whole lines that running code printed (part, text)

    reply: what is said, once it is whole (part, blocks, final, actions)

    file: one that was saved to --out (part, name, mime, size, path or problem)

    end: the last (status, exit_code, text, and the fields of the last reply)
    """
    text = sys.stdin.read() if request == "-" else request
    _go(lambda settings: cli.ask(settings, text, thread, out, as_json=json, say=_say_line), APP)


@app.command("exec")
def exec_file(
    file: Annotated[str, typer.Argument(help="A Python or .sh file; - reads Python from standard input.")],
    language: Annotated[str | None, typer.Option(help="python or bash; by default from the file's ending.")] = None,
) -> None:
    """Run code in a fresh sandbox, with no model; the exit code is the code's."""
    if file != "-" and not Path(file).is_file():
        say.print(f"There is no file {file}.", style="red", markup=False)
        raise typer.Exit(USAGE)
    code = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8", "replace")
    _go(lambda settings: cli.execute(settings, code, language or cli.language_of(file), _say_line), SANDBOX)


@app.command()
def doctor() -> None:
    """Check everything Threadbox needs and say what to do about what is missing."""
    from bot.doctor import examine
    from bot.gateway import CHECKS, check_platforms

    _go(lambda settings: examine(settings, Console(highlight=False), check_platforms), CHECKS)


@app.command("engine-guard")
def engine_guard() -> None:
    """Hold the Docker socket for a bot that shall not: let its calls through and nothing else, until stopped."""
    from bot.guard import serve

    _go(lambda settings: serve(settings, _say_line), IMAGE, serves=True)


images = typer.Typer(no_args_is_help=True, help="The image that sandboxes are made from.")
app.add_typer(images, name="image")


@images.command("build")
def build_image() -> None:
    """Build the image if it is not there."""
    from bot.images import build

    _go(lambda settings: build(settings, _say_line), IMAGE)


@images.command("update")
def update_image() -> None:
    """Build it again on the newest base, say what changed in it, and remove old images."""
    from bot.images import update

    _go(lambda settings: update(settings, _say_line), IMAGE)


@images.command("list")
def list_images() -> None:
    """Show the images; * marks the one that new sandboxes are made from."""
    from bot.images import show

    _go(lambda settings: show(settings, Console(highlight=False)), IMAGE)


sandboxes = typer.Typer(no_args_is_help=True, help="The threads that have a sandbox, and what it uses.")
app.add_typer(sandboxes, name="sandboxes")


@sandboxes.command("list")
def list_sandboxes(
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a sandbox.")] = False,
) -> None:
    """Show each thread's sandbox: its state, how long it is idle, memory, processor time and last cell."""
    from bot.sandboxes import show

    _go(lambda settings: show(settings, Console(highlight=False), as_json=json), APP)


@sandboxes.command("kill")
def kill_sandbox(
    name: Annotated[str, typer.Argument(help="A container's id or its beginning, or a thread as the list shows it.")],
) -> None:
    """Remove a sandbox at once; what was saved of it stays, and its thread is told."""
    from bot.sandboxes import kill

    _go(lambda settings: kill(settings, name, _say_line), APP)


@sandboxes.command("prune")
def prune_sandboxes() -> None:
    """Remove containers that nobody will use again: of processes that are gone, and of threads that are forgotten."""
    from bot.sandboxes import prune

    _go(lambda settings: prune(settings, _say_line), APP)


slack = typer.Typer(no_args_is_help=True, help="Threadbox as a Slack app.")
app.add_typer(slack, name="slack")


@slack.command("manifest")
def slack_manifest(
    name: Annotated[str, typer.Option(help="The app's name.")] = "Threadbox",
    command: Annotated[str | None, typer.Option(help="The slash command; by default the setting's.")] = None,
    url: Annotated[str | None, typer.Option(help="For HTTP instead of Socket Mode: where Slack reaches us.")] = None,
) -> None:
    """Print the app manifest to paste at api.slack.com/apps."""
    from bot.gateway import print_slack_manifest

    _go(lambda settings: print_slack_manifest(settings, name, command, url))


discord = typer.Typer(no_args_is_help=True, help="Threadbox as a Discord bot.")
app.add_typer(discord, name="discord")


@discord.command("invite")
def invite_to_discord() -> None:
    """Print the link that adds the bot to a server, with the permissions that it needs."""
    from bot.gateway import print_discord_invite

    _go(print_discord_invite)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(cli.version())


def _say_line(line: str) -> None:
    say.print(line, markup=False, soft_wrap=True)


def _go(
    make: cli.Work,
    checks: tuple[Check, ...] = (),
    *,
    serves: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    try:
        settings = load(checks)
        # one answer is no service: it logs only what is wrong, amid a conversation only what that does not say itself
        least = "error" if sys.stderr.isatty() else "warning"
        level = settings.log_level if serves or settings.log_level == "debug" else least
        configure_logs(level, settings.secrets)
        code = asyncio.run(_until_signal(make(settings), interrupted, stopped=OK if serves else INTERRUPTED))
    except (BotError, SandboxError) as error:
        words = f"{error} {getattr(error, 'mend', '')}".strip()
        say.print(words, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(USAGE) from None
    raise typer.Exit(code)


async def _until_signal(work: Coroutine[Any, Any, int], interrupted: Callable[[], bool], *, stopped: int) -> int:
    """Run `work`; SIGTERM and SIGINT cancel it, so that everything is closed; a second one ends the process.

    A SIGINT that `interrupted` has an answer to is not counted.
    The exit code is the work's, or `stopped` when it was cancelled.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)

    def stop(number: int) -> None:
        if number == signal.SIGINT and interrupted():
            return
        loop.remove_signal_handler(number)
        task.cancel()

    async with AsyncExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
            stack.callback(loop.remove_signal_handler, number)
        with suppress(asyncio.CancelledError):
            return await task
    return stopped


def main() -> None:
    """The entry point."""
    relax()
    app()


if __name__ == "__main__":
    main()
