"""Logs: lines for people on a terminal, JSON elsewhere; ids of thread, turn and sandbox are bound by those who know."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from bot.secrets import Redactor

LIBRARIES = ("dbos",)
"""Those that would write to standard error in a form of their own unless they find a handler."""


class Changing:
    """A value to bind that changes meanwhile, in every task that has it bound; empty is none."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def __repr__(self) -> str:
        return self._read() or "-"

    def __structlog__(self) -> str | None:
        return self._read() or None


def configure_logs(level: str, secrets: Iterable[str] = ()) -> None:
    """Write logs of at least `level` to standard error, without the secrets; libraries from warning up."""
    known = list(secrets)
    redactor = Redactor([*known, *(json.dumps(secret)[1:-1] for secret in known)])

    def redacted(_: object, __: str, line: Any) -> str:
        return redactor.text(line)  # what a renderer made

    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback  # the pretty one holds the loop for a second
        )
        if terminal
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        # without the values of variables: among them are keys, and what people wrote
        formatter = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(formatter))
    structlog.configure(
        processors=[*processors, renderer, redacted],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _take_libraries([structlog.stdlib.add_logger_name, *processors], [renderer, redacted])


def _take_libraries(processors: list[structlog.typing.Processor], rendering: list[structlog.typing.Processor]) -> None:
    """What libraries log by the standard library, and warnings of Python, become lines like ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in LIBRARIES:
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).propagate = False
    logging.captureWarnings(True)
    logging.getLogger("autogen_core").setLevel(logging.ERROR)
