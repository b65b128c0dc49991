"""A key that outlives the process, in a file of the data folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def kept_key(path: Path) -> bytes:
    """The key in a file, made at the first call; who removes the file makes whatever it signed worthless."""
    if not path.exists() or len(key := path.read_bytes()) != KEY_BYTES:
        key = secrets.token_bytes(KEY_BYTES)
        half = path.with_suffix(".new")  # a crash leaves this one behind, never a key of half its length
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
        half.replace(path)
    return key
