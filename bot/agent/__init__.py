"""Who answers: an AutoGen agent with a model, or, where none is configured, the code in the message as it is."""

from bot.agent.autogen import AutoGenAgent, ModelSettings
from bot.agent.direct import DirectAgent

__all__ = ["AutoGenAgent", "DirectAgent", "ModelSettings"]
