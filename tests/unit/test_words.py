"""Small pure parts: what a thread is told of its sandbox, secrets, names of processes, requirements."""

from __future__ import annotations

import os

import pytest

from bot.agent.prompts import MODEL_OUTPUT_BYTES, tool_result
from bot.arrival import arrival_words
from bot.errors import ConfigurationError
from bot.model import CellResult, Code, Notice, Printed, Reply, Text
from bot.sandbox_setup import extra_packages, make_reach, network_words
from bot.secrets import Redactor
from bot.settings import Settings
from sandbox.instances import is_abandoned, process_instance
from sandbox.lease import Arrival
from sandbox.snapshot import Summary
from tests.doubles.process_engine import ProcessEngine


def test_nothing_is_said_of_a_sandbox_as_it_was_left_or_of_a_first_one() -> None:
    assert arrival_words(Arrival(kind="live"), had_one=True) == ""
    assert arrival_words(Arrival(kind="new"), had_one=False) == ""


def test_what_came_back_and_what_did_not_is_one_line() -> None:
    summary = Summary(files=2, variables=("a", "b"), lost=("gen (cannot pickle 'generator' object)",))

    words = arrival_words(Arrival(kind="restored", summary=summary), had_one=True)

    assert words == (
        "Brought back after a pause: 2 files and variables a, b. Not kept: gen (cannot pickle 'generator' object)."
    )


def test_packages_that_did_not_fit_are_told_as_pip_takes_them() -> None:
    summary = Summary(files=1, left_packages=("tbbig==1.0", "torch==2.9.0"))

    words = arrival_words(Arrival(kind="restored", summary=summary), had_one=True)

    assert words.endswith("1 file. Too big to be kept, to be installed again: tbbig==1.0, torch==2.9.0.")


def test_many_names_are_counted() -> None:
    summary = Summary(variables=tuple(f"v{n}" for n in range(40)))

    assert "v11 and 28 more." in arrival_words(Arrival(kind="restored", summary=summary), had_one=True)


def test_a_loss_is_told_with_its_reason() -> None:
    words = arrival_words(Arrival(kind="new", notice="It was not used for 14 days."), had_one=True)

    assert words.startswith("It was not used for 14 days. This thread has a new sandbox")


@pytest.mark.parametrize("character", ["x", "🙂"])
def test_a_model_is_told_the_head_and_the_tail_of_long_output_within_16_kib(character: str) -> None:
    printed = "first\n" + character * 20_000 + "\nlast"

    told = tool_result(CellResult(status="ok", exit_code=0, output=printed))
    output, _, notes = told.partition("\n[part of the output was left out in the middle]\n")

    assert output.startswith("first\n") and output.endswith("\nlast")
    assert MODEL_OUTPUT_BYTES - 8 <= len(output.encode()) <= MODEL_OUTPUT_BYTES == 16_384
    assert len(notes) < 100


def test_a_model_is_told_short_output_as_it_is() -> None:
    told = tool_result(CellResult(status="ok", exit_code=0, output="x" * 16_384))

    assert told.startswith("x" * 16_384 + "\n[This is what the tool returned.")


def test_secrets_are_blacked_out_wherever_a_reply_has_text() -> None:
    blocks = (
        Text(markdown="k sk-12345678"),
        Code(language="python", source="'sk-12345678'"),
        Printed(text="sk-12345678-long"),
        Notice(text="x"),
    )
    reply = Reply(turn_id="t", part=0, blocks=blocks, final=True)

    done = Redactor(["sk-12345678", "sk-12345678-long", "short"]).reply(reply)

    assert "12345678" not in repr(done)
    assert "-long" not in repr(done)
    assert done.blocks[3] == Notice(text="x")


def test_an_instance_is_abandoned_only_when_its_process_of_this_machine_has_gone() -> None:
    mine = process_instance()
    *front, pid, started, noise = mine.split("-")

    assert not is_abandoned(mine)
    assert is_abandoned("-".join([*front, pid, str(int(started) + 1), noise]))
    assert not is_abandoned("-".join(["process", "another", "host", pid, "1", noise]))
    assert not is_abandoned("data-20261123")
    assert str(os.getpid()) == pid


@pytest.mark.parametrize("words", ["humanize", "humanize>=4", "humanize==", "-r==x", "a==1; rm"])
def test_a_package_without_a_version_is_refused(words: str) -> None:
    with pytest.raises(ConfigurationError, match="is not name==version"):
        extra_packages(Settings(image_packages=words))


def test_packages_and_the_network_are_taken_as_written() -> None:
    settings = Settings(image_packages="a==1, b[x]==2.0", network="allowlist", egress_hosts="API.example.org")

    assert extra_packages(settings) == ("a==1", "b[x]==2.0")
    assert "api.example.org" in network_words(settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(network="allowlist"), "THREADBOX_EGRESS_HOSTS must name a host"),
        (Settings(egress_trusted="mirror.corp:https"), "THREADBOX_EGRESS_TRUSTED: mirror.corp:https is not host:port"),
    ],
)
async def test_a_network_that_is_not_said_clearly_is_refused(
    process_engine: ProcessEngine, settings: Settings, told: str
) -> None:
    """Case 39."""
    with pytest.raises(ConfigurationError, match=told):
        await make_reach(settings, process_engine)


async def test_trust_opens_no_host_and_means_the_usual_port(process_engine: ProcessEngine) -> None:
    settings = Settings(network="allowlist", egress_hosts="A.example", egress_trusted="a.Example, mirror.corp:8443")

    reach = await make_reach(settings, process_engine)

    assert reach.network.hosts == {"a.example"}
    assert reach.egress.trusted == {("a.example", 443), ("mirror.corp", 8443)}
