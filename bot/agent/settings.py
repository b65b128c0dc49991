"""What the agent is told of its model; apart from the agent, so that naming a model imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model answers and how far it may go."""

    model: str
    api_key: str
    base_url: str | None
    timeout_seconds: float
    max_output_tokens: int
    context_tokens: int
    temperature: float | None
    vision: bool
    tools: bool
    turn_rounds: int
    turn_tokens: int
    network: str = "There is no network."
    """What the model is told of the sandbox's network."""


def model_address(base_url: str) -> tuple[str, dict[str, str]]:
    """A base URL without its query, and the query: gateways name a version in it, which goes with every request."""
    parts = urlsplit(base_url)
    return parts._replace(query="", fragment="").geturl().rstrip("/"), dict(parse_qsl(parts.query))
