"""Named views of scored data; intervals of a candidate's metrics."""

import sqlalchemy as sa
from alembic import op

from esml_engine.store import schema

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make what an estate of the second schema lacks."""
    schema.metadata.create_all(op.get_bind(), tables=[schema.saved_views], checkfirst=True)
    have = {c["name"] for c in sa.inspect(op.get_bind()).get_columns("candidates")}
    if "intervals" not in have:
        op.add_column("candidates", sa.Column("intervals", sa.JSON))


def downgrade() -> None:
    """Drop them again."""
    with op.batch_alter_table("candidates") as candidates:
        candidates.drop_column("intervals")
    schema.metadata.drop_all(op.get_bind(), tables=[schema.saved_views])
