"""Purchases at carriers: with which account, how far, and when to go on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on."""
    op.add_column("phone_numbers", sa.Column("account_id", sa.String(length=64), nullable=True))
    op.add_column("phone_numbers", sa.Column("progress", sa.Text(), nullable=True))
    op.add_column("phone_numbers", sa.Column("due_at", sa.Float(precision=53), nullable=True))
    op.create_index("ix_phone_numbers_account_id", "phone_numbers", ["account_id"])
    op.add_column("integrations", sa.Column("wired_until", sa.Float(precision=53), nullable=True))
    # What was half-way at the sandbox, the only carrier until now, is looked after at once.
    op.execute("UPDATE phone_numbers SET due_at = 0 WHERE provisioning IS NOT NULL")


def downgrade() -> None:
    """Go back."""
    op.drop_column("integrations", "wired_until")
    op.drop_index("ix_phone_numbers_account_id", "phone_numbers")
    for column in ("due_at", "progress", "account_id"):
        op.drop_column("phone_numbers", column)
