"""Replies that are not posted are found without reading all that are."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    not_posted = sa.text("message_id IS NULL")
    op.create_index(
        "ix_replies_not_posted", "replies", ["message_id"], sqlite_where=not_posted, postgresql_where=not_posted
    )
