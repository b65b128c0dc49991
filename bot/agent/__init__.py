"""Who answers: an AutoGen agent with a model, or, where none is configured, the code in the message as it is.

`bot.agent.autogen` is imported only where a model is set: it brings AutoGen and the OpenAI client, a second of start.
"""
