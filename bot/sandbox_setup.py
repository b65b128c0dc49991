"""The bot's sandboxes, made from its settings."""

from __future__ import annotations

import re

from bot.errors import ConfigurationError
from bot.settings import Settings, build_environment
from sandbox.admission import AdmissionSettings
from sandbox.blobs import Blobs
from sandbox.contract import Engine
from sandbox.engine import DockerEngine
from sandbox.host_proxy import HostProxy
from sandbox.image_build import ImageSource
from sandbox.limits import Limits
from sandbox.pool import PoolSettings
from sandbox.reach import Reach, find_reach, host_and_port
from sandbox.reaper import DAY, LifeSettings
from sandbox.records import Records
from sandbox.service import OnExit, SandboxService, ServiceSettings
from sandbox.snapshot import SnapshotLimits, Snapshots

_HOST = re.compile(r"[a-z0-9_.-]+")
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+*_-]+")


def make_engine(settings: Settings, *, instance: str) -> DockerEngine:
    """The Docker engine with the configured image."""
    return DockerEngine(image=settings.image or image_source(settings).tag, instance=instance, runtime=settings.runtime)


def make_service(
    settings: Settings,
    engine: Engine,
    *,
    on_exit: OnExit = "remove",
    records: Records | None = None,
    snapshots: Snapshots | None = None,
    reach: Reach | None = None,
) -> SandboxService:
    """The sandbox service with the configured bounds; without records and snapshots nothing outlives it."""
    return SandboxService(
        engine,
        limits=sandbox_limits(settings),
        settings=service_settings(settings, on_exit),
        records=records,
        snapshots=snapshots,
        network=reach.network if reach else None,
        egress=reach.egress if reach else None,
    )


def sandbox_limits(settings: Settings) -> Limits:
    """Of each sandbox; a guard lets none through that is larger."""
    return Limits(
        memory_mib=settings.memory_mib,
        cpus=settings.cpus,
        workspace_mib=settings.workspace_mib,
        timeout_seconds=settings.cell_timeout_seconds,
    )


def service_settings(settings: Settings, on_exit: OnExit) -> ServiceSettings:
    """The service's slice of the settings. A process that ends with its answer makes no sandboxes ahead."""
    warm = settings.warm_most if on_exit == "leave" else 0
    return ServiceSettings(
        admission=AdmissionSettings(
            sandboxes=settings.max_sandboxes,
            memory_mib=settings.sandbox_memory_mib,
            wait_seconds=settings.sandbox_wait_seconds,
        ),
        pool=PoolSettings(
            least=min(settings.warm_least, warm),
            most=warm,
            imports=tuple(settings.warm_imports.replace(",", " ").split()),
        ),
        life=LifeSettings(
            pause_seconds=settings.idle_pause_seconds,
            save_seconds=settings.idle_save_seconds,
            retention_seconds=settings.retention_days * DAY,
            save_give_up_seconds=settings.save_give_up_hours * 3600,
            owner_mib=settings.save_workspace_mib,
            all_mib=settings.save_all_mib,
        ),
        on_exit=on_exit,
    )


def make_snapshots(settings: Settings) -> Snapshots:
    """Where the state of idle sandboxes is kept, and how much of it."""
    return Snapshots(
        make_blobs(settings),
        SnapshotLimits(files_mib=settings.save_files_mib, variables_mib=settings.save_variables_mib),
    )


def make_blobs(settings: Settings) -> Blobs:
    """The blob store; a folder of the data folder unless it is elsewhere. Raises ConfigurationError."""
    try:
        return Blobs.at(settings.blobs_url or str(settings.folder / "state"))
    except ValueError as error:
        raise ConfigurationError(f"THREADBOX_BLOBS_URL: {error}.") from error


def image_source(settings: Settings) -> ImageSource:
    """What the sandbox image is built from."""
    return ImageSource(base=settings.base_image, packages=extra_packages(settings), environment=build_environment())


def extra_packages(settings: Settings) -> tuple[str, ...]:
    """Requirements for the image. Raises ConfigurationError for one without a version."""
    words = tuple(settings.image_packages.replace(",", " ").split())
    ConfigurationError.raise_for(
        f"THREADBOX_IMAGE_PACKAGES: {word} is not name==version." for word in words if _PINNED.fullmatch(word) is None
    )
    return words


async def make_reach(settings: Settings, engine: Engine) -> Reach:
    """The network that the settings allow. Raises ConfigurationError, SandboxError."""
    hosts, trusted = egress_words(settings)
    limits, proxy = sandbox_limits(settings), host_proxy(settings)
    return await find_reach(engine, settings.network, hosts=hosts, trusted=trusted, proxy=proxy, limits=limits)


def egress_words(settings: Settings) -> tuple[list[str], list[str]]:
    """The hosts that sandboxes may reach, and those that are trusted. Raises ConfigurationError."""
    hosts, trusted = _words(settings.egress_hosts), _words(settings.egress_trusted)
    mistakes = [
        f"THREADBOX_EGRESS_HOSTS: {word} is not a host's name." for word in hosts if _HOST.fullmatch(word) is None
    ]
    for word in trusted:
        try:
            host_and_port(word)
        except ValueError as error:
            mistakes.append(f"THREADBOX_EGRESS_TRUSTED: {error}.")
    if settings.network == "allowlist" and not hosts:
        mistakes.append("THREADBOX_NETWORK is allowlist: THREADBOX_EGRESS_HOSTS must name a host.")
    ConfigurationError.raise_for(mistakes)
    return hosts, trusted


def host_proxy(settings: Settings) -> HostProxy | None:
    """Ours, else the machine's; of no use without a network. Raises ConfigurationError."""
    name = "THREADBOX_EGRESS_PROXY" if settings.egress_proxy else "HTTPS_PROXY"
    url = settings.egress_proxy or settings.https_proxy
    if url is None or settings.network == "off":
        return None
    try:
        return HostProxy.parse(url.get_secret_value(), settings.no_proxy)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}.") from error


def network_words(settings: Settings) -> str:
    """What the model is told of the network."""
    match settings.network:
        case "packages":
            return "`%pip install` works; there is no other network."
        case "allowlist":
            return f"Only these hosts can be reached, by https: {', '.join(_words(settings.egress_hosts))}."
        case _:
            return "There is no network, and nothing can be installed."


def _words(text: str) -> list[str]:
    return [word.lower() for word in text.replace(",", " ").split()]
