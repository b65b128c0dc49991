"""The tables. A change here goes with an Alembic revision in migrations/versions, never with an edit of an old one."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    true,
)

metadata = MetaData()

threads = Table(
    "threads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("platform", String(32), nullable=False),
    Column("workspace", String(128), nullable=False),
    Column("channel", String(128), nullable=False),
    Column("thread", String(128), nullable=False),
    Column("arrivals", Integer, nullable=False, default=0),  # the number of the last message that became a turn
    Column("has_sandbox", Boolean, nullable=False, default=False),
    Column("agent_state", JSON),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("platform", "workspace", "channel", "thread"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("thread_id", ForeignKey("threads.id"), nullable=False, index=True),
    Column("platform", String(32), nullable=False),
    Column("workspace", String(128), nullable=False),
    Column("channel", String(128), nullable=False),
    Column("message_id", String(128), nullable=False),
    Column("author_id", String(128), nullable=False),
    Column("body", JSON, nullable=False),  # bot.codec.message_to_json
    Column("created_at", DateTime(timezone=True), nullable=False),
    # a second delivery of the same message finds its claim here
    UniqueConstraint("platform", "workspace", "channel", "message_id"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("thread_id", ForeignKey("threads.id"), nullable=False, index=True),
    Column("message", ForeignKey("messages.id"), nullable=False, index=True),
    Column("status", String(16), nullable=False, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("joined", String(64)),  # the turn that took this one's message up while it ran
    # bot.views.Cost
    Column("tokens", Integer, nullable=False, server_default="0"),
    Column("run_ms", BigInteger, nullable=False, server_default="0"),
    Column("cpu_ms", Integer, nullable=False, server_default="0"),
    Column("peak_bytes", BigInteger, nullable=False, server_default="0"),
    Column("released", Boolean, nullable=False, server_default=true()),  # it was queued, or may be
)

replies = Table(
    "replies",
    metadata,
    Column("turn_id", ForeignKey("turns.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("body", JSON, nullable=False),  # bot.codec.reply_to_json
    Column("message_id", String(128)),
)
# few among all that ever were, and looked for every half minute; on the column itself, or SQLite begins elsewhere
Index(
    "ix_replies_not_posted",
    replies.c.message_id,
    sqlite_where=replies.c.message_id.is_(None),
    postgresql_where=replies.c.message_id.is_(None),
)

runs = Table(
    "runs",
    metadata,
    Column("request_id", String(96), primary_key=True),
    Column("turn_id", ForeignKey("turns.id"), nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
)

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("key", String(600), primary_key=True),
    Column("record", JSON, nullable=False),  # sandbox.records.Record
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(48), primary_key=True),
    Column("turn_id", ForeignKey("turns.id"), index=True),  # none: a person sent it
    Column("name", String(200), nullable=False),
    Column("mime", String(100), nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("platform_id", String(128)),  # what the platform calls it, kept before it is shown there
)

options = Table(
    "options",
    metadata,
    Column("platform", String(32), primary_key=True),
    Column("workspace", String(128), primary_key=True),
    Column("channel", String(128), primary_key=True),  # empty: for the whole workspace
    Column("thread", String(128), primary_key=True),  # empty: for the whole channel
    Column("name", String(32), primary_key=True),
    Column("value", String(8000), nullable=False),  # as people wrote it; bot.options reads it
    Column("set_by", String(128), nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("turn_id", ForeignKey("turns.id"), primary_key=True),
    Column("person_id", String(128), primary_key=True),
    Column("value", Integer, nullable=False),  # 1 or -1
    Column("given_at", DateTime(timezone=True), nullable=False),
)

memos = Table(  # what an adapter must know after a restart
    "memos",
    metadata,
    Column("platform", String(32), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", String(2000), nullable=False),
)

deliveries = Table(  # of events that are not messages: a second delivery finds the first
    "deliveries",
    metadata,
    Column("platform", String(32), primary_key=True),
    Column("event_id", String(200), primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False, index=True),
)
