"""How many slots a process wants at most: who polls wants one."""

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013b"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Let a lease say what its process wants at most."""
    op.execute(
        "ALTER TABLE budget_leases ADD COLUMN most INTEGER, "
        "ADD CONSTRAINT ck_budget_leases_most_positive CHECK (most > 0)"
    )


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE budget_leases DROP COLUMN most")
