"""The first schema."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on."""
    op.create_table(
        "agents",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("endpoints", sa.LargeBinary(), nullable=False),
        sa.Column("voicemail_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("updated_at", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "api_keys",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("shown", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("expires_at", sa.String(length=24), nullable=True),
        sa.Column("revoked_at", sa.String(length=24), nullable=True),
        sa.Column("last_used_at", sa.String(length=24), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "idempotency",
        sa.Column("api_key_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "key"),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_created_at"), ["created_at"], unique=False)

    op.create_table(
        "integrations",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("api_key", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.String(length=16), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("updated_at", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "outbox",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("accepted_at", sa.Float(precision=53), nullable=False),
        sa.Column("mark", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )
    op.create_table(
        "phone_number_counts",
        sa.Column("agent_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "provider", "status"),
    )
    op.create_table(
        "phone_numbers",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("phone_number", sa.String(length=16), nullable=False),
        sa.Column("friendly_name", sa.Text(), nullable=True),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("agent_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("inbound_routing", sa.Text(), nullable=True),
        sa.Column("provider_config", sa.LargeBinary(), nullable=True),
        sa.Column("credential_id", sa.String(length=64), nullable=True),
        sa.Column("provisioning", sa.String(length=16), nullable=True),
        sa.Column("reference", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.String(length=24), nullable=False),
        sa.Column("updated_at", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("phone_number"),
        sa.UniqueConstraint("reference"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("phone_numbers", schema=None) as batch_op:
        batch_op.create_index("ix_phone_numbers_credential_id", ["credential_id"], unique=False)
        batch_op.create_index("ix_phone_numbers_provider", ["provider", "seq"], unique=False)
        batch_op.create_index("ix_phone_numbers_status", ["status", "seq"], unique=False)
        batch_op.create_index("ix_phone_numbers_provider_status", ["provider", "status", "seq"], unique=False)
        some = sa.text("provisioning IS NOT NULL")
        batch_op.create_index(
            "ix_phone_numbers_provisioning", ["seq"], unique=False, sqlite_where=some, postgresql_where=some
        )
        batch_op.create_index("ix_phone_numbers_updated_at", ["updated_at"], unique=False)

    state = op.create_table(
        "state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_id", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(length=16), nullable=False),
        sa.Column("seeded", sa.Boolean(), nullable=False),
        sa.Column("key_check", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    first = {"id": 1, "store_id": secrets.token_hex(8), "revision": 0, "mark": "", "seeded": False}
    op.bulk_insert(state, [first])
    op.create_table(
        "phone_number_agents",
        sa.Column("agent_id", sa.String(length=64), nullable=False),
        sa.Column("number_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
        ),
        sa.ForeignKeyConstraint(["number_seq"], ["phone_numbers.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("agent_id", "number_seq"),
    )
    with op.batch_alter_table("phone_number_agents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_phone_number_agents_number_seq"), ["number_seq"], unique=False)


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("phone_number_agents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_phone_number_agents_number_seq"))

    op.drop_table("phone_number_agents")
    op.drop_table("state")
    with op.batch_alter_table("phone_numbers", schema=None) as batch_op:
        batch_op.drop_index("ix_phone_numbers_updated_at")
        batch_op.drop_index("ix_phone_numbers_provisioning")
        batch_op.drop_index("ix_phone_numbers_provider_status")
        batch_op.drop_index("ix_phone_numbers_status")
        batch_op.drop_index("ix_phone_numbers_provider")
        batch_op.drop_index("ix_phone_numbers_credential_id")

    op.drop_table("phone_numbers")
    op.drop_table("phone_number_counts")
    op.drop_table("outbox")
    op.drop_table("integrations")
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_created_at"))

    op.drop_table("idempotency")
    op.drop_table("api_keys")
    op.drop_table("agents")
