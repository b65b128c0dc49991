"""engine-guard in front of the real engine: our calls pass unchanged, and nothing gets around it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import pytest_asyncio
from docker.errors import APIError, NotFound

from sandbox import Limits, Outcome, Output, Sandbox
from sandbox.engine import DockerEngine, connect
from sandbox.engine_address import client_parameters, engine_place
from sandbox.errors import SandboxGone
from sandbox.guard_create import GuardLimits
from sandbox.spec import container_spec
from tests.doubles.guard import MISCONFIGURED, changed, guarding
from tests.doubles.smuggling import request, said_to, smuggled

# one loop for the module: the tests share a guard and two containers
pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]
LIMITS = Limits(memory_mib=256, workspace_mib=64)
Do = Callable[..., Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guard(image: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    listen = tmp_path_factory.mktemp("guard") / "engine.sock"
    address = engine_place(client_parameters())
    async with guarding(listen, address, image, GuardLimits(containers=500)) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(guard: str) -> AsyncIterator[docker.DockerClient]:
    """The SDK, through the guard."""
    client = await asyncio.to_thread(connect, guard)
    yield client
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(guard: str, image: str) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(image=image, instance=f"guarded-{os.urandom(4).hex()}", base_url=guard)
    yield engine
    assert await engine.containers() == []
    await engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(engine: DockerEngine) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.start(engine, os.urandom(6).hex(), LIMITS)
    yield sandbox
    await sandbox.remove()


@pytest.fixture(scope="module")
def foreign(image: str) -> Any:
    """A container of somebody else's, though with a label like ours."""
    client = connect()
    made = client.api.create_container(
        image, ["true"], name=f"foreign-{os.urandom(4).hex()}", labels={"threadbox": "1"}
    )
    yield made["Id"]
    client.api.remove_container(made["Id"], force=True)
    client.close()


@pytest.fixture(scope="module")
def image_id(image: str) -> str:
    client = connect()
    try:
        return str(client.images.get(image).id)
    finally:
        client.close()


async def refusal(call: Do, *arguments: Any, **options: Any) -> APIError | None:
    try:
        await asyncio.to_thread(call, *arguments, **options)
    except APIError as error:
        return error
    return None


async def test_an_engine_through_the_guard_keeps_a_sandbox(engine: DockerEngine) -> None:
    sandbox = await Sandbox.start(engine, os.urandom(6).hex(), LIMITS)
    events = [event async for event in sandbox.run("print(6 * 7)")]
    data = os.urandom(8 << 20)
    await sandbox.put_file("data", data)
    back = await sandbox.get_file("data", limit_bytes=16 << 20)
    listed = [container.container_id for container in await engine.containers()]
    await sandbox.remove()
    await sandbox.remove()

    assert "".join(event.text for event in events if isinstance(event, Output)) == "42\n"
    assert isinstance(events[-1], Outcome)
    assert back == data
    assert listed == [sandbox.container_id]
    assert await engine.has_image()
    assert (await engine.version())["Info"]["SecurityOptions"]
    with pytest.raises(SandboxGone):
        await engine.attach(sandbox.container_id)


async def test_what_can_be_done_to_a_sandbox_can_be_done_through_the_guard(
    engine: DockerEngine, guarded: docker.DockerClient
) -> None:
    container_id, wire = await engine.create(os.urandom(6).hex(), LIMITS)
    api = guarded.api

    def all_calls() -> list[Any]:
        name = api.inspect_container(container_id)["Name"][1:]
        usage = api.stats(name, stream=False, one_shot=True)["memory_stats"]["usage"]
        api.pause(container_id)
        paused = api.inspect_container(container_id)["State"]["Status"]
        api.unpause(container_id)
        api.kill(container_id)
        return [usage > 0, paused, api.wait(container_id)["StatusCode"]]

    done = await asyncio.to_thread(all_calls)
    wire.close()
    await engine.remove(container_id)

    assert done == [True, "paused", 137]


async def test_no_misconfiguration_passes(guarded: docker.DockerClient, image_id: str) -> None:
    body = container_spec(image_id, "0123abcd", "instance", LIMITS)
    create = guarded.api.create_container_from_config
    answers = {
        name: await refusal(create, changed(body, changes), "threadbox-0123abcd")
        for name, changes in MISCONFIGURED.items()
    }

    assert [name for name, error in answers.items() if error is None or error.status_code != 403] == []
    assert await refusal(guarded.api.inspect_container, "threadbox-0123abcd") is not None


async def test_no_other_image_name_or_platform_passes(guarded: docker.DockerClient, image_id: str) -> None:
    create = guarded.api.create_container_from_config
    body = container_spec(image_id, "0123abcd", "instance", LIMITS)
    other = await refusal(create, container_spec("sha256:" + "0" * 64, "0123abcd", "i", LIMITS), "threadbox-0123abcd")
    refused = [
        await refusal(create, body, "other"),
        await refusal(create, body, None),
        await refusal(create, body, "threadbox-0123abcd", "linux/amd64"),
        await refusal(create, container_spec(image_id, "0123abcd", "i", Limits(memory_mib=4096)), "threadbox-0123abcd"),
    ]

    assert other is not None
    assert "is not the sandbox image" in str(other.explanation)
    assert [error.status_code for error in refused if error is not None] == [403] * 4


async def test_every_other_verb_of_the_sdk_is_refused(
    guarded: docker.DockerClient, ours: Sandbox, tmp_path: Path
) -> None:
    api, own = guarded.api, ours.container_id
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    refused = {
        "build": await refusal(guarded.images.build, path=str(tmp_path)),
        "pull": await refusal(guarded.images.pull, "alpine:3"),
        "run": await refusal(guarded.containers.run, "alpine:3", privileged=True),
        "exec": await refusal(api.exec_create, own, "id"),
        "copy out": await refusal(api.get_archive, own, "/etc"),
        "copy in": await refusal(api.put_archive, own, "/workspace", b""),
        "commit": await refusal(api.commit, own),
        "logs": await refusal(api.logs, own),
        "top": await refusal(api.top, own),
        "rename": await refusal(api.rename, own, "other"),
        "update": await refusal(api.update_container, own, mem_limit="8g"),
        "restart": await refusal(api.restart, own),
        "signal": await refusal(api.kill, own, "SIGSTOP"),
        "images": await refusal(api.images),
        "prune": await refusal(api.prune_containers),
        "volumes": await refusal(api.volumes),
        "volume": await refusal(api.create_volume, "x"),
        "networks": await refusal(api.networks),
        "network": await refusal(api.create_network, "x"),
        "swarm": await refusal(api.init_swarm),
        "plugins": await refusal(api.plugins),
        "disk": await refusal(api.df),
    }

    assert [name for name, error in refused.items() if error is None or error.status_code != 403] == []


async def test_a_foreign_container_is_one_that_is_not_there(guarded: docker.DockerClient, foreign: str) -> None:
    api, nobody = guarded.api, "f" * 64

    def said(call: Do, container_id: str) -> str:
        with pytest.raises(NotFound) as caught:
            call(container_id)
        return str(caught.value.explanation).replace(container_id, "<id>")

    def all_said(container_id: str) -> list[str]:
        calls = [
            api.inspect_container, api.start, api.pause, api.unpause, api.kill, api.wait, api.attach_socket,
            lambda one: api.remove_container(one, force=True), lambda one: api.stats(one, stream=False),
        ]  # fmt: skip
        return [said(call, container_id) for call in calls]

    theirs = await asyncio.to_thread(all_said, foreign)
    listed = [
        item["Id"] for item in await asyncio.to_thread(api.containers, all=True, filters={"label": "threadbox.id"})
    ]

    assert theirs == await asyncio.to_thread(all_said, nobody)
    assert set(theirs) == {"No such container: <id>"}
    assert foreign not in listed
    assert inspected(foreign)["State"]["Status"] == "created"


def inspected(container_id: str) -> dict[str, Any]:
    """What the engine itself says of a container."""
    client = connect()
    try:
        return dict(client.api.inspect_container(container_id))
    finally:
        client.close()


async def test_nothing_is_smuggled_past_the_guard(
    guard: str, foreign: str, ours: Sandbox, image_id: str, guarded: docker.DockerClient
) -> None:
    body = json.dumps(container_spec(image_id, "0123abcd", "instance", LIMITS)).encode()
    answers = {name: await said_to(guard, *parts) for name, parts in smuggled(foreign, ours.container_id, body).items()}

    answers = {name: answer for name, answer in answers.items() if answer}  # closed without an answer is as good
    passed = {name for name, answer in answers.items() if not answer.startswith(b"HTTP/1.1 403 ")}
    assert passed <= {"behind an answer"}
    assert [name for name, answer in answers.items() if answer.count(b"HTTP/1.1 ") != 1] == []
    assert inspected(foreign)["State"]["Status"] == "created"
    assert await refusal(guarded.api.inspect_container, "threadbox-0123abcd") is not None
    assert [event async for event in ours.run("1")]


async def test_a_call_in_crooked_but_honest_words_is_put_straight(guard: str, ours: Sandbox) -> None:
    """What passes is written anew for the engine; the words of the client end at the guard."""
    path = f"/containers/{ours.container_id}/json"
    answer = await said_to(
        guard, request(f"GET {path}", "Content-Length: 0", "Content-Length: 0", "X-Y: z", "TE: chunked")
    )

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f'{{"Id":"{ours.container_id}"'.encode() in answer


async def test_an_engine_knows_whether_a_guard_stands_before_it(engine: DockerEngine, image: str) -> None:
    bare = DockerEngine(image=image, instance="bare")

    assert not await engine.is_bare()
    assert await bare.is_bare()
    await bare.aclose()
