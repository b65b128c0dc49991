"""The bot: what a thread is, how a message becomes a turn, and where its answer goes."""
