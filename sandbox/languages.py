"""Which languages a block of code may be in."""

from __future__ import annotations

from typing import Literal

from sandbox.errors import UnsupportedLanguage

SHELLS = {"bash", "sh", "shell"}
PYTHONS = {"python", "py", "python3"}


def canonical_language(language: str) -> Literal["python", "shell"]:
    """The language a block is run as. Raises UnsupportedLanguage."""
    name = language.strip().lower()
    if name in PYTHONS:
        return "python"
    if name in SHELLS:
        return "shell"
    raise UnsupportedLanguage(
        f"Cannot run {language or 'a block with no language'!r}; the sandbox runs python and bash."
    )
