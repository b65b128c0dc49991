"""Which turns may run; those of before all may."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("turns", sa.Column("released", sa.Boolean(), nullable=False, server_default=sa.true()))
