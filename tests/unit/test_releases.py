"""Whose turns may go into the queue."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.releases import Claim, may_begin


def claims(text: str) -> list[Claim]:
    """From words such as `x1a`: thread x, its first turn, asked by a; with a + after it, released."""
    return [
        Claim(turn_id=word[:2], thread_id=word[0], person=word[2], is_released=word.endswith("+"))
        for word in text.split()
    ]


@pytest.mark.parametrize(
    ("there", "released"),
    [
        ("", ""),
        ("x1a", "x1"),
        ("x1a y1a z1a", "x1 y1"),  # the third of one person waits
        ("x1a+ y1a+ z1a", ""),
        ("x1a+ z1a", "z1"),  # one of theirs has ended
        ("x1a+ y1a+ z1a w1b", "w1"),  # others overtake
        ("x1a+ y1a+ x2a x3a", "x2 x3"),  # in a thread where one of theirs runs, they come one after another anyway
        ("x1a+ y1a+ z1a z2b", ""),  # nobody overtakes within a thread
        ("x1a+ y1a+ z1b z2a z3b", "z1"),
        ("x1a+ z1a z2b", "z1 z2"),
        ("x1a y1a z1a z2a", "x1 y1"),
        ("x2a x1a", "x1"),  # where a clock was set back, the number of arrival counts; the other follows the next time
    ],
)
def test_two_threads_of_a_person_at_a_time_and_the_order_of_each_thread(there: str, released: str) -> None:
    assert [claim.turn_id for claim in may_begin(claims(there), 2)] == released.split()


asked = st.lists(st.tuples(st.sampled_from("xyzvw"), st.sampled_from("abc"), st.booleans()), max_size=20)


@given(asked, st.integers(1, 3))
def test_nobody_has_more_and_nobody_waits_for_nothing_and_a_threads_order_stays(
    turns: list[tuple[str, str, bool]], most: int
) -> None:
    there: list[Claim] = []
    held: set[str] = set()
    counts: defaultdict[str, int] = defaultdict(int)
    threads: defaultdict[str, set[str]] = defaultdict(set)
    for thread, person, wanted in turns:  # what is released already obeys the rule
        may = wanted and thread not in held and (thread in threads[person] or len(threads[person]) < most)
        (threads[person].add if may else held.add)(thread)
        counts[thread] += 1
        there.append(Claim(turn_id=f"{thread}{counts[thread]:02}", thread_id=thread, person=person, is_released=may))
    released = {claim.turn_id for claim in may_begin(there, most)}

    after = [(claim, claim.is_released or claim.turn_id in released) for claim in there]
    for person in "abc":
        assert len({claim.thread_id for claim, runs in after if runs and claim.person == person}) <= most
    for thread in "xyzvw":
        runs = [runs for claim, runs in after if claim.thread_id == thread]
        assert runs == sorted(runs, reverse=True)
    again = [
        Claim(turn_id=claim.turn_id, thread_id=claim.thread_id, person=claim.person, is_released=runs)
        for claim, runs in after
    ]
    assert may_begin(again, most) == []
