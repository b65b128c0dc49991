"""An update of the sandbox image tells what changed in it, and removes what was there before as far as it is not used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import docker
import pytest
from docker.errors import ImageNotFound

from sandbox.engine import connect
from sandbox.image_build import ImageSource
from sandbox.image_contents import changes, contents
from sandbox.image_store import Update, update_image
from tests.doubles.registry import Registry, registry

PLACE = "import sysconfig; print(sysconfig.get_path('purelib') + '/thing-1.dist-info')"


@dataclass(frozen=True, kw_only=True)
class SmallSource(ImageSource):
    """The sandbox image, and of its base the one file: a package's description, of Debian's and of Python's kind."""

    ready: str

    def files(self) -> dict[str, bytes]:
        lines = [
            "ARG BASE",
            "FROM ${BASE} AS base",
            f"FROM {self.ready}",
            "USER root",
            "COPY --from=base /what /var/lib/dpkg/status",
            f'RUN place="$(python3 -Ic "{PLACE}")" && mkdir "$place" && cp /var/lib/dpkg/status "$place/METADATA"',
        ]
        return {"Dockerfile": "\n".join(lines).encode()}

    @property
    def tag(self) -> str:
        """In a repository of its own: what others have is not ours to remove."""
        return f"{self.base.rpartition(':')[0].replace('/base', '/sandbox')}:built"


class Updates:
    """Updates on what a registry has at the time."""

    def __init__(self, served: Registry, image: str) -> None:
        self.source = SmallSource(base=served.name, environment={}, ready=image)
        self._served = served

    def to(self, version: str) -> tuple[Update, str]:
        """What an update to a base with this version of the package did; and the base's digest."""
        words = "Status: install ok installed\nMaintainer: Me\nArchitecture: all\nDescription: It\n"
        digest = self._served.publish(f"Package: thing\nName: thing\nVersion: {version}\n{words}")
        return update_image(self.source, print), digest


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture
def updates(client: docker.DockerClient, image: str) -> Iterator[Updates]:
    with registry() as served:
        updates = Updates(served, image)
        yield updates
        built = client.images.list(filters={"label": f"threadbox.base={served.name}"})
        bases = [name for base in client.images.list(name=served.repository) for name in base.attrs["RepoDigests"]]
        for reference in (*(each.id for each in built), served.name, *bases):
            with contextlib.suppress(ImageNotFound):
                client.images.remove(reference, force=True)


def image_id(client: docker.DockerClient, updates: Updates) -> str:
    return str(client.images.get(updates.source.tag).id)


@pytest.mark.docker
def test_an_update_tells_changes_of_every_kind_and_removes_the_image_and_the_base_before(
    client: docker.DockerClient, updates: Updates
) -> None:
    first, first_base = updates.to("1")
    before = image_id(client, updates)
    second, second_base = updates.to("2")

    assert (first.is_first, first.changed, first.removed) == (True, (), ())
    assert not second.is_first
    assert second.changed == ("thing 1 -> 2", "thing (Debian) 1 -> 2")
    assert second.removed == (before, first_base)
    assert client.images.get(second_base).attrs["Id"]
    with pytest.raises(ImageNotFound):
        client.images.get(before)


@pytest.mark.docker
def test_an_image_in_use_goes_with_a_later_update(client: docker.DockerClient, updates: Updates) -> None:
    updates.to("1")
    before = image_id(client, updates)
    container = client.containers.create(before)
    second, _ = updates.to("2")
    container.remove()
    third, _ = updates.to("3")

    assert before not in second.removed
    assert before in third.removed


@pytest.mark.docker
def test_a_name_that_the_operator_gave_is_no_old_image(client: docker.DockerClient, updates: Updates) -> None:
    updates.to("1")
    repository = updates.source.tag.rpartition(":")[0]
    client.api.tag(updates.source.tag, repository, "earlier")
    client.api.tag(updates.source.tag, f"{repository}-mine", "kept")
    done, _ = updates.to("2")
    client.images.remove(f"{repository}-mine:kept")

    assert f"{repository}:earlier" in done.removed
    assert not any("kept" in name for name in done.removed)


@pytest.mark.docker
def test_what_is_in_an_image_is_its_python_and_the_packages_of_both_kinds(
    client: docker.DockerClient, image: str
) -> None:
    found = contents(client, image)

    assert found["Python"].startswith("3.")
    assert {"IPython", "ipython"} & found.keys()
    assert "libc6 (Debian)" in found


def test_another_python_and_what_came_and_went_are_changes() -> None:
    before = {"Python": "3.11.2", "gone": "1", "same": "1", "tzdata": "1", "tzdata (Debian)": "1"}
    after = {"Python": "3.11.9", "come": "2", "same": "1", "tzdata": "1", "tzdata (Debian)": "2"}

    assert changes(before, after) == ("come - -> 2", "gone 1 -> -", "Python 3.11.2 -> 3.11.9", "tzdata (Debian) 1 -> 2")
