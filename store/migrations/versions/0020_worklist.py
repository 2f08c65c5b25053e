"""One list of what waits for people: its owners and comments, residue seen to, the watch."""

from alembic import op

revision: str = "0020"
down_revision: str | None = "0014a"
branch_labels: str | None = None
depends_on: str | None = None

COLUMNS = """
ALTER TABLE work_items
    ADD COLUMN client_id TEXT DEFAULT '' NOT NULL,
    ADD COLUMN project_code TEXT DEFAULT '' NOT NULL,
    ADD COLUMN legal_entities TEXT[] DEFAULT '{}' NOT NULL,
    ADD COLUMN amount NUMERIC,
    ADD COLUMN currency TEXT,
    ADD CONSTRAINT ck_work_items_client_id_length CHECK (char_length(client_id) <= 255),
    ADD CONSTRAINT ck_work_items_project_code_length CHECK (char_length(project_code) <= 255),
    ADD CONSTRAINT ck_work_items_currency_length CHECK (char_length(currency) <= 3),
    ADD CONSTRAINT ck_work_items_money_is_whole CHECK ((amount IS NULL) = (currency IS NULL))
"""

# Amounts are written as `1,234.50 USD`.
FILL = r"""
UPDATE work_items SET
    client_id = left(coalesce(item ->> 'client_id', ''), 255),
    project_code = left(coalesce(item ->> 'project_code', ''), 255),
    legal_entities = ARRAY(
        SELECT jsonb_array_elements_text(coalesce(item -> 'legal_entities', '[]'))),
    amount = CASE WHEN item ->> 'amount' ~ '^-?[0-9,]+(\.[0-9]+)? [A-Z]{3}$'
        THEN CAST(replace(split_part(item ->> 'amount', ' ', 1), ',', '') AS numeric) END,
    currency = CASE WHEN item ->> 'amount' ~ '^-?[0-9,]+(\.[0-9]+)? [A-Z]{3}$'
        THEN split_part(item ->> 'amount', ' ', 2) END
FROM (SELECT id AS given, CAST(item_json AS jsonb) AS item FROM work_items) AS read
WHERE id = read.given
"""

RESIDUE = """
CREATE INDEX ix_saga_generations_residue ON saga_generations (ended_at)
WHERE outcome IN ('rolled_back_with_residue', 'completed_with_residue')
"""

OWNERS = """
CREATE TABLE work_owners (
    work_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    assigned_by TEXT NOT NULL,
    assigned_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_work_owners PRIMARY KEY (work_id),
    CONSTRAINT ck_work_owners_work_id_length CHECK (char_length(work_id) <= 255),
    CONSTRAINT ck_work_owners_owner_length CHECK (char_length(owner) <= 255),
    CONSTRAINT ck_work_owners_assigned_by_length CHECK (char_length(assigned_by) <= 255),
    CONSTRAINT ck_work_owners_owned_by_someone CHECK (owner <> '')
)
"""

COMMENTS = """
CREATE TABLE work_comments (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    work_id TEXT NOT NULL,
    by TEXT NOT NULL,
    comment TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_work_comments PRIMARY KEY (id),
    CONSTRAINT ck_work_comments_work_id_length CHECK (char_length(work_id) <= 255),
    CONSTRAINT ck_work_comments_by_length CHECK (char_length(by) <= 255),
    CONSTRAINT ck_work_comments_comment_length CHECK (char_length(comment) <= 2000),
    CONSTRAINT ck_work_comments_comment_says_something CHECK (comment <> '')
)
"""

ACKNOWLEDGED = """
CREATE TABLE acknowledged_residue (
    workflow_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    by TEXT NOT NULL,
    because TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_acknowledged_residue PRIMARY KEY (workflow_id, generation),
    CONSTRAINT ck_acknowledged_residue_workflow_id_length CHECK (char_length(workflow_id) <= 255),
    CONSTRAINT ck_acknowledged_residue_by_length CHECK (char_length(by) <= 255),
    CONSTRAINT ck_acknowledged_residue_because_length CHECK (char_length(because) <= 2000),
    CONSTRAINT ck_acknowledged_residue_because_says_something CHECK (because <> ''),
    CONSTRAINT fk_acknowledged_residue_saga_generations
        FOREIGN KEY (workflow_id, generation) REFERENCES saga_generations (workflow_id, generation)
)
"""

WATCHED = """
CREATE TABLE watched_runs (
    workflow_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    history_length INTEGER NOT NULL,
    unchanged_since TIMESTAMP WITH TIME ZONE NOT NULL,
    looked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_watched_runs PRIMARY KEY (workflow_id),
    CONSTRAINT ck_watched_runs_workflow_id_length CHECK (char_length(workflow_id) <= 255),
    CONSTRAINT ck_watched_runs_run_id_length CHECK (char_length(run_id) <= 255)
)
"""


def upgrade() -> None:
    """Create the tables; comments never change and never go."""
    for statement in (COLUMNS, FILL, RESIDUE, OWNERS, COMMENTS, ACKNOWLEDGED, WATCHED):
        op.execute(statement)
    op.execute("CREATE INDEX ix_work_owners_owner ON work_owners (owner)")
    op.execute("CREATE INDEX ix_work_comments_work_id ON work_comments (work_id, id)")
    op.execute("CREATE INDEX ix_watched_runs_looked_at ON watched_runs (looked_at)")
    op.execute(
        "CREATE TRIGGER work_comments_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON work_comments "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    )
    op.execute("ALTER TABLE work_comments ENABLE ALWAYS TRIGGER work_comments_kept")


def downgrade() -> None:
    """Drop them."""
    for table in ("watched_runs", "acknowledged_residue", "work_comments", "work_owners"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX ix_saga_generations_residue")
    op.execute(
        "ALTER TABLE work_items DROP COLUMN client_id, DROP COLUMN project_code, "
        "DROP COLUMN legal_entities, DROP COLUMN amount, DROP COLUMN currency"
    )
