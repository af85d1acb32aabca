"""Numbers of table versions that were forgotten, which are not given again."""

from alembic import op

from esml_engine.store import schema

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table that an estate of the fourth schema lacks."""
    schema.metadata.create_all(op.get_bind(), tables=[schema.forgotten], checkfirst=True)


def downgrade() -> None:
    """Drop it again."""
    schema.metadata.drop_all(op.get_bind(), tables=[schema.forgotten])
