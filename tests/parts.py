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

from tests.doubles.database import migrated
from tests.doubles.template import template

ROOT = Path(__file__).resolve().parents[1]
NO_SERVICE = "not docker and not browser and not postgres"
REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # of plugins, by what is shared
SHARED = ("bot.app", "bot.durable", "bot.agent.autogen", "adapters.discord", "adapters.slack", "alembic.command")
MORE = {
    "core": ("hypothesis", "moto.server", "tests.doubles.scripted_box", "tests.doubles.tls_site"),
    "platforms": ("simcord", *(f"tests.doubles.{name}" for name in ("discord_bot", "slack_bot", "slack_people"))),
}
GROUPS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "platforms": (
        ("tests/integration/test_discord*.py", ("gaps",)),
        ("tests/integration/test_discord*.py", ("recovery", "traps")),
        ("tests/integration/test_discord*.py", ("faults", "setup")),
        ("tests/integration/test_discord*.py", ()),
        ("tests/integration/test_slack*.py", ("faults", "rights")),
        ("tests/integration/test_slack*.py", ()),
    ),
    "core": (
        ("tests/contracts/*.py", ("sandbox", "network", "output", "start")),
        ("tests/contracts/*.py", ()),
        ("tests/integration/*.py", ("models", "steering", "vision")),
        ("tests/integration/*.py", ("turns", "intake", "resume", "races")),
        ("tests/integration/*.py", ("faults", "service")),
        ("tests/integration/*.py", ()),
        ("tests/unit/*.py", ()),
    ),
}
"""Each takes what those before it left, in this order: a pattern, and of what it finds only names that end so, if any
are given."""


def parts(which: str) -> list[list[str]]:
    """The modules of each process; one that no group names is in one by its folder."""
    taken: set[Path] = set()
    found: dict[str, list[list[str]]] = {}
    for name, groups in GROUPS.items():
        found[name] = []
        for pattern, ends in groups:
            modules = [
                path for path in sorted(ROOT.glob(pattern)) if path.name.startswith("test_") and path not in taken
            ]
            modules = [path for path in modules if not ends or path.stem.endswith(ends)]
            taken.update(modules)
            found[name].append([str(path) for path in modules])
    return found[which]


def begin(modules: list[str]) -> int:
    """The process that runs them."""
    gc.freeze()
    if pid := os.fork():
        return pid
    status = pytest.main([*modules, "-m", NO_SERVICE, "-W", REWRITTEN])
    sys.stdout.flush()
    os._exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)


def main(which: str = "core") -> int:
    """How the worst of them ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what others import; the tests themselves fail at a warning
        for name in (*SHARED, *MORE[which]):
            importlib.import_module(name)
        asyncio.run(migrated())
    template()
    running = [begin(modules) for modules in parts(which)]
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
