"""Replies as Discord messages, and Discord's text as ours: pure."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.discord import outbound
from adapters.discord.config import FILES_MOST, MESSAGE_CHARS, DiscordConfig
from adapters.discord.files import safe_name
from adapters.discord.text import fenced, said, shortened, shown, without_marks
from bot.errors import ConfigurationError
from bot.model import Reply, Text
from tests.doubles.replies import TURN, long_words, replies, words


@given(replies)
@example(Reply(turn_id=TURN, part=0, blocks=(Text(markdown="``:```:`"),), final=False))
def test_every_reply_keeps_within_discords_limits(reply: Reply) -> None:
    post = outbound.post(reply)

    assert 1 <= len(post.parts) <= 12
    for part in post.parts:
        assert len(part.content) <= MESSAGE_CHARS
        assert len(part.artifacts) + len(part.texts) <= FILES_MOST
        assert part.content.strip() or part.artifacts or part.texts
        assert part.content == part.content.strip()
        assert part.content.count("```") % 2 == 0
    names = [button.custom_id for button in post.buttons]
    assert len(names) == len(set(names))
    assert all([button.row for button in post.buttons].count(row) <= 5 for row in range(2))
    assert all(len(name) <= 100 and outbound.pressed(name) is not None for name in names)


@example("`````", "")
@given(words, st.sampled_from(["", "python"]))
def test_nothing_gets_out_of_a_fence(text: str, language: str) -> None:
    made = fenced(text, language)

    assert made.count("```") == 2
    assert made.startswith("```") and made.endswith("\n```")


@given(long_words, st.integers(100, 1500), st.integers(2, 40))
def test_what_is_shortened_is_short(text: str, chars: int, lines: int) -> None:
    short, cut = shortened(text, chars, lines)

    assert len(short) <= chars and short.count("\n") <= lines + 2
    assert cut == (short != text)


@pytest.mark.parametrize(
    ("markdown", "seen"),
    [
        ("| a | b |\n|---|:-:|\n| 1 | 22 |\nafter", "```\na  b\n─  ──\n1  22\n```\nafter"),
        ("a | b\n--- | ---\n1 | 2", "```\na  b\n─  ─\n1  2\n```"),
        ("#### deep\n---\n## kept", "**deep**\n## kept"),
        ("````py\nx = '```'\n````", "```py\nx = '`\u200b`\u200b`'\n```"),
        ("~~~\nplain\n~~~", "```\nplain\n```"),
        ("```py\nnever closed", "```py\nnever closed\n```"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("`a | b` is\nno table", "`a | b` is\nno table"),
    ],
)
def test_markdown_that_discord_does_not_know_is_shown_as_it_can(markdown: str, seen: str) -> None:
    assert shown(markdown) == seen


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("<@1> plot it", "plot it"),
        ("<@!1>, plot it", "plot it"),
        ("hey <@1> plot for <@2>", "hey  plot for @Bob"),
        ("<@&3> and <#4> <:party:99>", "@Students and #general :party:"),
        ("<@9>", "@9"),
        ("<@&5> go", "go"),
    ],
)
def test_what_people_wrote_is_read_as_they_saw_it(written: str, text: str) -> None:
    assert said(written, frozenset({"1", "5"}), {"2": "Bob", "3": "Students", "4": "general"}) == text


def test_a_title_has_none_of_discords_marks() -> None:
    assert without_marks("plot <@1> in  <#2> <:x:3> 6 * 7") == "plot in 6 * 7"


@pytest.mark.parametrize(
    ("name", "safe"),
    [("plot.png", "plot.png"), ("../../e t c.png", "e_t_c.png"), ("ü😀.csv", "csv"), ("...", "file"), ("", "file")],
)
def test_names_of_files_are_what_discord_would_make_of_them(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert len(safe_name(name * 100)) <= 100
    assert re.fullmatch(r"[A-Za-z0-9._-]+", safe_name(name))


def test_the_keys_of_replies_make_different_nonces_that_are_short_enough() -> None:
    nonces = {outbound.nonce(f"t-{number}.{part}") for number in range(50) for part in range(4)}

    assert len(nonces) == 200
    assert all(len(nonce) <= 25 for nonce in nonces)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"token": "nonsense"}, "DISCORD_BOT_TOKEN"),
        ({"shards": "0"}, "THREADBOX_DISCORD_SHARDS"),
        ({"shards": "many"}, "THREADBOX_DISCORD_SHARDS"),
        ({"api_url": "discord.com"}, "DISCORD_API_URL"),
        ({"gateway_url": "https://x.example"}, "DISCORD_GATEWAY_URL"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        DiscordConfig(**{"token": "a.b.c", **settings})  # type: ignore[arg-type]


def test_only_discord_gives_files() -> None:
    config = DiscordConfig(token="a.b.c")

    assert config.is_discord_file("https://cdn.discordapp.com/attachments/1/2/a.csv?ex=1")
    for url in ("http://cdn.discordapp.com/a", "https://evil.example/a", "https://cdn.discordapp.com.evil.example/a"):
        assert not config.is_discord_file(url)
