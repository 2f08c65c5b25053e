"""What happened under schedules."""

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

FACTS = """
CREATE TABLE schedule_facts (
    engagement TEXT NOT NULL,
    line TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    recorded_on DATE NOT NULL,
    document TEXT NOT NULL,
    by TEXT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_schedule_facts PRIMARY KEY (engagement, line, id),
    CONSTRAINT ck_schedule_facts_engagement_length CHECK (char_length(engagement) <= 255),
    CONSTRAINT ck_schedule_facts_line_length CHECK (char_length(line) <= 255),
    CONSTRAINT ck_schedule_facts_id_length CHECK (char_length(id) <= 255),
    CONSTRAINT ck_schedule_facts_kind_length CHECK (char_length(kind) <= 255),
    CONSTRAINT ck_schedule_facts_document_length CHECK (char_length(document) <= 2000000),
    CONSTRAINT ck_schedule_facts_by_length CHECK (char_length(by) <= 255),
    CONSTRAINT ck_schedule_facts_id_says_something CHECK (id <> '')
)
"""


def upgrade() -> None:
    """Create the table; facts never change and never go."""
    op.execute(FACTS)
    op.execute(
        "CREATE TRIGGER schedule_facts_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON schedule_facts "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    )
    op.execute("ALTER TABLE schedule_facts ENABLE ALWAYS TRIGGER schedule_facts_kept")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE schedule_facts")
