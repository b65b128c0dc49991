"""Packages from an index on loopback that the image is configured for: installed from a cell, kept, brought back."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from sandbox import Output
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.egress import Network
from sandbox.engine import DockerEngine, connect
from sandbox.image_base import BaseImage
from sandbox.image_build import ImageSource, build_image
from sandbox.lease import Lease
from sandbox.reach import find_reach
from sandbox.service import SandboxService, ServiceSettings
from sandbox.snapshot import SnapshotLimits, Snapshots
from tests.doubles.tls_site import Site, names_are_loopback, tls_site

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


class IndexSource(ImageSource):
    """On a finished sandbox image, just what a build with another index and CA bundle writes into it."""

    def files(self) -> dict[str, bytes]:
        files = super().files()
        lines = re.sub(r"\\\n", "", files["Dockerfile"].decode()).splitlines()
        chosen = [line for line in lines if re.search(r"ARG PIP_INDEX_URL|threadbox-host|pip\.conf", line)]
        made = ["ARG BASE", "FROM ${BASE}", "USER root", *chosen, "USER 65532:65532"]
        return {"Dockerfile": "\n".join(made).encode(), "ca.pem": files["ca.pem"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with tls_site(tmp_path_factory.mktemp("site"), ["index.test"]) as running:
        yield running


@pytest.fixture(scope="module")
def configured(image: str, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of an operator whose index this is."""
    bundle = tmp_path_factory.mktemp("ca") / "bundle.pem"
    bundle.write_bytes(site.ca)
    index = f"https://index.test:{site.port}/simple"
    source = IndexSource(environment={"PIP_INDEX_URL": index, "SSL_CERT_FILE": str(bundle)})
    client = connect()
    build_image(client, source, BaseImage(name=image, image_id="", digest=""), print)
    yield source.tag
    client.api.remove_image(source.tag)
    client.close()


@asynccontextmanager
async def service(image: str, limits: SnapshotLimits | None = None) -> AsyncIterator[SandboxService]:
    """With mode `packages`, as the bot sets it up: pip in the image says where its index is."""
    engine = DockerEngine(image=image, instance=f"test-{os.urandom(4).hex()}")
    settings = ServiceSettings(admission=AdmissionSettings(free_mib=0))
    snapshots = Snapshots(Blobs.at("memory://"), limits)
    with pytest.MonkeyPatch.context() as patch:
        names_are_loopback(patch)
        reach = await find_reach(engine, "packages")
        async with SandboxService(
            engine, settings=settings, snapshots=snapshots, network=reach.network, egress=reach.egress
        ) as running:
            yield running
    assert await engine.containers() == []
    await engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes(configured: str) -> AsyncIterator[SandboxService]:
    async with service(configured) as running:
        yield running


async def output(lease: Lease, code: str, language: str = "python") -> str:
    return "".join([event.text async for event in lease.run(code, language) if isinstance(event, Output)])


@pytest.mark.parametrize(
    "install",
    [
        "!pip install tbhello",
        "%pip install tbhello",
        "import subprocess, sys; subprocess.check_call([sys.executable, '-m', 'pip', 'install', 'tbhello'])",
    ],
    ids=["shell", "magic", "subprocess"],
)
async def test_a_package_is_installed_as_agents_write_it_and_is_there_after_a_restore_without_a_network(
    sandboxes: SandboxService, site: Site, install: str
) -> None:
    """Case 46."""
    site.requests.clear()
    async with sandboxes.lease(install) as lease:
        printed = await output(lease, install)
        first = await output(lease, "import tbhello; print(tbhello.WORD)")
        await lease.put_away()
    asked = list(site.requests)

    async with sandboxes.lease(install, network=Network()) as lease:
        arrival = await lease.arrive()
        again = await output(lease, "import tbhello; print(tbhello.WORD)")
        listed = await output(lease, "pip list --user --format freeze", "bash")
        await lease.reset()

    assert first == "hello from the index\n", printed
    assert asked == ["/simple/tbhello/", "/files/tbhello-1.0-py3-none-any.whl"]
    assert arrival.kind == "restored" and arrival.summary is not None and arrival.summary.lost == ()
    assert (again, listed) == ("hello from the index\n", "tbhello==1.0\n")
    assert site.requests == asked


async def test_a_package_that_was_not_kept_is_named_and_installs_again(configured: str) -> None:
    """Case 46: half of it would be taken for installed."""
    async with service(configured, SnapshotLimits(files_mib=0)) as sandboxes:
        async with sandboxes.lease("a") as lease:
            await output(lease, "%pip install tbhello\nimport tbhello")
            await lease.put_away()
        async with sandboxes.lease("a") as lease:
            arrival = await lease.arrive()
            missed = await output(lease, "import tbhello")
            await output(lease, "%pip install tbhello")
            again = await output(lease, "import tbhello; print(tbhello.WORD)")

    assert arrival.summary is not None and arrival.summary.left_packages == ("tbhello==1.0",)
    assert "No module named 'tbhello'" in missed
    assert again == "hello from the index\n"


async def test_without_a_network_pip_says_so(sandboxes: SandboxService, site: Site) -> None:
    site.requests.clear()

    async with sandboxes.lease("off", network=Network()) as lease:
        printed = await output(lease, "%pip install tbhello")
        await lease.reset()

    assert "403 the network is off in this sandbox" in printed
    assert site.requests == []


async def test_with_the_index_there_is_still_no_other_way_out(sandboxes: SandboxService, site: Site) -> None:
    """Cases 35, 36: neither names, nor addresses, nor an interface."""
    code = f"""
import socket
def attempt(kind, place):
    try:
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(2); s.connect(place); s.send(b'x'); return f'answered {{s.recv(100)}}'
    except OSError as error: return 'refused'
print([line.split(':')[0].strip() for line in list(open('/proc/net/dev'))[2:]])
for host in ('1.1.1.1', '10.0.0.1', '172.17.0.1', '169.254.169.254', '127.0.0.1'):
    print(attempt(socket.SOCK_STREAM, (host, {site.port})), attempt(socket.SOCK_DGRAM, (host, 53)))
for name in ('index.test', 'host.docker.internal'):
    try: print(socket.getaddrinfo(name, 443))
    except OSError: print('unknown')
"""

    async with sandboxes.lease("direct") as lease:
        interfaces, *said = (await output(lease, code)).splitlines()
        installed = await output(lease, "%pip install tbhello")
        await lease.reset()

    assert interfaces == "['lo']"
    assert said == ["refused refused"] * 5 + ["unknown"] * 2
    assert "Successfully installed tbhello-1.0" in installed
