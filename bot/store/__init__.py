"""The application database: one schema on SQLite or PostgreSQL, one module a concern."""

from bot.store.choices import SqlChoices
from bot.store.database import Database
from bot.store.inbox import SqlInbox
from bot.store.memos import SqlMemos
from bot.store.outbox import SqlHistory, SqlOutbox
from bot.store.releases import SqlClaims
from bot.store.sandboxes import SqlRecords
from bot.store.turns import SqlTurns
from bot.store.waiting import SqlPeople, SqlWaiting

__all__ = [
    "Database",
    "SqlChoices",
    "SqlClaims",
    "SqlHistory",
    "SqlInbox",
    "SqlMemos",
    "SqlOutbox",
    "SqlPeople",
    "SqlRecords",
    "SqlTurns",
    "SqlWaiting",
]
