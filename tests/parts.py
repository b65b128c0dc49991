"""Tests that need no service, in several processes that begin as one: what costs seconds to import is imported once.

python -W error -m tests.parts [core | platforms]

`platforms` are the whole bot beside a Slack or a Discord on loopback, and what is asked of every platform; `core` is all
else, but for what is `THOROUGH`, or marked so, and with fewer rounds and examples (tests/quick.py). make test has all.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bot.collector import relax
from tests.doubles.template import template
from tests.quick import QUICK

TESTS = Path(__file__).parent
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30
PART = "not docker and not browser and not postgres and not thorough"
REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # of plugins, by what is shared
PROPERTIES = (
    "unit"  # the folder whose tests need Hypothesis; its plugin costs every other process a quarter of a second
)
LIBRARY = ("sandbox.service", "sandbox.image_build", "pytest_asyncio.plugin", "tests.doubles.scripted_box")
BOT = (
    "bot.app", "bot.durable", "bot.agent.autogen", "hypothesis", "openai.resources.chat.completions",
    "tests.doubles.model_server", "tests.doubles.bot",
)  # fmt: skip
PLATFORMS = (
    *BOT,
    "simcord",
    "adapters.web.server",
    *(f"tests.doubles.{name}" for name in ("discord_bot", "slack_bot", "slack_people")),
)
THOROUGH = {
    "test_cancelled", "test_create_cancelled", "test_cut_again", "test_cuts", "test_egress_bounds", "test_fairness",
    "test_faults", "test_fuzz_link", "test_fuzz_streams", "test_handover", "test_host_proxy", "test_life", "test_races",
    "test_resume", "test_start_refused", "test_step_results", "test_upgrade",
}  # fmt: skip
"""Modules of faults, cuts, races and second lives: what an ordinary change seldom touches, and most of the seconds."""
GROUPS: dict[str, tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]] = {
    "platforms": (
        (PLATFORMS, "integration/test_discord*.py", ("gaps",)),
        (PLATFORMS, "integration/test_discord*.py", ("recovery", "traps")),
        (PLATFORMS, "integration/test_discord*.py", ("faults", "setup")),
        (PLATFORMS, "integration/test_discord*.py", ()),
        (PLATFORMS, "integration/test_slack*.py", ("faults", "rights")),
        (PLATFORMS, "integration/test_slack*.py", ()),
        (PLATFORMS, "*/test_platform*.py", ()),
    ),
    "core": (
        (LIBRARY, "contracts/*.py", ("sandbox", "network", "output", "start", "stream", "blobs", "snapshot")),
        (
            LIBRARY,
            "integration/*.py",
            ("pool", "admission", "service", "guard", "streams", "command", "forgetting", "lease"),
        ),
        (BOT, "integration/*.py", ("models",)),
        (BOT, "integration/*.py", ("turns", "intake", "vision", "steering")),
        (BOT, "integration/*.py", ()),
        (BOT, "unit/*.py", ()),
        (BOT, "contracts/*.py", ()),
    ),
}
"""What is imported before each begins; and its modules, of those that the ones before it left: a pattern, and of what it
finds only names that end so, if any are given."""


def parts(which: str) -> list[tuple[tuple[str, ...], list[str]]]:
    """Imports and modules of each process; a module that no group names is in one by its folder."""
    taken: set[Path] = set()
    found = []
    for name, groups in GROUPS.items():
        for needed, pattern, ends in groups:
            modules = [path for path in sorted(TESTS.glob(pattern)) if path.stem.startswith("test_")]
            modules = [path for path in modules if path not in taken and path.stem not in THOROUGH]
            modules = [path for path in modules if not ends or path.stem.endswith(ends)]
            taken.update(modules)
            if name == which:
                found.append((needed, [str(path) for path in modules]))
    return found


def begin(work: Callable[[], int]) -> int:
    """The process that does it and ends with what it returns."""
    gc.freeze()
    if pid := os.fork():
        return pid
    status = 1
    try:
        status = work()
    except Exception:  # noqa: BLE001 - it ends here: what stands further up is the parent's to end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(running: list[int]) -> int:
    """How the worst of them ended."""
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in running)  # a killed one's is below 0


def branch(needed: tuple[str, ...], runs: list[list[str]]) -> int:
    """What needs the same, imported once."""
    template()
    for name in needed:
        importlib.import_module(name)
    if needed != LIBRARY:
        _empty_database()
    return ended([begin(partial(test, modules)) for modules in runs])


def test(modules: list[str]) -> int:
    """One process's tests."""
    warnings.resetwarnings()
    warnings.simplefilter("error")
    plugins = [] if any(Path(module).parent.name == PROPERTIES for module in modules) else ["-p", "no:hypothesispytest"]
    base = f"--basetemp={tempfile.gettempdir()}/{os.getpid()}"  # short: the path of a socket has 108 bytes
    status = pytest.main([*modules, *plugins, "-m", PART, "-W", REWRITTEN, base])
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else int(status)


def _empty_database() -> None:
    """Made once."""
    from tests.doubles.database import empty  # not where no bot is needed

    empty()


@contextmanager
def folder() -> Iterator[None]:
    """One for temporary files, in memory where there is room: a seventh of the time went into files that live for a test."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    with TemporaryDirectory(prefix="tb-", dir=MEMORY if has_room else None) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        yield


def main(which: str = "core") -> int:
    """How the worst of them ended."""
    os.environ[QUICK] = "1"
    warnings.simplefilter("ignore")  # of what others import; the tests themselves fail at a warning
    with folder():
        template()
        relax()
        branches = groupby(parts(which), key=itemgetter(0))
        return ended([begin(partial(branch, needed, [modules for _, modules in group])) for needed, group in branches])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
