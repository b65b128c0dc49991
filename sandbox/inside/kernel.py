"""The kernel: one IPython shell whose variables a thread keeps, driven by frames on a socket to the supervisor.

Started as `python -P -c … CONTROL_FD INTERRUPT_FD`. Everything in this process belongs to the user's code;
nothing here is trusted by the supervisor.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Instance, Type
from traitlets.config import Config

from .control import Control
from .frames import Kind


class Publisher(DisplayPublisher):  # type: ignore[misc]
    """Sends display() to the supervisor, plain text to standard output."""

    control: Control

    def publish(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """One bundle of representations of a value."""
        if set(data) == {"text/plain"}:
            print(data["text/plain"])  # noqa: T201 - the cell's own standard output
            return
        sys.stdout.flush()
        self.control.display(data)


class ResultHook(DisplayHook):  # type: ignore[misc]
    """Shows the value of a cell's last expression without an Out[] prompt."""

    def write_output_prompt(self) -> None:
        """Nothing: a chat has no prompts."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: Any = None) -> None:
        """The value's representations, as display() would give them."""
        self.shell.display_pub.publish(format_dict)

    def finish_displayhook(self) -> None:
        """Nothing to end: each value is complete."""


class Transformers(TransformerManager):  # type: ignore[misc]
    """IPython's words beyond Python (magics, !commands, help?), sought only in cells that could have one."""

    _OF_IPYTHON = re.compile(r"[!?%]|^\s*[,;/]", re.MULTILINE)

    def __init__(self) -> None:
        super().__init__()
        self._known = list(self.token_transformers)

    def do_token_transforms(self, lines: list[str]) -> list[str]:
        """As IPython does it, which takes the cell apart into tokens and costs more than running a short one."""
        if self.token_transformers == self._known and not any(map(self._OF_IPYTHON.search, lines)):
            return lines
        return list(super().do_token_transforms(lines))


class Shell(InteractiveShell):  # type: ignore[misc]
    """IPython with tracebacks on standard error and no words about SystemExit."""

    displayhook_class = Type(ResultHook)
    display_pub_class = Type(Publisher)
    input_transformer_manager = Instance(Transformers, ())

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        sys.stdout.flush()
        print(_without_our_frames(self.InteractiveTB.stb2text(stb)), file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def _tee(self, channel: str) -> Iterator[None]:
        """IPython keeps a copy of all output for its history, without bound; a chat has its own."""
        yield

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        """Show the error being handled, unless it is SystemExit."""
        if not isinstance(sys.exc_info()[1], SystemExit):
            super().showtraceback(*args, **kwargs)


def _without_our_frames(text: str) -> str:
    """A traceback without the two lines that each frame of this file takes."""
    lines = iter(text.rstrip().splitlines())
    kept: list[str] = []
    for line in lines:
        if __file__ in line:
            next(lines, None)
        else:
            kept.append(line)
    return "\n".join(kept)


def leave(code: Any = None) -> None:
    """What exit and quit do: end the cell, as a script would end."""
    raise SystemExit(code)


def make_shell(control: Control) -> Any:
    """The one shell of this process."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Plain"
    config.InteractiveShell.cache_size = 0
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")  # words of a terminal
    shell = Shell.instance(config=config)
    shell.display_pub.control = control
    shell.user_ns.update(exit=leave, quit=leave)  # IPython's are for a terminal
    return shell


class Interrupts:
    """Lets SIGINT through only for the cell whose number the supervisor wrote beside it."""

    def __init__(self, fd: int) -> None:
        self._wanted = mmap.mmap(fd, 8, access=mmap.ACCESS_READ)
        self.running = 0
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.running and struct.unpack(">Q", self._wanted[:8])[0] == self.running:
            raise KeyboardInterrupt


def outcome(result: Any) -> dict[str, Any]:
    """What became of a cell, in the supervisor's words."""
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return {"status": "ok", "exit_code": 0}
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return {"status": "ok" if code == 0 else "error", "exit_code": code & 0xFF}
    named = {"name": type(error).__name__[:100], "message": str(error)[:2000]}
    if isinstance(error, KeyboardInterrupt):
        return {"status": "interrupted", "exit_code": 130, "error": named}
    return {"status": "error", "exit_code": 1, "error": named}


def run_cell(shell: Any, interrupts: Interrupts, stream: int, code: str) -> dict[str, Any]:
    """Run one cell; an interrupt ends it and nothing else."""
    try:
        interrupts.running = stream
        result = shell.run_cell(code, store_history=False)
        if "matplotlib.pyplot" in sys.modules:
            from .figures import show_open_figures

            show_open_figures()
        return outcome(result)
    except KeyboardInterrupt as error:
        return {"status": "interrupted", "exit_code": 130, "error": {"name": type(error).__name__, "message": ""}}
    except Exception as error:  # noqa: BLE001 - a broken display hook of the user's must not end the kernel
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return {"status": "error", "exit_code": 1, "error": {"name": type(error).__name__, "message": str(error)}}
    finally:
        interrupts.running = 0


def keep_or_load(shell: Any, interrupts: Interrupts, kind: Kind, stream: int, state_fd: int, text: str) -> Any:
    """Move the variables out or in; whatever of the user's runs meanwhile can be interrupted."""
    from . import variables

    try:
        interrupts.running = stream
        work = variables.save if kind is Kind.SAVE else variables.load
        return work(shell, state_fd, json.loads(text))
    except BaseException as error:  # noqa: BLE001 - an interrupt that came between two variables among them
        return {"kept": [], "lost": [["some", str(error)[:100] or type(error).__name__]]}
    finally:
        interrupts.running = 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def main(control_fd: int, interrupt_fd: int, state_fd: int) -> None:
    """Serve cells until the supervisor is gone."""
    pid = os.getpid()
    control = Control(control_fd)
    interrupts = Interrupts(interrupt_fd)
    sys.stdout, sys.stderr = control.threads.text(1), control.threads.text(2)
    shell = make_shell(control)
    sys.path.insert(0, "")
    control.send(Kind.NOTE, {"kernel": "ready"})
    for kind, stream, code in control.requests():
        control.stream, control.displays = stream, 0
        if kind is Kind.END:
            control.take_output()
            result = run_cell(shell, interrupts, stream, code)
        else:
            result = keep_or_load(shell, interrupts, kind, stream, state_fd, code)
        _flush()
        if os.getpid() != pid:  # a forked child of the cell must not answer for its parent
            os._exit(0)
        control.give_back()
        with control.writing:
            control.send(Kind.END, result)
            control.stream = 0
