"""What several suites share: the engines, and what to do when a service is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from _pytest.unraisableexception import gc_collect_iterations_key

from bot.collector import relax
from sandbox.engine import DockerEngine, connect
from sandbox.errors import SandboxError
from sandbox.image_build import ImageSource, ensure_image
from tests.doubles.gvisor import GvisorEngine
from tests.doubles.process_engine import ProcessEngine
from tests.quick import QUICK

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # loopback servers are reached directly
relax()  # a tenth of the time went to collections that found next to nothing
CI = os.environ.get("CI") == "true"
# the pretty tracebacks of its default take half a second each
structlog.configure(processors=[*structlog.get_config()["processors"][:-1],
                                structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])  # fmt: skip


def missing(service: str, error: object) -> None:
    """A missing service skips at home and fails in CI."""
    if CI:
        pytest.fail(f"{service} is missing: {error}")
    pytest.skip(f"{service} is missing: {error}")


def pytest_configure(config: pytest.Config) -> None:
    """`make unit` does without the collection at a process's end that finds what cycles hold open; make test has it."""
    if os.environ.get(QUICK):
        config.stash[gc_collect_iterations_key] = 0


@pytest.hookimpl(tryfirst=True)  # before some are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for gVisor starts an engine and tells it of the image."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        if "gvisor" in getattr(item, "fixturenames", ()) or (chosen and "gvisor" in chosen.params.values()):
            item.add_marker(pytest.mark.gvisor)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that end in .invalid are unknown at once; a resolver that nobody answers takes many seconds for it."""
    look_up = socket.getaddrinfo

    def known(host: str, *arguments: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", known)


@pytest.fixture(scope="session")
def image() -> str:
    """The sandbox image's tag, built if need be."""
    try:
        connect().close()
        return ensure_image(ImageSource(environment=os.environ), print)
    except SandboxError as error:
        missing("the Docker Engine", error)
        raise


@pytest.fixture(scope="session")
def gvisor(image: str) -> Iterator[GvisorEngine]:
    """A second engine, whose containers gVisor runs."""
    folder = Path(tempfile.mkdtemp(prefix="tb-gvisor-"))  # short: its socket's path has 108 bytes
    try:
        engine = GvisorEngine.start(folder, image)
    except RuntimeError as error:
        shutil.rmtree(folder, ignore_errors=True)
        missing("gVisor", error)
        raise
    yield engine
    engine.own.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def docker_engine(image: str) -> AsyncIterator[DockerEngine]:
    """The real engine; a test that leaves a container behind fails."""
    engine = DockerEngine(image=image, instance=f"test-{os.urandom(4).hex()}")
    yield engine
    left = await engine.containers()
    for container in left:
        await engine.remove(container.container_id)
    await engine.aclose()
    assert left == []


@pytest.fixture
async def process_engine() -> AsyncIterator[ProcessEngine]:
    """The engine without Docker."""
    engine = ProcessEngine()
    yield engine
    await engine.aclose()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of our own on a unix socket, started from the machine's binaries."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        missing("PostgreSQL", "nothing in /usr/lib/postgresql")
    folder = Path(tempfile.mkdtemp(prefix="threadbox-pg-"))
    folder.chmod(0o777)
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    pg = str(binaries[-1])

    def run(*command: str) -> None:
        subprocess.run([*as_postgres, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    run(f"{pg}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "threadbox", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    run(f"{pg}/pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")
    yield str(folder)
    run(f"{pg}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_postgres_url(postgres_server: str) -> Callable[[], str]:
    """Makes an empty database on it at each call."""
    psql = shutil.which("psql") or f"{sorted(Path('/usr/lib/postgresql').glob('*/bin'))[-1]}/psql"

    def create() -> str:
        name = f"t{os.urandom(4).hex()}"
        command = ["-h", postgres_server, "-U", "threadbox", "-q", "-c", f"CREATE DATABASE {name}", "postgres"]
        subprocess.run([psql, *command], check=True)
        return f"postgresql+asyncpg://threadbox@/{name}?host={postgres_server}"

    return create
