"""Greetings, and what agents say about recording."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on."""
    sequential = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "greetings",
        sa.Column("seq", sequential, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("duration_seconds", sa.Float(precision=53), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.add_column("agents", sa.Column("recording", sa.String(length=16), nullable=True))
    for table in ("agents", "phone_numbers"):
        op.add_column(table, sa.Column("voicemail_greeting", sa.String(length=64), nullable=True))
        op.create_index(f"ix_{table}_voicemail_greeting", table, ["voicemail_greeting"])


def downgrade() -> None:
    """Go back."""
    for table in ("phone_numbers", "agents"):
        op.drop_index(f"ix_{table}_voicemail_greeting", table)
        op.drop_column(table, "voicemail_greeting")
    op.drop_column("agents", "recording")
    op.drop_table("greetings")
