"""Replies as Slack messages, and Slack's events as ours: pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from adapters.slack import inbound, outbound
from adapters.slack.config import MESSAGE_CHARS, SlackConfig
from adapters.slack.inbound import Identity
from adapters.slack.text import harmless, plain, said
from bot.errors import ConfigurationError
from bot.markdown import closed, fenced, open_fence, split
from bot.model import Code, Person, Printed, Reply
from tests.doubles.replies import long_words, replies, words
from tests.doubles.slack_api import SlackApi

US = Identity(user_id="UBOT", bot_id="BBOT", team_id="T1")
ADA = Person(id="UADA", name="Ada")


@given(replies)
def test_every_reply_keeps_within_slacks_limits(reply: Reply) -> None:
    post = outbound.post(reply)
    made = post.blocks()

    assert len(made) <= 50
    assert sum(len(text) for text in texts(made)) <= MESSAGE_CHARS
    assert len(post.plain()) <= 4_000
    assert len(post.fallback()) <= 4_000
    for block in made:
        parsed = Block.parse(dict(block))
        assert parsed is not None
        parsed.validate_json()


@given(long_words)
def test_what_a_stream_shows_only_gets_longer(text: str) -> None:
    code = Code(language="python", source="print(1)")
    half = Reply(turn_id="t", part=0, blocks=(code, Printed(text="a" + text[: len(text) // 2])), final=False)
    whole = Reply(turn_id="t", part=0, blocks=(code, Printed(text="a" + text)), final=True)

    assert outbound.growing(whole).startswith(outbound.growing(half))


def test_output_cannot_close_the_fence_that_it_is_streamed_in() -> None:
    reply = Reply(turn_id="t", part=0, blocks=(Printed(text="`````\n**free**"),), final=False)

    assert open_fence(outbound.growing(reply)) is not None


@given(words)
def test_nothing_that_goes_out_notifies_anybody(text: str) -> None:
    for made in (harmless(text), plain(text)):
        assert re.search(r"<[!@#][A-Za-z0-9]", made) is None
        assert re.search(r"(?<![\w/])@(channel|here|everyone)\b", made) is None


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("<!channel> and <@U123|x>", "<\u200b!channel> and <\u200b@U123|x>"),
        ("@here, all", "@\u200bhere, all"),
        ("<[](!channel)>", "<\u200b!channel>"),
        ("<[](@U123ABC)>", "<\u200b@U123ABC>"),
        ("[slack.com][1]\n\n[1]: https://evil.example", "[slack.com][1]\n\n[1]\u200b: https://evil.example"),
        ("ada@here.example", "ada@here.example"),
        ("<https://evil.example|https://bank.example>", "https://bank.example (https://evil.example)"),
        ("[bank.example](https://evil.example)", "bank.example (https://evil.example)"),
        ("[the page](https://docs.example)", "[the page](https://docs.example)"),
        ("![x](https://evil.example/?data=1)", "[x](https://evil.example/?data=1)"),
    ],
)
def test_links_and_mentions_are_what_they_look_like(markdown: str, shown: str) -> None:
    assert harmless(markdown) == shown


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("<@UBOT> 1 &lt; 2 &amp;&amp; 3", "1 < 2 && 3"),
        ("hey <@UBOT>, see <https://a.example/x|a.example>", "hey see https://a.example/x"),
        ("<#C1|general> <!here> <@UADA|ada>", "#general @here @ada"),
        ("```\nprint(1)\n```", "```\nprint(1)\n```"),
    ],
)
def test_what_a_person_wrote_is_read_as_they_saw_it(text: str, meant: str) -> None:
    assert said(text, "UBOT") == meant


@given(long_words, st.integers(60, 500))
@example("`" * 300 + "\nx\n" * 200, 60)
@example("```" + "a" * 300 + "\nx" * 300, 60)
def test_pieces_are_short_enough_and_their_fences_whole(text: str, limit: int) -> None:
    pieces = split(text, limit)

    assert all(len(piece) <= limit for piece in pieces)
    assert all(open_fence(piece) is None for piece in pieces[:-1])


def test_a_fence_goes_on_in_the_next_piece() -> None:
    text = fenced("\n".join(f"line {number}" for number in range(40)), "python")

    pieces = split(text, 120)

    assert all(piece.startswith("```python\n") for piece in pieces)
    assert "\n".join(piece.split("\n", 1)[1].rsplit("\n", 1)[0] for piece in pieces).split("\n")[0] == "line 0"
    assert closed("```\na") == "```\na\n```"


def event(**more: Any) -> dict[str, Any]:
    return {"type": "message", "user": "UADA", "channel": "C1", "ts": "1700000000.000100", "text": "hi", **more}


def test_the_twins_of_a_mention_are_one_message() -> None:
    twin = event(type="app_mention", text="<@UBOT> hi")

    first = inbound.message(twin, US, ADA)
    second = inbound.message({**twin, "type": "message", "channel_type": "channel"}, US, ADA)

    assert first == second
    assert first.for_us
    assert first.sent_at == datetime.fromtimestamp(1700000000.0001, UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"bot_id": "B9"},
        {"user": "UBOT"},
        {"user": None},
        {"subtype": "bot_message"},
        {"subtype": "message_changed"},
        {"subtype": "channel_join"},
        {"ts": "soon"},
    ],
)
def test_what_no_person_wrote_is_no_message(change: dict[str, Any]) -> None:
    assert not inbound.is_spoken(event(**change), US)


@pytest.mark.parametrize("subtype", [None, "file_share", "thread_broadcast"])
def test_files_and_broadcasts_are_messages(subtype: str | None) -> None:
    assert inbound.is_spoken(event(subtype=subtype), US)


@pytest.mark.parametrize(
    ("user", "standing", "is_admin"),
    [
        ({"id": "U1", "team_id": "T1", "is_owner": True}, "member", True),
        ({"id": "U1", "team_id": "T1", "is_restricted": True, "is_admin": True}, "guest", False),
        ({"id": "U1", "team_id": "T9"}, "external", False),
        ({"id": "U1", "team_id": "T1", "is_stranger": True}, "external", False),
        ({"id": "U1", "team_id": "T1", "is_bot": True}, "bot", False),
        ({"id": "U1", "team_id": "T1", "deleted": True}, "unknown", False),
        ({"id": "UCHOSEN", "team_id": "T1"}, "member", True),
    ],
)
def test_who_somebody_is(user: dict[str, Any], standing: str, is_admin: bool) -> None:
    found = inbound.person(user, US, frozenset({"UCHOSEN"}))

    assert (found.standing, found.is_admin) == (standing, is_admin)


def test_the_token_goes_to_slack_alone() -> None:
    config = SlackConfig(bot_token="xoxb-1", app_token="xapp-1")

    assert config.is_slack_file("https://files.slack.com/files-pri/T1-F1/a.csv")
    for url in (
        "https://slack.com.evil.example/x",
        "http://files.slack.com/x",
        "https://evil.example/slack.com",
        "https://evilslack.com/",
    ):
        assert not config.is_slack_file(url)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bot_token": "xapp-1"}, "SLACK_BOT_TOKEN is not a bot token"),
        ({"app_token": "xoxb-1"}, "SLACK_APP_TOKEN is not an app-level token"),
        ({"app_token": None}, "SLACK_APP_TOKEN .Socket Mode. or SLACK_SIGNING_SECRET"),
        ({"command": "sandbox"}, "THREADBOX_SLACK_COMMAND"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        SlackConfig(**{"bot_token": "xoxb-1", "app_token": "xapp-1", **wrong})


def test_the_double_checks_what_slack_checks() -> None:
    api = SlackApi()

    for wrong in ([{"type": "divider"}] * 51, [{"type": "markdown", "text": "x" * 9_001}]):
        with pytest.raises(Exception, match="blocks"):
            api.call("chat.postMessage", {"channel": "C1", "text": "", "blocks": wrong})


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        mine = [value["text"]] if isinstance(value.get("text"), str) else []
        return [*mine, *(text for inner in value.values() for text in texts(inner))]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []
