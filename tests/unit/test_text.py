from __future__ import annotations

import pytest

from bot.text import (
    CodeBlock,
    code_blocks,
    cut_middle,
    file_name,
    halves,
    in_code_block,
    printable,
    size_words,
    title_of,
    within_bytes,
)


def test_fenced_blocks_are_found_in_order_with_their_language() -> None:
    text = "do\n```python\nprint(1)\n```\nand\n~~~BASH\nls\n~~~\nand\n```\nx\n```"

    assert code_blocks(text) == [
        CodeBlock("python", "print(1)\n"),
        CodeBlock("bash", "ls\n"),
        CodeBlock("python", "x\n"),
    ]


def test_a_fence_behind_words_counts() -> None:
    assert code_blocks("run this: ```py\nprint(1)\n``` please\n```") == [CodeBlock("py", "print(1)\n``` please\n")]
    assert code_blocks("run ```\nprint(1)\n```") == [CodeBlock("python", "print(1)\n")]


def test_a_fence_inside_a_longer_fence_belongs_to_the_code() -> None:
    assert code_blocks("````python\nprint('''\n```\n''')\n````") == [CodeBlock("python", "print('''\n```\n''')\n")]


def test_a_fence_on_one_line_counts() -> None:
    assert code_blocks("```print(1)```") == [CodeBlock("python", "print(1)")]


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("hello", False),
        ("run this: ```python", True),
        ("```\nprint(1)", True),
        ("```\nprint(1)\n```", False),
        ("````\n```\n", True),
        ("```\n1\n```\n~~~\n```", True),
        ("```print(1)```", False),
    ],
)
def test_a_code_block_is_open_until_its_own_fence_comes(text: str, is_open: bool) -> None:
    assert in_code_block(text) is is_open


def test_text_without_a_fence_has_no_code() -> None:
    assert code_blocks("plot a `sine` wave") == []


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("50%\r100%\ndone", "100%\ndone"),
        ("a\x00b\x08c", "a\ufffdb\ufffdc"),
        ("evil\u202etxt.exe", "evil\ufffdtxt.exe"),
        ("line\r\nnext", "line\nnext"),
    ],
)
def test_output_is_made_fit_to_show(raw: str, shown: str) -> None:
    assert printable(raw) == shown


def test_the_middle_is_cut_and_counted() -> None:
    text, left_out = cut_middle("a" * 500 + "b" * 500, 100)

    assert left_out == 900
    assert text.startswith("a" * 50 + "\n[… 900 characters left out …]")
    assert text.endswith("b" * 50)


def test_head_and_tail_of_what_was_cut_are_found_again() -> None:
    assert halves(cut_middle("a" * 50 + "b" * 50, 10)[0], 10) == ("aaaaa", "bbbbb")
    assert halves("short", 10) is None


@pytest.mark.parametrize("character", ["a", "é", "€", "🙂"])
@pytest.mark.parametrize("limit", [60, 61, 62, 63])
def test_a_bound_in_bytes_holds_and_cuts_no_character(character: str, limit: int) -> None:
    text, cut = within_bytes(character * 1000, limit)
    head, _, tail = text.partition("\n[…]\n")

    assert cut
    assert limit - 8 <= len(text.encode()) <= limit
    assert set(head) == set(tail) == {character}


def test_what_is_within_a_bound_in_bytes_stays_as_it_is() -> None:
    assert within_bytes("🙂" * 4, 16) == ("🙂" * 4, False)
    assert within_bytes("\ud800", 16) == ("?", False)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ('a"b\r\nc.txt', "a_b__c.txt"),
        ("...", "file"),
        ("", "file"),
        ("x" * 300 + ".csv", "x" * 96 + ".csv"),
        ("ünïcode.png", "ünïcode.png"),
    ],
)
def test_a_hostile_name_becomes_a_plain_one(path: str, name: str) -> None:
    assert file_name(path) == name


def test_sizes_are_said_as_people_say_them() -> None:
    assert [size_words(n) for n in (12, 4_200, 3_500_000, 2_000_000_000)] == ["12 B", "4.2 KB", "3.5 MB", "2.0 GB"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("\n\n  hello  \nmore", "hello"),
        ("```\n```", ""),
        ("", ""),
        ("abcdef", "abcd"),
    ],
)
def test_the_title_of_a_message_is_its_first_line_that_says_something(text: str, title: str) -> None:
    assert title_of(text, 4 if text == "abcdef" else 80) == title
