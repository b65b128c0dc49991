"""Logs name what failed and where; never what the variables held."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from dbos._logger import init_logger

from bot.http_server import http_serving
from bot.observability import LIBRARIES, Changing, configure_logs

CANARY = "xoxb-a-token-in-a-variable"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = structlog.get_config()
    for name in (*LIBRARIES, "uvicorn"):  # which the doubles' servers have set up in their own way
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    yield
    structlog.configure(**before)
    logging.captureWarnings(False)


def test_a_logged_exception_has_its_stack_and_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")

    def fails(token: str) -> None:
        raise ValueError("refused")

    try:
        fails(CANARY)
    except ValueError:
        structlog.get_logger().exception("slack.failed")
    line = json.loads(capsys.readouterr().err)

    assert line["event"] == "slack.failed"
    assert line["exception"][0]["exc_value"] == "refused"
    assert [frame["name"] for frame in line["exception"][0]["frames"]][-1] == "fails"
    assert CANARY not in json.dumps(line)


def test_a_secret_in_a_line_is_blacked_out_however_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    quoted = 'pass"word\\é'
    configure_logs("info", [CANARY, quoted, "short"])

    structlog.get_logger().info("blobs.failed", error=f"<Key>{CANARY}</Key> {quoted}", level_of="short")
    line = json.loads(capsys.readouterr().err)

    assert line["error"] == "<Key>[secret]</Key> [secret]"
    assert line["level_of"] == "short"


def test_libraries_and_pythons_warnings_write_lines_like_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    configure_logs("info")

    init_logger()  # DBOS's own, which gives itself a handler where it finds none
    logging.getLogger("dbos").error("no database: %s", "down")
    logging.getLogger("asyncio").info("chatter")
    warnings.showwarning("old", DeprecationWarning, "a.py", 1)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert [(line["logger"], line["level"]) for line in lines] == [("dbos", "error"), ("py.warnings", "warning")]
    assert lines[0]["event"] == "no database: down"


async def test_a_page_that_fails_is_one_line_with_its_stack_and_no_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own
    configure_logs("info")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        token = CANARY
        raise ValueError("broken" if token else "")

    async with http_serving(page, "127.0.0.1", 0, setting="PORT") as address, httpx.AsyncClient() as client:
        assert (await client.get(address)).status_code == 500
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert line["logger"] == "uvicorn.error"
    assert line["exception"][0]["exc_value"] == "broken"
    assert CANARY not in json.dumps(line)


def test_a_value_that_changes_is_logged_as_it_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    held = [""]

    with structlog.contextvars.bound_contextvars(sandbox=Changing(lambda: held[0])):
        structlog.get_logger().info("before")
        held[0] = "abc"
        structlog.get_logger().info("after")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["sandbox"] for line in lines] == [None, "abc"]
