"""What the code of SandboxCodeExecutor can reach: nothing, the index, or what its user named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock

from sandbox.autogen import NetworkConfig, SandboxCodeExecutor
from tests.doubles.tls_site import Site, names_are_loopback, tls_site

pytestmark = pytest.mark.docker
GET = """
import requests
def get(url):
    try:
        return requests.get(url, verify='ca.pem', timeout=20).text
    except requests.exceptions.RequestException as error:
        return str(error)
"""


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    names_are_loopback(monkeypatch)
    async with tls_site(tmp_path, ["index.test", "other.test"], 10) as running:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "ca.pem").write_bytes(running.ca)
        yield running


async def printed(executor: SandboxCodeExecutor, code: str) -> str:
    return (await executor.execute_code_blocks([CodeBlock(code=code, language="python")], CancellationToken())).output


async def test_the_hosts_of_an_allowlist_are_reached_after_a_restart_too_and_no_other(
    image: str, site: Site, tmp_path: Path
) -> None:
    network = NetworkConfig(mode="allowlist", hosts=["index.test"], trusted=[f"index.test:{site.port}"])
    word = f"{GET}print(get('https://index.test:{site.port}/word'))"
    async with SandboxCodeExecutor(image=image, network=network, work_dir=tmp_path / "work") as executor:
        first = await printed(executor, word)
        other = await printed(executor, f"print(get('https://other.test:{site.port}/word'))")
        await executor.restart()
        again = await printed(executor, word)

    assert (first, again) == ("the word\n", "the word\n")
    assert "other.test is not among the hosts" in other


async def test_with_packages_the_image_says_what_is_reached(image: str, site: Site, tmp_path: Path) -> None:
    index = (
        "import subprocess, sys\n"
        "print(subprocess.run([sys.executable, '-m', 'pip', 'download', '--no-deps', 'tb-no-such-package'],"
        " capture_output=True, text=True).stderr)"
    )
    async with SandboxCodeExecutor(image=image, network="packages", work_dir=tmp_path / "work") as executor:
        other = await printed(executor, f"{GET}print(get('https://other.test:{site.port}/word'))")
        said = await printed(executor, index)

    assert "other.test is not among the hosts" in other
    assert "is not among the hosts" not in said


async def test_the_network_survives_dump_and_load_and_is_off_unless_asked_for() -> None:
    network = NetworkConfig(mode="allowlist", hosts=["example.org"])

    loaded = SandboxCodeExecutor.load_component(SandboxCodeExecutor(network=network).dump_component())

    assert loaded._to_config().network == network
    assert SandboxCodeExecutor()._to_config().network == "off"
    with pytest.raises(ValueError, match="no host is named"):
        SandboxCodeExecutor(network="allowlist")
