"""Transcripts of voicemails; deliveries are found by their event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on."""
    op.add_column("voicemails", sa.Column("transcription", sa.String(length=16), nullable=True))
    op.add_column("voicemails", sa.Column("transcript", sa.Text(), nullable=True))
    op.create_index("ix_deliveries_event_id", "deliveries", ["event_id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_deliveries_event_id", "deliveries")
    op.drop_column("voicemails", "transcript")
    op.drop_column("voicemails", "transcription")
