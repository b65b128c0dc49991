"""The golden spec: any change to how a container is made shows up here, to be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.guard_create import GuardLimits, Unlike, checked_spec
from sandbox.limits import Limits
from sandbox.spec import container_spec, seccomp_profile

GOLDEN = Path(__file__).parents[1] / "data" / "container_spec.json"


def test_the_container_spec_is_the_golden_one() -> None:
    spec = container_spec("sha256:image", "id", "instance", Limits())
    spec["HostConfig"]["SecurityOpt"][1] = "seccomp=<profile>"
    spec["Labels"]["threadbox.spec"] = "<hash>"

    assert spec == json.loads(GOLDEN.read_text())


def test_nothing_of_the_host_is_in_the_spec() -> None:
    text = json.dumps(container_spec("sha256:image", "id", "instance", Limits())["HostConfig"])

    for word in ("Binds", "Mounts", "PortBindings", "Devices", "CapAdd", "docker.sock", 'Privileged": true'):
        assert word not in text


def test_the_profile_allows_three_socket_families_each_by_a_rule_of_its_own() -> None:
    rules = [rule for rule in json.loads(seccomp_profile())["syscalls"] if rule["names"] == ["socket"]]

    assert sorted(rule["args"][0]["value"] for rule in rules) == [1, 2, 10]
    assert all(len(rule["args"]) == 1 for rule in rules)


def test_gvisor_gets_room_for_its_own_threads_and_is_checked_for_that() -> None:
    spec = container_spec(f"sha256:{'0' * 64}", "abcd", "instance", Limits(pids=100), "runsc")

    assert spec["HostConfig"]["PidsLimit"] == 1600
    assert checked_spec(json.dumps(spec).encode(), "threadbox-abcd", GuardLimits(runtime="runsc")) == spec
    with pytest.raises(Unlike, match="pids"):
        checked_spec(json.dumps(spec).encode(), "threadbox-abcd", GuardLimits())
