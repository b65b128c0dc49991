"""The tests that need no service, in several processes that begin as one: what costs seconds to import is imported once.

python -W error -m tests.parts
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NO_SERVICE = "not docker and not browser and not postgres"
REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # of plugins, by what is shared
SHARED = (
    "bot.app",
    "bot.durable",
    "bot.agent.autogen",
    "adapters.discord",
    "adapters.slack",
    "hypothesis",
    "moto.server",
)
GROUPS = (
    ("tests/integration/test_discord_*.py", ("gaps",)),
    ("tests/integration/test_discord_*.py", ("recovery", "traps")),
    ("tests/integration/test_discord_*.py", ("faults", "setup")),
    ("tests/integration/test_discord_*.py", ()),
    ("tests/integration/test_slack*.py", ("faults", "rights")),
    ("tests/integration/test_slack*.py", ()),
    ("tests/contracts/*.py", ("sandbox", "network", "output", "start")),
    ("tests/contracts/*.py", ()),
    ("tests/integration/*.py", ("autogen", "models", "steering", "turns", "vision", "intake", "resume")),
    ("tests/integration/*.py", ()),
    ("tests/unit/*.py", ()),
)
"""Each takes what those before it left: a pattern, and of what it finds only names that end so, if any are given."""


def parts() -> list[list[str]]:
    """The modules of each process; a module that no group names is in one by its folder."""
    taken: set[Path] = set()
    found = []
    for pattern, ends in GROUPS:
        modules = [path for path in sorted(ROOT.glob(pattern)) if path.name.startswith("test_") and path not in taken]
        modules = [path for path in modules if not ends or path.stem.endswith(ends)]
        taken.update(modules)
        found.append([str(path) for path in modules])
    return found


def main() -> int:
    """How the worst of them ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what others import; the tests themselves fail at a warning
        for name in SHARED:
            importlib.import_module(name)
    gc.freeze()
    running = []
    for modules in parts():
        pid = os.fork()
        if pid == 0:
            status = pytest.main([*modules, "-m", NO_SERVICE, "-W", REWRITTEN])
            sys.stdout.flush()
            os._exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)
        running.append(pid)
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running)


if __name__ == "__main__":
    sys.exit(main())
