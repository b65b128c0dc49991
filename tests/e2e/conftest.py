"""A model to script, and nothing left: a Threadbox that stops leaves its threads' sandboxes for the next start: here there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.doubles.model_server import ModelServer, model_server
from tests.e2e.browsing import chromium
from tests.e2e.threadbox import remove_containers


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    remove_containers(tmp_path)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
