from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.errors import ConfigurationError
from bot.settings import OF_LIBRARIES, build_environment, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "THREADBOX_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_a_key_there_is_no_model() -> None:
    assert not load().has_model


def test_a_key_in_dotenv_is_enough(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-secret\n")

    settings = load()

    assert settings.has_model
    assert "sk-secret" not in repr(settings)


def test_the_index_of_the_image_may_be_in_dotenv_and_the_environment_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PIP_INDEX_URL=https://one.example/simple\nNO_PROXY=one\nOPENAI_API_KEY=sk\n")
    monkeypatch.setenv("PIP_INDEX_URL", "")  # as docker-compose passes what is not set
    monkeypatch.setenv("NO_PROXY", "two")

    found = build_environment()

    assert (found["PIP_INDEX_URL"], found["NO_PROXY"]) == ("https://one.example/simple", "two")
    assert "OPENAI_API_KEY" not in found


def test_every_mistake_is_one_line_with_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADBOX_WEB_PORT", "99999")
    monkeypatch.setenv("THREADBOX_CPUS", "none")

    with pytest.raises(ConfigurationError) as caught:
        load()

    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any(line.startswith("THREADBOX_WEB_PORT:") and "65535" in line for line in lines)
    assert any(line.startswith("THREADBOX_CPUS:") and "'none'" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql://u:p@h:5/db?sslmode=require", "postgresql+asyncpg://u:p@h:5/db?ssl=require"),
        ("postgresql+asyncpg://u@/db?host=/run/pg", "postgresql+asyncpg://u@/db?host=/run/pg"),
        ("postgresql://u:p?w@h/db?statement_cache_size=0", "postgresql+asyncpg://u:p?w@h/db?statement_cache_size=0"),
        ("sqlite:////data/a b.sqlite", "sqlite+aiosqlite:////data/a b.sqlite"),
    ],
)
def test_a_database_is_addressed_as_its_makers_write_it(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    monkeypatch.setenv("THREADBOX_DATABASE_URL", given)

    assert load().database == used


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("mysql://u:hunter2@h/db", "must begin with postgresql:// or sqlite:///"),
        ("nonsense", "must begin with"),
        ("user:hunter2@h/db", "must begin with"),
        ("postgresql:/u:hunter2@h/db", "must begin with"),
        ("postgresql://u@h:hunter2/db", "it is no address"),
        ("sqlite:///a.sqlite?timeout=3", "takes no parameters"),
    ],
)
def test_another_address_of_a_database_is_refused_and_its_password_not_shown(
    monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    monkeypatch.setenv("THREADBOX_DATABASE_URL", given)

    with pytest.raises(ConfigurationError, match="THREADBOX_DATABASE_URL: ") as caught:
        load()

    assert told in str(caught.value).replace("\\", "")
    assert "hunter2" not in str(caught.value)


def test_every_setting_is_in_the_example_file() -> None:
    from bot.settings import Settings

    example = (Path(__file__).parents[2] / ".env.example").read_text()
    names = [field.alias or f"THREADBOX_{name.upper()}" for name, field in Settings.model_fields.items()]

    assert [name for name in names if f"{name}=" not in example] == []


def test_the_keys_of_the_blob_store_are_secrets_and_may_be_in_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_REGION",
    ):  # set first, so that what load() adds is taken away again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "an-account-key")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
    (tmp_path / ".env").write_text(
        "AWS_SECRET_ACCESS_KEY=a/secret+key\nAWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_REGION=eu-central-1\nOTHER_KEY=other\n"
    )

    secrets = load().secrets

    assert {"a/secret+key", "AKIAEXAMPLE", "a-session-token", "an-account-key"} <= set(secrets)
    assert not {"eu-central-1", "/var/run/token", "other"} & set(secrets)
    assert os.environ["AWS_REGION"] == "eu-central-1"  # where the store's library looks


@pytest.mark.parametrize(
    ("variable", "url", "secret"),
    [
        ("OPENAI_BASE_URL", "https://me:hunter%332@gateway.corp/v1", {"hunter%332", "hunter32"}),
        ("OPENAI_BASE_URL", "https://sk-gateway-key@gateway.corp/v1", {"sk-gateway-key"}),
        ("OPENAI_BASE_URL", "https://gateway.corp/v1?region=eu-central-1&api-key=hunter22", {"hunter22"}),
        ("THREADBOX_BLOBS_URL", "s3://AKIAEXAMPLE:hunter22@bucket/path", {"hunter22"}),
        ("THREADBOX_BLOBS_URL", "az://container/path?sv=2024-01-01&sig=hunter%2F22", {"hunter%2F22", "hunter/22"}),
        ("THREADBOX_BLOBS_URL", "s3://bucket/path?region=eu-central-1", set()),
        ("THREADBOX_DATABASE_URL", "postgresql://threadbox@h/db", set()),
    ],
)
def test_what_is_secret_in_an_address_is_known(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, secret: set[str]
) -> None:
    before = set(load().secrets)
    monkeypatch.setenv(variable, url)

    assert set(load().secrets) - before == secret


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("THREADBOX_MODLE", "THREADBOX_MODLE is no setting. Is THREADBOX_MODEL meant?"),
        ("THREADBOX_NETWROK", "THREADBOX_NETWROK is no setting. Is THREADBOX_NETWORK meant?"),
    ],
)
def test_a_mistyped_name_is_a_mistake(monkeypatch: pytest.MonkeyPatch, name: str, line: str) -> None:
    monkeypatch.setenv(name, "x")

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert str(caught.value) == line


def test_a_name_like_none_is_a_mistake_in_dotenv_and_somebody_elses_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THREADBOX_PORT_8080_TCP_ADDR", "10.0.0.1")  # Kubernetes', for a service of that name
    load()
    (tmp_path / ".env").write_text("THREADBOX_PORT_8080_TCP_ADDR=10.0.0.1\nOTHERS=1\n")

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert str(caught.value) == "THREADBOX_PORT_8080_TCP_ADDR is no setting."


def test_every_name_of_the_example_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    lines = [line.removeprefix("#") for line in example.splitlines() if line.startswith("#THREADBOX_")]
    (tmp_path / ".env").write_text("\n".join(line for line in lines if line.partition("=")[2]))

    load()

    assert all(f"#{name}=" in example for name in OF_LIBRARIES)


def test_a_dotenv_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("OPENAI_API_KEY=schl\xfcssel\n".encode("latin-1"))

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert str(caught.value) == ".env is not UTF-8 text, at byte 19: save it as UTF-8."


def test_a_key_that_no_header_can_carry_is_a_mistake_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-schl\xfcssel")

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert str(caught.value) == "OPENAI_API_KEY: it has a character that no key has"


def test_what_libraries_read_by_themselves_may_be_in_dotenv_and_the_environment_goes_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in OF_LIBRARIES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("NO_PROXY", "one")
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://proxy:3128\nNO_PROXY=two\n")

    load()

    assert (os.environ["HTTPS_PROXY"], os.environ["NO_PROXY"]) == ("http://proxy:3128", "one")
