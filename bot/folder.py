"""The data folder: private, for one process at a time, and with nothing of others in it."""

from __future__ import annotations

import json
from pathlib import Path

from filelock import FileLock, Timeout

from bot.clock import utc_now
from bot.errors import AlreadyRunning, ConfigurationError

LOCK, INSTANCE = "lock", "instance.json"
OURS = {LOCK, INSTANCE, "threadbox.sqlite"}
OF_A_DISK = {"lost+found"}


def is_ours(folder: Path) -> bool:
    """Whether everything in a folder may be closed to other people: it is a data folder already, or empty."""
    found = {path.name for path in folder.iterdir()} - OF_A_DISK
    return not found or bool(found & OURS)


def make_private(folder: Path) -> None:
    """Make it, for this user alone. Raises ConfigurationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(f"THREADBOX_DATA_DIR: {folder} cannot be kept private: {error.strerror}.") from error


def locked(folder: Path) -> FileLock:
    """The data folder for one process alone. Raises AlreadyRunning."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AlreadyRunning(
            f"Another Threadbox uses the data folder {folder}. Stop it, or set THREADBOX_DATA_DIR to another folder."
        ) from error
    return lock


def container_instance(folder: Path) -> str:
    """This installation's name on the engine, kept in the data folder, so that a new start knows its containers."""
    path = folder / INSTANCE
    if not path.exists():
        path.write_text(json.dumps({"instance": folder.name + "-" + utc_now().strftime("%Y%m%d%H%M%S%f")}))
    return str(json.loads(path.read_text())["instance"])
