"""What is wrong in the settings is said whole, before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import USAGE, app
from bot.errors import ConfigurationError
from bot.folder import make_private
from bot.settings import load
from bot.start_checks import APP

WRONG = {
    "THREADBOX_CPUS": "none",
    "THREADBOX_WEB": "on",
    "THREADBOX_WEB_HOST": "0.0.0.0",
    "SLACK_BOT_TOKEN": "xapp-mistaken",
    "THREADBOX_SLACK_COMMAND": "sandbox",
    "DISCORD_BOT_TOKEN": "nonsense",
    "THREADBOX_DISCORD_SHARDS": "many",
    "THREADBOX_IMAGE_PACKAGES": "one two==2 three",
    "THREADBOX_NETWORK": "allowlist",
    "THREADBOX_EGRESS_TRUSTED": "mirror.corp:https",
    "THREADBOX_EGRESS_PROXY": "socks5://me:hunter2@proxy.corp:1",
    "THREADBOX_BLOBS_URL": "ftp://me:hunter2@host/place",
}
ALWAYS_TOLD = [
    "THREADBOX_CPUS: Input should be a valid number, unable to parse string as a number (it is 'none')",
    "THREADBOX_IMAGE_PACKAGES: one is not name==version.",
    "THREADBOX_IMAGE_PACKAGES: three is not name==version.",
    "THREADBOX_EGRESS_TRUSTED: mirror.corp:https is not host:port.",
    "THREADBOX_NETWORK is allowlist: THREADBOX_EGRESS_HOSTS must name a host.",
    "THREADBOX_EGRESS_PROXY: it is not http://host:port.",
    "THREADBOX_BLOBS_URL: it is no store: it begins with s3://, gs:// or az://, then comes the bucket.",
]
TOLD_OF_PLATFORMS = [
    "SLACK_BOT_TOKEN is not a bot token: it begins with xoxb-.",
    "Slack needs SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside SLACK_BOT_TOKEN.",
    "THREADBOX_SLACK_COMMAND: 'sandbox' is not like /sandbox.",
    "DISCORD_BOT_TOKEN is not a bot token: it has three parts with dots between.",
    "THREADBOX_DISCORD_SHARDS is empty, auto or a number; it is 'many'.",
    "THREADBOX_WEB_HOST is 0.0.0.0: other machines could run code here. Set THREADBOX_WEB_TOKEN too.",
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "DISCORD_BOT_TOKEN", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THREADBOX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")  # which whoever began something would complain of


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **settings: str) -> Result:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_every_mistake_is_told_at_once_on_its_line_and_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    done = run(monkeypatch, command, **WRONG)

    assert done.exit_code == USAGE
    assert done.stderr.splitlines() == ALWAYS_TOLD + TOLD_OF_PLATFORMS
    assert list(tmp_path.iterdir()) == []


def test_a_command_without_platforms_is_not_kept_from_its_work_by_theirs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = run(monkeypatch, "sandboxes", "list", **WRONG)

    assert (done.exit_code, done.stderr.splitlines()) == (USAGE, ALWAYS_TOLD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["THREADBOX_DATA_DIR", "THREADBOX_BLOBS_URL"])
def test_a_place_that_cannot_be_a_folder_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))

    with pytest.raises(ConfigurationError) as caught:
        load(APP)

    assert str(caught.value) == f"{variable}: {tmp_path}/file is not a folder."


@pytest.mark.parametrize("host", ["https://api.example.org", "api.example.org:443", "*.example.org"])
def test_a_host_that_could_never_be_reached_is_a_mistake(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("THREADBOX_EGRESS_HOSTS", f"good.example {host}")

    with pytest.raises(ConfigurationError) as caught:
        load(APP)

    assert str(caught.value) == f"THREADBOX_EGRESS_HOSTS: {host} is not a host's name."


def test_a_folder_of_other_things_is_not_closed_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    (tmp_path / "fresh" / "lost+found").mkdir(parents=True)  # as an empty disk has it
    monkeypatch.setenv("THREADBOX_DATA_DIR", str(tmp_path))

    with pytest.raises(ConfigurationError) as caught:
        load(APP)

    assert str(caught.value) == f"THREADBOX_DATA_DIR: {tmp_path} holds other things. Name a folder for Threadbox alone."
    for ours in ("fresh", "new"):
        monkeypatch.setenv("THREADBOX_DATA_DIR", str(tmp_path / ours))
        load(APP)
    (tmp_path / "instance.json").touch()
    monkeypatch.setenv("THREADBOX_DATA_DIR", str(tmp_path))
    load(APP)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"THREADBOX_WEB": "off"},
            "THREADBOX_WEB is off, and neither SLACK_BOT_TOKEN nor DISCORD_BOT_TOKEN is set.",
        ),
        ({"SLACK_APP_TOKEN": "xapp-1"}, "SLACK_APP_TOKEN is of no use without SLACK_BOT_TOKEN."),
    ],
)
def test_a_bot_that_nobody_could_reach_does_not_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], line: str
) -> None:
    done = run(monkeypatch, "run", **given)

    assert (done.exit_code, done.stderr.splitlines()) == (USAGE, [line])


@pytest.mark.parametrize(
    "url", ["localhost:11434/v1", "ftp://host/v1", "https://", "http://host:99999/v1", "http://[::1/v1"]
)
def test_a_model_server_without_an_address_is_a_mistake(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)

    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL: it is not like"):
        load()


def test_settings_without_a_mistake_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.gateway import CHECKS

    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "s")
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "a.b.c")
    monkeypatch.setenv("THREADBOX_BLOBS_URL", "s3://bucket/place")

    assert load(CHECKS).discord_bot_token is not None


def test_a_folder_that_cannot_be_made_private_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")  # as for a folder of another user that one may write to

    monkeypatch.setattr(Path, "chmod", refuse)

    with pytest.raises(ConfigurationError) as caught:
        make_private(tmp_path / "data")

    assert str(caught.value).endswith("data cannot be kept private: Operation not permitted.")
