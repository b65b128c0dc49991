"""Logs: lines for people on a terminal, JSON elsewhere; ids of thread and turn are bound by whoever handles them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog

from bot.secrets import Redactor


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
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("autogen_core").setLevel(logging.ERROR)
