"""Logs name what failed and where; never what the variables held."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from bot.observability import configure_logs

CANARY = "xoxb-a-token-in-a-variable"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


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
