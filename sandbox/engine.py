"""The Docker Engine as an Engine port: calls go through the docker SDK in threads of our own, streams do not.

`attach` speaks HTTP itself, on an asyncio socket: the SDK's reader takes bytes ahead of the upgrade, and what it
swallows would break the first frames. Engine API: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from sandbox.contract import LABEL, LABEL_ID, LABEL_INSTANCE, Container
from sandbox.engine_address import EnginePlace, client_parameters, engine_place
from sandbox.errors import EngineUnavailable, ImageMissing, SandboxError, SandboxGone
from sandbox.limits import ENGINE_SECONDS, ENGINE_THREADS, Limits
from sandbox.spec import container_spec, is_gvisor
from sandbox.wire import DockerWire

T = TypeVar("T")
PAUSE_SECONDS = 2.0  # for the engine to agree with itself on whether a container is paused
FIRST_API_VERSION = "1.41"  # to ask for the engine's own
ENDED_SECONDS = 1.0  # for it to notice that a container has ended


class DockerEngine:
    """Containers of one `instance` on the engine that `base_url` names, or that engine_address finds."""

    def __init__(
        self,
        *,
        image: str,
        instance: str,
        base_url: str | None = None,
        threads: int = ENGINE_THREADS,
        runtime: str = "",
    ) -> None:
        self._image = image
        self._instance = instance
        self._runtime = runtime
        self._base_url = base_url
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="docker")
        self._client: docker.DockerClient | None = None
        self._place: EnginePlace | None = None
        self._undoing: set[asyncio.Task[None]] = set()

    @property
    def is_gvisor(self) -> bool:
        """Whether its containers have a kernel of their own."""
        return is_gvisor(self._runtime)

    async def create(self, sandbox_id: str, limits: Limits) -> tuple[str, DockerWire]:
        """See contract.Engine."""
        creating = asyncio.ensure_future(self._call(self._create, sandbox_id, limits))
        try:
            container_id = await asyncio.shield(creating)
        except asyncio.CancelledError:
            undoing = asyncio.ensure_future(self._undo(creating))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            await asyncio.shield(undoing)  # which goes on when we are cancelled once more
            raise
        try:
            wire = await self._attach(container_id)
            await self._call(lambda client: client.api.start(container_id))
        except BaseException:
            await asyncio.shield(self.remove(container_id))
            raise
        return container_id, wire

    async def _undo(self, creating: asyncio.Future[str]) -> None:
        with contextlib.suppress(SandboxError):
            await self.remove(await creating)

    def _create(self, client: docker.DockerClient, sandbox_id: str, limits: Limits) -> str:
        try:  # asked each time: an update gives the tag another image, and takes the one before away
            image_id = str(client.api.inspect_image(self._image)["Id"])
        except ImageNotFound as error:
            raise ImageMissing(f"The sandbox image {self._image} has not been built.") from error
        spec = container_spec(image_id, sandbox_id, self._instance, limits, self._runtime)
        return str(client.api.create_container_from_config(spec, f"threadbox-{sandbox_id}")["Id"])

    async def attach(self, container_id: str) -> DockerWire:
        """See contract.Engine."""
        # of one that has ended the engine would take the call, and say nothing
        try:
            state = await self._call(lambda client: client.api.inspect_container(container_id)["State"])
        except SandboxGone:
            raise
        except SandboxError as error:  # which says nothing of the container
            raise EngineUnavailable(str(error)) from error
        if not state["Running"]:
            raise SandboxGone
        return await self._attach(container_id)

    async def _attach(self, container_id: str) -> DockerWire:
        version = await self._call(lambda client: client.api.api_version)
        assert self._place is not None  # noqa: S101 - found with the client
        path = f"/v{version}/containers/{container_id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        return await DockerWire.open(self._place, path)

    async def remove(self, container_id: str) -> None:
        """See contract.Engine."""
        await self._call(_remove, container_id)

    async def pause(self, container_id: str) -> None:
        """See contract.Engine."""
        await self._call(_unless_done, "pause", container_id)

    async def unpause(self, container_id: str) -> None:
        """See contract.Engine."""
        await self._call(_unless_done, "unpause", container_id)

    async def containers(self) -> list[Container]:
        """See contract.Engine."""
        return await self._list(f"{LABEL_INSTANCE}={self._instance}")

    async def _list(self, label: str) -> list[Container]:
        filters = {"label": label}
        listed = await self._call(lambda client: client.api.containers(all=True, filters=filters))
        return [
            Container(
                container_id=item["Id"],
                sandbox_id=item["Labels"].get(LABEL_ID, ""),
                state=item["State"],
                created_at=float(item["Created"]),
                labels=item["Labels"],
            )
            for item in listed
        ]

    async def everyones(self) -> list[Container]:
        """The sandboxes of every instance, for whoever cleans up."""
        return await self._list(LABEL)

    async def usage(self, container_id: str) -> tuple[int, float]:
        """See contract.Meter."""
        stats = await self._call(lambda client: client.api.stats(container_id, stream=False, one_shot=True))
        cpu = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0) / 1e9
        return int(stats.get("memory_stats", {}).get("usage", 0)), float(cpu)

    async def ran_out_of_memory(self, container_id: str) -> bool:
        """See contract.Meter.

        Asked of gVisor's containers only, which end as a whole: elsewhere the supervisor outlives it and tells it
        itself, and the engine's mark of an earlier time would be taken for the reason of a later end.
        """
        return self.is_gvisor and await self._call(_ran_out_of_memory, container_id)

    async def version(self) -> dict[str, Any]:
        """What the engine says of itself, for a diagnosis: version(), with info() under "Info", and its "Address"."""
        return await self._call(
            lambda client: {**client.version(), "Info": client.info(), "Address": _said_address(client)}
        )

    async def is_bare(self) -> bool:
        """Whether the engine is asked itself, and no guard that passes on a few calls only."""
        try:
            await self._call(lambda client: client.api.networks(names=["none"]))  # which no sandbox needs
        except EngineUnavailable:
            raise
        except SandboxError:
            return False
        return True

    async def has_image(self) -> bool:
        """Whether the sandbox image is there."""
        return bool(await self._call(lambda client: client.images.list(name=self._image)))

    async def aclose(self) -> None:
        """See contract.Engine."""
        await asyncio.gather(*self._undoing, return_exceptions=True)
        if self._client is not None:
            self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(self._translated, function, *arguments))

    def _translated(self, function: Callable[..., T], *arguments: Any) -> T:
        with translated_errors():
            if self._client is None:
                parameters = engine_parameters(self._base_url)
                self._place = engine_place(parameters)
                self._client = connect(parameters=parameters)
            return function(self._client, *arguments)


def engine_parameters(base_url: str | None) -> dict[str, Any]:
    """What a client is made with. Raises EngineUnavailable."""
    return client_parameters() if base_url is None else {"base_url": base_url}


def connect(base_url: str | None = None, *, parameters: dict[str, Any] | None = None) -> docker.DockerClient:
    """A client of the engine, version agreed. Blocks. Raises EngineUnavailable."""
    with translated_errors():
        found = {"timeout": int(ENGINE_SECONDS), **(parameters or engine_parameters(base_url))}
        if "tls" not in found:
            return docker.DockerClient(version="auto", **found)
        with contextlib.closing(_by_its_certificates(FIRST_API_VERSION, found)) as first:
            version = str(first.version(api_version=False)["ApiVersion"])
        return _by_its_certificates(version, found)


def _by_its_certificates(version: str, parameters: dict[str, Any]) -> docker.DockerClient:
    client = docker.DockerClient(version=version, **parameters)
    # else REQUESTS_CA_BUNDLE, where a company sets it, would be trusted instead of the engine's own authority
    client.api.trust_env = False
    return client


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """The SDK's errors as ours."""
    try:
        yield
    except NotFound as error:
        raise SandboxGone(str(error.explanation or error)) from error
    except APIError as error:
        raise SandboxError(f"The Docker Engine refused: {error.explanation or error}") from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise EngineUnavailable(f"The Docker Engine does not answer ({_short(error)}).") from error


def _short(error: Exception) -> str:
    while isinstance(error.__cause__ or error.__context__, Exception):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error)[:200] or type(error).__name__


def _remove(client: docker.DockerClient, container_id: str) -> None:
    try:
        client.api.remove_container(container_id, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # a removal is under way already
            raise
        _wait_until_gone(client, container_id)


def _unless_done(client: docker.DockerClient, verb: str, container_id: str) -> None:
    until = time.monotonic() + PAUSE_SECONDS
    while True:
        try:
            getattr(client.api, verb)(container_id)
            return
        except APIError as error:
            # "already paused" and "not paused" are 409 or 500, by the engine's version; any other refusal is one
            if "paused" not in str(error.explanation):
                raise
            # right after a pause the engine may say "not paused" of a container that is
            state = client.api.inspect_container(container_id)["State"]
            if bool(state["Paused"]) == (verb == "pause"):
                return
            if time.monotonic() > until:
                raise
        time.sleep(0.02)


def _ran_out_of_memory(client: docker.DockerClient, container_id: str) -> bool:
    until = time.monotonic() + ENDED_SECONDS
    while True:  # the stream may end a moment before the engine has noticed why
        state = client.api.inspect_container(container_id)["State"]
        if not state["Running"] or time.monotonic() > until:
            return bool(state["OOMKilled"])
        time.sleep(0.02)


def _wait_until_gone(client: docker.DockerClient, container_id: str) -> None:
    until = time.monotonic() + ENGINE_SECONDS / 4
    while time.monotonic() < until:
        try:
            client.api.inspect_container(container_id)
        except NotFound:
            return
        time.sleep(0.05)


def _said_address(client: docker.DockerClient) -> str:
    address = str(client.api.base_url)
    return f"unix://{client.api.get_adapter(address).socket_path}" if address.startswith("http+docker") else address
