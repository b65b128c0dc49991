"""Every setting of the operator's, from the environment and .env; the only module that reads them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.database_url import with_driver
from bot.errors import ConfigurationError
from sandbox.image_build import BUILD_ARGUMENTS, CA_VARIABLES, DEFAULT_BASE

STORE = re.compile(r"(AWS|AZURE|GOOGLE)_")  # what the blob store's library reads by itself, from the environment alone
# what other libraries read there by themselves: the model's client, the engine's, pip
OF_LIBRARIES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", *CA_VARIABLES,
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
)  # fmt: skip
PREFIX = "THREADBOX_"
LIKE = 0.8  # from which on a name is taken for another, mistyped
SECRET = re.compile(r"(key|secret|token|password|credential|sas|sig|signature)(_?id)?$", re.I)


class Settings(BaseSettings):
    """Read once, at start. A name here is the variable's, with THREADBOX_ before it unless an alias says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    # the model
    openai_api_key: Annotated[SecretStr | None, Field(alias="OPENAI_API_KEY")] = None
    openai_base_url: Annotated[str | None, Field(alias="OPENAI_BASE_URL")] = None
    model: str = "gpt-4.1-mini"
    models: str = ""
    model_timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    model_max_output_tokens: Annotated[int, Field(ge=64)] = 4096
    model_context_tokens: Annotated[int, Field(ge=1000)] = 24_000
    model_temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    model_vision: bool = False
    model_tools: bool = True

    # where things are
    data_dir: Path = Path("~/.local/share/threadbox")
    database_url: str | None = None
    base_image: str = DEFAULT_BASE
    image: str | None = None
    image_packages: str = ""
    runtime: str = ""
    trust_everyone: bool = False

    # the web chat
    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    web_token: SecretStr | None = None

    web: Literal["auto", "on", "off"] = "auto"

    # Slack
    slack_bot_token: Annotated[SecretStr | None, Field(alias="SLACK_BOT_TOKEN")] = None
    slack_app_token: Annotated[SecretStr | None, Field(alias="SLACK_APP_TOKEN")] = None
    slack_signing_secret: Annotated[SecretStr | None, Field(alias="SLACK_SIGNING_SECRET")] = None
    slack_api_url: Annotated[str, Field(alias="SLACK_API_URL")] = "https://slack.com/api/"
    slack_host: str = "0.0.0.0"  # noqa: S104 - Slack delivers from outside; every delivery is signed
    slack_port: Annotated[int, Field(ge=0, le=65535)] = 3000
    slack_command: str = "/sandbox"
    slack_admins: str = ""

    # Discord
    discord_bot_token: Annotated[SecretStr | None, Field(alias="DISCORD_BOT_TOKEN")] = None
    discord_api_url: Annotated[str, Field(alias="DISCORD_API_URL")] = "https://discord.com/api/v10"
    discord_gateway_url: Annotated[str, Field(alias="DISCORD_GATEWAY_URL")] = "wss://gateway.discord.gg/"
    discord_message_content: Literal["auto", "off"] = "auto"
    discord_direct_messages: bool = True
    discord_shards: str = ""
    discord_admins: str = ""

    # a turn
    turn_seconds: Annotated[float, Field(gt=0)] = 600.0
    turn_rounds: Annotated[int, Field(ge=1, le=100)] = 20
    turn_tokens: Annotated[int, Field(ge=1000)] = 200_000
    turn_cpu_seconds: Annotated[float, Field(gt=0)] = 300.0
    turns_at_once: Annotated[int, Field(ge=1)] = 20
    turns_per_person: Annotated[int, Field(ge=1)] = 10
    turns_running_per_person: Annotated[int, Field(ge=1)] = 2
    message_chars: Annotated[int, Field(ge=100)] = 32_000
    upload_mib: Annotated[int, Field(ge=1)] = 32
    reply_file_mib: Annotated[int, Field(ge=1)] = 25
    reply_files: Annotated[int, Field(ge=1)] = 10
    turn_files_mib: Annotated[int, Field(ge=1)] = 200
    files_days: Annotated[float, Field(gt=0)] = 30.0
    files_mib: Annotated[int, Field(ge=1)] = 20_480

    # a sandbox
    cell_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    cell_timeout_most_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    memory_mib: Annotated[int, Field(ge=64)] = 1024
    cpus: Annotated[float, Field(ge=0.05)] = 1.0
    workspace_mib: Annotated[int, Field(ge=1)] = 512
    max_sandboxes: Annotated[int, Field(ge=1)] = 20
    sandbox_memory_mib: Annotated[int | None, Field(ge=256)] = None
    sandbox_wait_seconds: Annotated[float, Field(gt=0)] = 300.0
    warm_least: Annotated[int, Field(ge=0)] = 1
    warm_most: Annotated[int, Field(ge=0)] = 4
    warm_imports: str = ""
    idle_pause_seconds: Annotated[float, Field(gt=0)] = 90.0
    idle_save_seconds: Annotated[float, Field(gt=0)] = 1200.0
    retention_days: Annotated[float, Field(gt=0)] = 14.0
    save_files_mib: Annotated[int, Field(ge=0)] = 256
    save_variables_mib: Annotated[int, Field(ge=0)] = 128
    save_workspace_mib: Annotated[int, Field(ge=1)] = 2048
    save_all_mib: Annotated[int, Field(ge=1)] = 51_200
    save_give_up_hours: Annotated[float, Field(ge=0)] = 24.0
    blobs_url: str | None = None

    # the network of sandboxes
    network: Literal["off", "packages", "allowlist"] = "off"
    egress_hosts: str = ""
    egress_trusted: str = ""
    egress_proxy: SecretStr | None = None
    https_proxy: Annotated[SecretStr | None, Field(alias="HTTPS_PROXY")] = None
    no_proxy: Annotated[str, Field(alias="NO_PROXY")] = ""

    # engine-guard
    guard_socket: Path = Path("/run/threadbox/engine.sock")
    guard_containers: Annotated[int, Field(ge=1)] = 60

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"

    @field_validator("openai_base_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        try:
            parts = urlsplit(url or "")
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if url and not is_address:
            raise ValueError("it is not like https://host/v1")
        return url

    @field_validator("openai_api_key")
    @classmethod
    def _a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch(r"[!-~]+", key.get_secret_value()):
            raise ValueError("it has a character that no key has")
        return key

    @field_validator("database_url")
    @classmethod
    def _with_our_driver(cls, url: str | None) -> str | None:
        return url and with_driver(url)

    @property
    def has_model(self) -> bool:
        """Whether a model can be asked; without one code blocks run as they are."""
        return self.openai_api_key is not None or self.openai_base_url is not None

    @property
    def secrets(self) -> list[str]:
        """What must never be said in a chat."""
        secrets = (
            self.openai_api_key,
            self.web_token,
            self.slack_bot_token,
            self.slack_app_token,
            self.slack_signing_secret,
            self.discord_bot_token,
        )
        kept = [value.get_secret_value() for value in secrets if value is not None]
        proxies = [proxy.get_secret_value() for proxy in (self.egress_proxy, self.https_proxy) if proxy]
        urls = [url for url in (self.database_url, self.blobs_url, self.openai_base_url, *proxies) if url]
        of_store = [value for name, value in os.environ.items() if STORE.match(name) and SECRET.search(name)]
        return [*kept, *of_store, *(word for url in urls for word in _secrets_in(url))]

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.data_dir.expanduser().resolve()

    @property
    def database(self) -> str:
        """The application database as an SQLAlchemy URL."""
        return self.database_url or f"sqlite+aiosqlite:///{self.folder / 'threadbox.sqlite'}"


def _secrets_in(url: str) -> set[str]:
    """A URL's password and keys as they are written there and as they are meant; none of what is no URL.

    A name without a password is a key, as some gateways take it.
    """
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return set()
    found = [parts.password or ""]
    if parts.password is None and parts.scheme in ("http", "https"):
        found.append(parts.username or "")
    options = (option.partition("=") for option in parts.query.split("&"))
    found += [value for name, _, value in options if SECRET.search(name)]
    return {word for written in found for word in (written, unquote(written))} - {""}


def _shown(name: str, value: str) -> str:
    """A wrong value, where nothing secret can be in it: of a number, a choice or a pattern."""
    field = Settings.model_fields.get(name)
    return "" if field is None or name.endswith(("_url", "_proxy", "_token")) else f" (it is {value[:60]!r})"


Check = Callable[[Settings], object]
"""Makes or looks at something of the settings. Raises ConfigurationError, a line for each mistake."""


def load(checks: Iterable[Check] = ()) -> Settings:
    """The settings, checked, and by `checks` too. Raises ConfigurationError with one line for each mistake in all."""
    dotenv = _dotenv()
    for name, value in dotenv.items():
        if STORE.match(name) or name in OF_LIBRARIES:
            os.environ[name] = os.environ.get(name) or value
    lines = [*_unknown(dotenv)]
    try:
        settings = Settings()
    except ValidationError as error:
        lines += [_line(mistake) for mistake in error.errors()]
        names = [str(mistake["loc"][0]) for mistake in error.errors()]
        settings = Settings(**{name: _default(name) for name in names})  # so that the others are checked all the same
    for check in checks:
        try:
            check(settings)
        except ConfigurationError as error:
            lines += str(error).splitlines()
    ConfigurationError.raise_for(lines)
    return settings


def _dotenv() -> dict[str, str]:
    """What stands in .env. Raises ConfigurationError."""
    try:
        return {name: value for name, value in dotenv_values(".env").items() if value}
    except UnicodeDecodeError as error:
        raise ConfigurationError(f".env is not UTF-8 text, at byte {error.start}: save it as UTF-8.") from error


def _unknown(dotenv: Mapping[str, str]) -> Iterator[str]:
    """A line for each name that no setting has. In the environment only those that look mistyped are ours: an
    orchestrator puts addresses of a service named threadbox there."""
    known = {PREFIX + name.upper() for name, field in Settings.model_fields.items() if field.alias is None}
    given = {name for name in (*dotenv, *os.environ) if name.startswith(PREFIX)}
    for name in sorted(given - known):
        like = difflib.get_close_matches(
            name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1, LIKE
        )
        if like or name in dotenv:
            yield f"{name} is no setting." + "".join(f" Is {PREFIX}{one} meant?" for one in like)


def _line(mistake: ErrorDetails) -> str:
    name = str(mistake["loc"][0])
    variable = name if name.isupper() else f"THREADBOX_{name.upper()}"
    return f"{variable}: {mistake['msg'].removeprefix('Value error, ')}{_shown(name, str(mistake.get('input')))}"


def _default(name: str) -> Any:
    return next(field.default for own, field in Settings.model_fields.items() if name in (own, field.alias))


def build_environment() -> dict[str, str]:
    """What the image build may know of the host: proxies, package index, CA bundle."""
    dotenv = _dotenv()
    found = {name: os.environ.get(name) or dotenv.get(name) for name in (*BUILD_ARGUMENTS, *CA_VARIABLES)}
    return {name: value for name, value in found.items() if value}
