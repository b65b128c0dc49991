"""What the agent is told of its model; apart from the agent, so that naming a model imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


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
