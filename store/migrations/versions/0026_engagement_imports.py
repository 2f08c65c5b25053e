"""Who imported the terms that contract lines are rated by."""

from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | None = None
depends_on: str | None = None

IMPORTS = """
CREATE TABLE engagement_imports (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    engagement TEXT NOT NULL,
    psa TEXT NOT NULL,
    project_id TEXT NOT NULL,
    effective_from DATE NOT NULL,
    line TEXT NOT NULL,
    by TEXT NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_engagement_imports PRIMARY KEY (id),
    CONSTRAINT ck_engagement_imports_engagement_length CHECK (char_length(engagement) <= 255),
    CONSTRAINT ck_engagement_imports_psa_length CHECK (char_length(psa) <= 255),
    CONSTRAINT ck_engagement_imports_project_id_length CHECK (char_length(project_id) <= 255),
    CONSTRAINT ck_engagement_imports_line_length CHECK (char_length(line) <= 255),
    CONSTRAINT ck_engagement_imports_by_length CHECK (char_length(by) <= 255)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(IMPORTS)
    op.execute("CREATE INDEX ix_engagement_imports_project ON engagement_imports (psa, project_id)")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE engagement_imports")
