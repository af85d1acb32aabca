"""Questions, answers and delegations of requests."""

from alembic import op

from esml_engine.store import schema

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table that an estate of the third schema lacks."""
    schema.metadata.create_all(op.get_bind(), tables=[schema.request_talk], checkfirst=True)


def downgrade() -> None:
    """Drop it again."""
    schema.metadata.drop_all(op.get_bind(), tables=[schema.request_talk])
