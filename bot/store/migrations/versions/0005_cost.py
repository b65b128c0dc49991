"""What the cells of a turn took on the clock and of memory, beside processor time and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("run_ms", "peak_bytes"):
        op.add_column("turns", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
