"""Who leads a project, as its PSA said last: they review its drafts."""

from alembic import op

revision: str = "0014a"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None

TABLE = """
CREATE TABLE project_leads (
    psa TEXT NOT NULL,
    project_id TEXT NOT NULL,
    email TEXT DEFAULT '' NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_project_leads PRIMARY KEY (psa, project_id),
    CONSTRAINT ck_project_leads_psa_length CHECK (char_length(psa) <= 255),
    CONSTRAINT ck_project_leads_project_id_length CHECK (char_length(project_id) <= 255),
    CONSTRAINT ck_project_leads_email_length CHECK (char_length(email) <= 255),
    CONSTRAINT ck_project_leads_email_is_lower_case CHECK (email = lower(email))
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(TABLE)


def downgrade() -> None:
    """Drop it; who leads is read again."""
    op.execute("DROP TABLE project_leads")
