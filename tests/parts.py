"""Tests that need no service, in several processes that begin as one: what costs seconds to import is imported once.

python -W error -m tests.parts [core | platforms]

`platforms` are the whole bot beside a Slack or a Discord on loopback; `core` is all else.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import warnings
from pathlib import Path

import pytest

from bot.collector import relax
from tests.doubles.template import template
from tests.quick import QUICK

TESTS = Path(__file__).parent
PART = "not docker and not browser and not postgres and not thorough"
REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # of plugins, by what is shared
PROPERTIES = (
    "unit"  # the folder whose tests need Hypothesis; its plugin costs every other process a quarter of a second
)
LIBRARY = ("sandbox.service", "sandbox.image_build", "pytest_asyncio.plugin", "tests.doubles.scripted_box")
BOT = (
    "bot.app", "bot.durable", "bot.agent.autogen", "adapters.discord", "adapters.slack", "alembic.command", "hypothesis",
)  # fmt: skip
BLOBS = ("moto.server", "sandbox.snapshot")
PLATFORMS = (*BOT, "simcord", *(f"tests.doubles.{name}" for name in ("discord_bot", "slack_bot", "slack_people")))
GROUPS: dict[str, tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]] = {
    "platforms": (
        (PLATFORMS, "integration/test_discord*.py", ("gaps",)),
        (PLATFORMS, "integration/test_discord*.py", ("recovery", "traps")),
        (PLATFORMS, "integration/test_discord*.py", ("faults", "setup")),
        (PLATFORMS, "integration/test_discord*.py", ()),
        (PLATFORMS, "integration/test_slack*.py", ("faults", "rights")),
        (PLATFORMS, "integration/test_slack*.py", ()),
    ),
    "core": (
        (LIBRARY, "integration/*.py", ("cuts", "cut_again")),
        (LIBRARY, "integration/*.py", ("test_faults", "pool", "admission")),
        (LIBRARY, "integration/*.py", ("service", "handover", "races")),
        (LIBRARY, "contracts/*.py", ("sandbox", "stream", "network", "output", "start")),
        (LIBRARY, "integration/*.py", ("life", "forgetting")),
        (LIBRARY, "integration/*.py", ("guard", "streams", "command")),
        (BLOBS, "contracts/*.py", ("blobs", "snapshot")),
        (BOT, "contracts/*.py", ("upgrade",)),
        (BOT, "contracts/*.py", ("step_results", "queue")),
        (BOT, "integration/*.py", ("models", "vision")),
        (BOT, "contracts/*.py", ("platform", "agent", "clock")),
        (BOT, "contracts/*.py", ()),
        (BOT, "integration/*.py", ("turns", "intake", "resume", "steering")),
        (BOT, "integration/*.py", ()),
        (BOT, "unit/*.py", ()),
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
            modules = [path for path in modules if path not in taken and (not ends or path.stem.endswith(ends))]
            taken.update(modules)
            if name == which:
                found.append((needed, [str(path) for path in modules]))
    return found


def begin(modules: list[str]) -> int:
    """The process that runs them."""
    gc.freeze()
    if pid := os.fork():
        return pid
    plugins = [] if any(Path(module).parent.name == PROPERTIES for module in modules) else ["-p", "no:hypothesispytest"]
    status = pytest.main([*modules, *plugins, "-m", PART, "-W", REWRITTEN])
    sys.stdout.flush()
    os._exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)


def _migrate() -> None:
    """An empty database, once."""
    from tests.doubles.database import migrated  # not before those have begun that need no bot

    asyncio.run(migrated())


def main(which: str = "core") -> int:
    """How the worst of them ended."""
    running = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what others import; the tests themselves fail at a warning
        os.environ[QUICK] = "1"
        template()
        relax()
        for needed, modules in parts(which):
            for name in needed:
                importlib.import_module(name)
            if needed not in (LIBRARY, BLOBS):
                _migrate()
            running.append(begin(modules))
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
