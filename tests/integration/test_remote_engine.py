"""An engine on a TCP port, with TLS and without: calls, streams and cells, for the bot and for engine-guard."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from sandbox import Limits, Sandbox
from sandbox.engine import DockerEngine
from sandbox.engine_address import client_parameters, engine_place
from sandbox.errors import EngineUnavailable
from sandbox.guard_create import GuardLimits
from tests.contracts.runs import run, text
from tests.doubles.guard import guarding
from tests.doubles.remote_engine import remote_engine
from tests.doubles.tls_site import certificate

pytestmark = pytest.mark.docker
LIMITS = Limits(memory_mib=256, workspace_mib=64)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's, which wants the client's certificate; in the folder there is what DOCKER_CERT_PATH wants."""
    authority = certificate(tmp_path, ["localhost"])
    (tmp_path / "ca.pem").write_bytes(authority)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((tmp_path / "site.pem").read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.decode())
    context.load_cert_chain(tmp_path / "site.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def prints(engine: DockerEngine, code: str) -> str:
    box = await Sandbox.start(engine, os.urandom(6).hex(), LIMITS)
    try:
        return text(await run(box, code))
    finally:
        await box.remove()


async def test_an_engine_on_a_port_runs_cells(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # a guard's and a proxy's are other tests; this is what DOCKER_HOST=tcp://... gives
    async with remote_engine() as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        engine = DockerEngine(image=image, instance=f"tcp-{os.urandom(4).hex()}")

        assert await prints(engine, "print('x' * 100_000)") == "x" * 100_000 + "\n"
        assert await engine.containers() == []
        await engine.aclose()


async def test_an_engine_with_tls_runs_cells_and_so_does_one_behind_the_guard(
    image: str, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = tmp_path / "guard.sock"
    async with remote_engine(tls) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        direct = DockerEngine(image=image, instance=f"tls-{os.urandom(4).hex()}")
        guarded = DockerEngine(image=image, instance=f"tls-{os.urandom(4).hex()}", base_url=f"unix://{listen}")

        assert await prints(direct, "print('x' * 100_000)") == "x" * 100_000 + "\n"
        async with guarding(listen, engine_place(client_parameters()), image, GuardLimits()):
            assert await prints(guarded, "print(6 * 7)") == "42\n"
        for engine in (direct, guarded):
            await engine.aclose()


async def test_an_engine_whose_certificate_is_not_the_authoritys_gets_no_word(
    image: str, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "ca.pem").write_bytes(certificate(other, ["localhost"]))
    async with remote_engine(tls) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        engine = DockerEngine(image=image, instance="never")

        with pytest.raises(EngineUnavailable, match=r"does not answer .*certificate"):
            await engine.create("a", LIMITS)
        await engine.aclose()
