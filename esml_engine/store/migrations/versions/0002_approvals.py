"""Requests with their decisions, exceptions, comparisons, evidence."""

from alembic import op

from esml_engine.store import schema

revision = "0002"
down_revision = "0001"
_NEW = (
    schema.requests,
    schema.decisions,
    schema.exceptions,
    schema.comparisons,
    schema.evidence,
)


def upgrade() -> None:
    """Make the tables that an estate of the first schema lacks."""
    schema.metadata.create_all(op.get_bind(), tables=list(_NEW), checkfirst=True)


def downgrade() -> None:
    """Drop them again."""
    schema.metadata.drop_all(op.get_bind(), tables=list(_NEW))
