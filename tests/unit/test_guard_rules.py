"""What engine-guard lets through, decided without an engine."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest

from sandbox.guard_create import GuardLimits
from sandbox.guard_rules import Call, Forward, Refuse, Rules, decide
from sandbox.limits import Limits
from tests.doubles.guard import IMAGE_ID, MISCONFIGURED, changed, sandbox_body

RULES = Rules(images=frozenset({"threadbox-sandbox:0123"}), limits=GuardLimits(most=Limits()))
ID = "0123456789abcdef" * 4
UPGRADE = {"connection": "Upgrade", "upgrade": "tcp"}


def decided(method: str, target: str, body: bytes = b"", **headers: str) -> Forward | Refuse:
    return decide(Call(method=method, target=target, headers=headers, body=body), RULES)


def created(body: Any, name: str = "threadbox-0123abcd") -> Forward | Refuse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decided("POST", f"/v1.41/containers/create?name={name}", raw)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(memory_mib=64, cpus=0.05, pids=8, workspace_mib=1, workspace_inodes=10, tmp_mib=1, shm_mib=1),
        Limits(cpus=0.29, open_files=64, file_mib=1),
        Limits(timeout_seconds=3600, output_whole_bytes=1),
    ],
)
def test_a_sandbox_within_the_maxima_passes_as_it_is(limits: Limits) -> None:
    body = sandbox_body(limits=limits)

    forward = created(body)

    assert isinstance(forward, Forward), forward
    assert json.loads(forward.body) == body
    assert (forward.path, forward.image, forward.creates) == ("/v1.41/containers/create", IMAGE_ID, True)


@pytest.mark.thorough
def test_no_number_of_processors_is_refused_for_how_it_is_rounded() -> None:
    refused = [n for n in range(50, 1001) if isinstance(created(sandbox_body(limits=Limits(cpus=n / 1000))), Refuse)]

    assert refused == []


@pytest.mark.parametrize("changes", MISCONFIGURED.values(), ids=MISCONFIGURED.keys())
def test_a_body_that_is_not_a_sandboxs_is_refused(changes: dict[str, Any]) -> None:
    answer = created(changed(sandbox_body(), changes))

    assert isinstance(answer, Refuse)


def test_a_refusal_says_what_differs() -> None:
    privileged = created(changed(sandbox_body(), {"HostConfig": {"Privileged": True}}))
    bound = created(changed(sandbox_body(), {"HostConfig": {"Binds": ["/:/host"]}}))
    large = created(changed(sandbox_body(), {"HostConfig": {"PidsLimit": 100_000}}))

    assert privileged == Refuse(why="The body is not that of a sandbox: HostConfig.Privileged is not ours.")
    assert bound == Refuse(why="The body is not that of a sandbox: HostConfig.Binds has no place in it.")
    assert large == Refuse(why="pids is 100000; this guard lets 8 to 128 through.")


@pytest.mark.parametrize("name", ["memory_mib", "cpus", "pids", "open_files", "file_mib", "workspace_mib",
                                  "workspace_inodes", "tmp_mib", "shm_mib"])  # fmt: skip
def test_every_number_has_a_maximum(name: str) -> None:
    most = getattr(Limits(), name)
    limits = Limits(**{name: most + (0.001 if name == "cpus" else 10)})

    assert isinstance(created(sandbox_body(limits=limits)), Refuse)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"{}",
        b"{",
        b'"x"',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"\xff\xfe",
        b'{"Image": 1e999}',
    ],
)
def test_what_is_no_body_at_all_is_refused(body: bytes) -> None:
    assert isinstance(created(body), Refuse)


def test_keys_that_are_there_twice_never_reach_the_engine() -> None:
    """Go would merge them, whatever their case; Python takes the last."""
    golden = json.dumps(sandbox_body())
    twice = '{"HostConfig": {"Privileged": true, "Binds": ["/:/host"]}, ' + golden[1:]

    forward = created(twice.encode())

    assert isinstance(forward, Forward)
    assert b"Binds" not in forward.body
    assert json.loads(forward.body) == json.loads(golden)


@pytest.mark.parametrize("name", ["", "other", "threadbox-", "threadbox-ffff", "threadbox-0123abcd&platform=linux/amd64",
                                  "threadbox-0123abcd&name=other", "threadbox-0123abcd%0d%0aX:1"])  # fmt: skip
def test_a_container_has_the_name_of_its_sandbox_and_nothing_else_in_the_query(name: str) -> None:
    assert isinstance(created(sandbox_body(), name), Refuse)


PASSES = [
    ("GET", "/_ping", "/_ping"),
    ("HEAD", "/_ping", "/_ping"),
    ("GET", "/version", "/version"),
    ("GET", "/v1.41/info", "/v1.41/info"),
    ("GET", "/v1.45/images/threadbox-sandbox:0123/json", "/v1.45/images/threadbox-sandbox:0123/json"),
    ("GET", f"/v1.41/containers/{ID}/json", "/v1.41/containers/{}/json"),
    ("GET", "/containers/threadbox-0123abcd/json", "/containers/{}/json"),
    ("GET", f"/containers/{ID}/stats?stream=False&one-shot=True", "/containers/{}/stats"),
    ("POST", f"/containers/{ID}/start", "/containers/{}/start"),
    ("POST", f"/containers/{ID}/pause", "/containers/{}/pause"),
    ("POST", f"/containers/{ID}/unpause", "/containers/{}/unpause"),
    ("POST", f"/containers/{ID}/kill", "/containers/{}/kill"),
    ("POST", f"/containers/{ID}/kill?signal=SIGKILL", "/containers/{}/kill"),
    ("POST", f"/containers/{ID}/wait?condition=removed", "/containers/{}/wait"),
    ("DELETE", f"/containers/{ID}?v=True&link=False&force=True", "/containers/{}"),
]


@pytest.mark.parametrize(("method", "target", "path"), PASSES)
def test_our_calls_pass(method: str, target: str, path: str) -> None:
    forward = decided(method, target)

    assert isinstance(forward, Forward), forward
    assert (forward.method, forward.path) == (method, path)
    assert forward.container == ("" if "{}" not in path else "threadbox-0123abcd" if ID not in target else ID)


REFUSED = [
    "POST /build", "POST /images/create?fromImage=alpine", "POST /images/load", "POST /images/prune",
    "DELETE /images/threadbox-sandbox:0123", "POST /images/threadbox-sandbox:0123/tag", "GET /images/alpine/json",
    "GET /images/threadbox-sandbox:0123/history", "GET /images/json", "GET /images/get", "GET /events",
    f"POST /containers/{ID}/exec", "POST /exec/abc/start", f"GET /containers/{ID}/archive?path=/",
    f"PUT /containers/{ID}/archive?path=/", "POST /commit", f"GET /containers/{ID}/export",
    f"GET /containers/{ID}/logs?stdout=1", f"POST /containers/{ID}/update", f"POST /containers/{ID}/rename?name=x",
    f"GET /containers/{ID}/top", f"GET /containers/{ID}/changes", f"POST /containers/{ID}/restart",
    f"POST /containers/{ID}/resize?h=1&w=1", f"GET /containers/{ID}/attach/ws", "POST /containers/prune",
    "GET /volumes", "POST /volumes/create", "GET /networks", "POST /networks/create", "GET /swarm", "POST /swarm/init",
    "GET /plugins", "POST /plugins/pull", "GET /secrets", "GET /configs", "GET /services", "GET /nodes", "POST /auth",
    "POST /session", "POST /grpc", "GET /system/df", "GET /", "OPTIONS /_ping", "CONNECT /_ping", "TRACE /info",
    f"GET /containers/{ID}/start", f"POST /containers/{ID}/json", f"POST /containers/{ID}", "PATCH /version",
]  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_every_other_call_is_refused(line: str) -> None:
    assert isinstance(decided(*line.split(" "), **UPGRADE), Refuse)


CROOKED = [
    "http://docker/version", "docker:80", "*", "", "version", "//version", "/v1.41//version", "/v1.41/../version",
    "/./version", "/version/", "/version/.", "/_ping/../info", "/%76ersion", "/version%00", "/version#x", "/version?x=1",
    "/v1.24/version", "/v1.9999/version", "/v2.0/version", "/v1.41/v1.41/version", "/v1.-1/version",
    "/\\version", "/VERSION", "/version\x7f", f"/containers/{ID[:12]}/json", f"/containers/{ID.upper()}/json",
    f"/containers/{ID}%2fjson", f"/containers/{ID}/json?size=1", f"/containers/{ID}/stats", f"/containers/{ID}0/json",
    f"/containers/{ID}/stats?stream=true", f"/containers/{ID}/stats?stream=0&stream=1", "/containers/other/json",
    "/containers/threadbox-/json", "/containers/threadbox-../json", "/containers/threadbox-0123abcd/../x/json",
    "/images/threadbox-sandbox:0123/../../containers/other/json", "/images/x/json", "/images//json",
    "/images/threadbox-sandbox:0123%2f/json", "/images/sha256:0123/json", "/version?" + "x" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("target", CROOKED)
def test_a_target_passes_in_one_spelling_only(target: str) -> None:
    assert isinstance(decided("GET", target), Refuse)


@pytest.mark.parametrize(
    "target",
    [
        f"/containers/{ID}/start?detachKeys=a",
        f"/containers/{ID}/kill?signal=STOP",
        f"/containers/{ID}/attach?stream=1&logs=1",
        f"/containers/{ID}/attach?stream=1&detachKeys=a",
        f"/containers/{ID}/wait?condition=x",
    ],
)
def test_a_query_has_our_fields_and_values_only(target: str) -> None:
    assert isinstance(decided("POST", target, **UPGRADE), Refuse)


def test_a_call_that_needs_no_body_has_none() -> None:
    """Before API 1.24 the engine took a HostConfig with a start."""
    assert isinstance(decided("POST", f"/containers/{ID}/start", b'{"Privileged": true}'), Refuse)
    assert isinstance(decided("GET", "/version", b"x"), Refuse)


def test_a_chunked_body_is_refused() -> None:
    raw = json.dumps(sandbox_body()).encode()
    call = Call(
        method="POST",
        target="/containers/create?name=threadbox-0123abcd",
        headers={"transfer-encoding": "chunked"},
        body=raw,
    )

    assert isinstance(decide(call, RULES), Refuse)


def test_an_attach_asks_for_an_upgrade() -> None:
    target = f"/v1.41/containers/{ID}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    forward = decided("POST", target, **UPGRADE)

    assert isinstance(forward, Forward)
    assert (forward.upgrades, forward.container) == (True, ID)
    assert isinstance(decided("POST", target), Refuse)
    assert isinstance(decided("POST", target, connection="Upgrade", upgrade="h2c"), Refuse)


def listed(filters: Any) -> Forward | Refuse:
    return decided("GET", f"/v1.41/containers/json?all=1&limit=-1&filters={quote(json.dumps(filters))}")


def test_a_list_of_containers_is_of_ours_whatever_was_asked() -> None:
    every, some = decided("GET", "/containers/json?all=1"), listed({"label": ["threadbox.instance=x"]})

    assert isinstance(every, Forward)
    assert isinstance(some, Forward)
    assert json.loads(parse_qs(urlencode(every.query))["filters"][0]) == {"label": ["threadbox=1"]}
    assert json.loads(dict(some.query)["filters"]) == {"label": ["threadbox=1", "threadbox.instance=x"]}


@pytest.mark.parametrize(
    "filters",
    [{"name": ["x"]}, {"label": ["other"]}, {"label": ["threadboxes=1"]}, {"label": {"threadbox": True}}, [], 1,
     {"label": [1]}, {"label": "threadbox"}, {"label": ["threadbox"], "volume": ["x"]}],
)  # fmt: skip
def test_a_list_of_containers_by_anything_else_is_refused(filters: Any) -> None:
    assert isinstance(listed(filters), Refuse)


def test_images_are_listed_by_the_name_of_ours_only() -> None:
    ours = quote(json.dumps({"reference": ["threadbox-sandbox:0123"]}))
    all_of_them = quote(json.dumps({"reference": ["*"]}))

    assert isinstance(decided("GET", f"/images/json?only_ids=0&all=0&filters={ours}"), Forward)
    assert isinstance(decided("GET", f"/images/json?filters={all_of_them}"), Refuse)


def test_an_image_by_its_id_is_asked_for_at_the_engine_first() -> None:
    forward = decided("GET", f"/images/{IMAGE_ID}/json")

    assert isinstance(forward, Forward)
    assert forward.image == IMAGE_ID
