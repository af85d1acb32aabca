"""The first schema."""

from alembic import op

from esml_engine.store import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table and index."""
    schema.metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop them again."""
    schema.metadata.drop_all(op.get_bind())
