"""Jobs of ended runs whose own end was not heard, so that their cancel is repeated."""

from alembic import op

from esml_engine.store import schema

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table that an estate of the fifth schema lacks."""
    schema.metadata.create_all(op.get_bind(), tables=[schema.unended_jobs], checkfirst=True)


def downgrade() -> None:
    """Drop it again."""
    schema.metadata.drop_all(op.get_bind(), tables=[schema.unended_jobs])
