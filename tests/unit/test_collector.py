from __future__ import annotations

import gc

import pytest

from bot.collector import settling


def test_what_a_start_made_is_gone_through_no_more_and_the_collector_works_on() -> None:
    before = gc.get_freeze_count()

    with settling():
        assert not gc.isenabled()
        made = [[n] for n in range(1000)]

    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_a_start_that_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(OSError), settling():
        raise OSError

    assert gc.isenabled()
