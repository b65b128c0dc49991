"""threadbox doctor: each thing Threadbox needs, whether it is there, and the mend."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

import httpx
from rich.console import Console

from bot.agent.settings import model_address
from bot.app import NO_KEY
from bot.errors import ConfigurationError
from bot.findings import engine_findings
from bot.sandbox_setup import make_engine
from bot.settings import Settings
from bot.store import Database
from bot.views import Finding
from sandbox import SandboxError

LEAST_FREE_MIB = 1024
STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def examine(settings: Settings, console: Console, platforms: Check) -> int:
    """Print the report; 1 when anything is an error."""
    checks: list[Check] = [engine_findings, check_image, check_model, check_data_folder, check_database, platforms]
    worst = 0
    for check in checks:
        for finding in await check(settings):
            console.print(f"[{STYLES[finding.level]}]{finding.level:8}[/] ", end="")
            console.print(finding.what, markup=False, soft_wrap=True)
            if finding.mend:
                console.print(f"         → {finding.mend}", markup=False, soft_wrap=True)
            worst = max(worst, int(finding.level == "error"))
    return worst


async def check_image(settings: Settings) -> list[Finding]:
    """Is the sandbox image built?"""
    engine = make_engine(settings, instance="doctor")
    try:
        if await engine.has_image():
            return [Finding(level="ok", what="The sandbox image is built")]
        if settings.image is not None:
            what = f"The engine has no image {settings.image}"
            return [Finding(level="error", what=what, mend="Pull or build it, or unset THREADBOX_IMAGE.")]
        return [Finding(level="warning", what="The sandbox image is not built", mend="threadbox run builds it.")]
    except SandboxError:
        return []  # said already
    finally:
        await engine.aclose()


async def check_model(settings: Settings) -> list[Finding]:
    """Does the model server answer with this key, and does it know the model?"""
    if not settings.has_model:
        return [
            Finding(
                level="warning", what="No model is set: code blocks run as they are", mend="Set OPENAI_API_KEY in .env."
            )
        ]
    base, query = model_address(settings.openai_base_url or "https://api.openai.com/v1")
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else NO_KEY
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{base}/models", params=query, headers={"Authorization": f"Bearer {key}"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        what = f"The model server does not answer ({type(error).__name__})"
        return [Finding(level="error", what=what, mend="Check OPENAI_BASE_URL.")]
    if answer.status_code in (401, 403):
        return [Finding(level="error", what="The model server does not accept the key", mend="Check OPENAI_API_KEY.")]
    if answer.status_code != httpx.codes.OK:
        what = f"The model server answers {answer.status_code} to a list of its models"
        return [Finding(level="warning", what=what, mend="Ask something and see whether an answer comes.")]
    if f'"{settings.model}"' not in answer.text:
        return [
            Finding(
                level="warning", what=f"The model server does not list {settings.model}", mend="Check THREADBOX_MODEL."
            )
        ]
    return [Finding(level="ok", what=f"The model server knows {settings.model}")]


async def check_data_folder(settings: Settings) -> list[Finding]:
    """Is there room?"""
    folder = settings.folder

    def look() -> list[Finding]:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free >> 20
        if free < LEAST_FREE_MIB:
            return [Finding(level="warning", what=f"{free} MiB are free for {folder}", mend="Make room.")]
        return [Finding(level="ok", what=f"Data folder {folder}, {free:,} MiB free")]

    return await asyncio.to_thread(look)


async def check_database(settings: Settings) -> list[Finding]:
    """Can the database be opened?"""
    if settings.database_url is None and not settings.folder.exists():
        return [Finding(level="ok", what="The database will be made at the first start")]
    try:
        await (await Database.open(settings.database)).aclose()
    except ConfigurationError as error:
        return [Finding(level="error", what=str(error), mend="Start it, or correct its address.")]
    return [Finding(level="ok", what="The database opens")]
