"""The operator's commands for the sandbox image."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich.console import Console

from bot.sandbox_setup import image_source, make_engine, sandbox_limits
from bot.settings import Settings
from bot.text import size_words
from sandbox.image_build import ensure_image
from sandbox.image_store import check_image, list_images, update_image
from sandbox.instances import process_instance

OK = 0
ID_CHARS = 19  # sha256: and twelve


async def have_image(settings: Settings, say: Callable[[str], None]) -> None:
    """Build the sandbox image if it is not there. Raises SandboxError."""
    if settings.image is None:
        await asyncio.to_thread(ensure_image, image_source(settings), say)
    else:
        engine = make_engine(settings, instance=process_instance())
        try:
            await check_image(engine, settings.image, sandbox_limits(settings))
        finally:
            await engine.aclose()


async def build(settings: Settings, say: Callable[[str], None]) -> int:
    """Build the image if it is not there, and print its name. Raises SandboxError."""
    say(await asyncio.to_thread(ensure_image, image_source(settings), say))
    return OK


async def update(settings: Settings, say: Callable[[str], None]) -> int:
    """Build it on the newest base, say what changed, remove the old ones. Raises SandboxError."""
    done = await asyncio.to_thread(update_image, image_source(settings), say)
    say(f"{done.tag} is new.")
    none = "There was no image before it." if done.is_first else "Nothing in it changed."
    for line in done.changed or (none,):
        say(f"  {line}")
    for tag in done.removed:
        say(f"Removed {tag}")
    return OK


async def show(settings: Settings, console: Console) -> int:
    """Print the images. Raises SandboxError."""
    current = settings.image or image_source(settings).tag
    for image in await asyncio.to_thread(list_images):
        mark = "*" if image.tag == current else " "
        pin = image.base_digest or f"{image.base_id[:ID_CHARS]}, of this machine: it has no digest"
        base = f"on {image.base} ({pin})" if image.base else ""
        line = f"{mark} {image.tag}  built {image.created}  {size_words(image.size_bytes)}  {base}"
        console.print(line.rstrip(), markup=False, soft_wrap=True)
    return OK
