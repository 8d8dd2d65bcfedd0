"""The history of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on."""
    op.create_table(
        "calls",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.String(length=24), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("carrier_call_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_calls_number", "calls", ["number", "seq"])
    op.create_index("ix_calls_caller", "calls", ["caller", "seq"])
    op.create_index("ix_calls_carrier_call_id", "calls", ["carrier_call_id"])
    op.create_index("ix_calls_refused", "calls", ["refused", "seq"])
    op.create_index("ix_calls_started_at", "calls", ["started_at"])
    op.create_table(
        "call_legs",
        sa.Column("sip_call_id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sip_call_id", "call_id"),
    )
    op.create_index("ix_call_legs_call_id", "call_legs", ["call_id"])


def downgrade() -> None:
    """Go back."""
    for table in ("call_legs", "calls"):
        op.drop_table(table)
