"""What the whole bot is asked on a loopback Slack as on a loopback Discord, and how it is started there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.doubles.model_server import ModelServer
from tests.e2e.threadbox import Process, threadbox

THREADS, CHANNELS = 40, 10
EACH = 5  # mentions in each of the threads
ANSWER = re.compile(r"Answer to <(\S+)>")
PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 4, 9])
plt.show()
rows = 3
open('squares.csv', 'w').write('1,4,9')
print('drawn')
"""


def echo(body: dict[str, Any]) -> str:
    """What the model says: the last word that it was asked."""
    asked = [message["content"] for message in body["messages"] if message["role"] == "user"][-1]
    return f"Answer to <{asked.rpartition(' ')[2]}>."


def answers(said: Iterable[str]) -> list[str]:
    """The words that `echo` was asked and that are answered, once for each message that says so."""
    return [match[1] for text in said if (match := ANSWER.search(text))]


EVERY_ANSWER = sorted(f"{thread}-{number}" for thread in range(THREADS) for number in range(EACH))


@asynccontextmanager
async def running(folder: Path, model: ModelServer, settings: dict[str, str]) -> AsyncIterator[Process]:
    """`threadbox run`, as tests/e2e/threadbox.py starts it, beside servers of this event loop."""
    context = threadbox(
        folder,
        OPENAI_BASE_URL=model.url,
        THREADBOX_MODEL="scripted",
        THREADBOX_TURNS_PER_PERSON="500",
        THREADBOX_TURNS_RUNNING_PER_PERSON="500",
        **settings,
    )
    process = await asyncio.to_thread(context.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
