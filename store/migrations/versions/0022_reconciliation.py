"""Reconciliation: runs and findings, and the scratch of runs."""

from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None

RUNS = """
CREATE TABLE reconciliation_runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    psa TEXT DEFAULT '' NOT NULL,
    legal_entity TEXT DEFAULT '' NOT NULL,
    period TEXT DEFAULT '' NOT NULL,
    asked_by TEXT DEFAULT '' NOT NULL,
    heal BOOLEAN DEFAULT false NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    compared JSONB DEFAULT '[]' NOT NULL,
    failed JSONB DEFAULT '{}' NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_reconciliation_runs PRIMARY KEY (id),
    CONSTRAINT ck_reconciliation_runs_psa_length CHECK (char_length(psa) <= 255),
    CONSTRAINT ck_reconciliation_runs_legal_entity_length CHECK (char_length(legal_entity) <= 255),
    CONSTRAINT ck_reconciliation_runs_period_length CHECK (char_length(period) <= 255),
    CONSTRAINT ck_reconciliation_runs_asked_by_length CHECK (char_length(asked_by) <= 255),
    CONSTRAINT ck_reconciliation_runs_state_known CHECK (state IN ('open', 'ended', 'superseded')),
    CONSTRAINT ck_reconciliation_runs_ended_has_time CHECK ((state = 'open') = (ended_at IS NULL))
)
"""
FINDINGS = """
CREATE TABLE reconciliation_findings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    key TEXT NOT NULL,
    psa TEXT DEFAULT '' NOT NULL,
    legal_entity TEXT DEFAULT '' NOT NULL,
    period TEXT DEFAULT '' NOT NULL,
    comparison TEXT NOT NULL,
    code TEXT NOT NULL,
    class TEXT NOT NULL,
    system TEXT NOT NULL,
    record_type TEXT NOT NULL,
    record_id TEXT NOT NULL,
    client_id TEXT DEFAULT '' NOT NULL,
    project_id TEXT DEFAULT '' NOT NULL,
    amount NUMERIC,
    currency TEXT DEFAULT '' NOT NULL,
    explanation TEXT NOT NULL,
    remedy TEXT DEFAULT '' NOT NULL,
    rows JSONB NOT NULL,
    opens INTEGER DEFAULT 1 NOT NULL,
    work_item TEXT DEFAULT '' NOT NULL,
    healing TEXT DEFAULT '' NOT NULL,
    healed_as TEXT DEFAULT '' NOT NULL,
    first_run BIGINT NOT NULL,
    last_run BIGINT NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_reconciliation_findings PRIMARY KEY (id),
    CONSTRAINT ck_reconciliation_findings_key_length CHECK (char_length(key) <= 600),
    CONSTRAINT ck_reconciliation_findings_psa_length CHECK (char_length(psa) <= 255),
    CONSTRAINT ck_reconciliation_findings_legal_entity_length
        CHECK (char_length(legal_entity) <= 255),
    CONSTRAINT ck_reconciliation_findings_period_length CHECK (char_length(period) <= 255),
    CONSTRAINT ck_reconciliation_findings_comparison_length CHECK (char_length(comparison) <= 255),
    CONSTRAINT ck_reconciliation_findings_code_length CHECK (char_length(code) <= 255),
    CONSTRAINT ck_reconciliation_findings_class_length CHECK (char_length(class) <= 255),
    CONSTRAINT ck_reconciliation_findings_system_length CHECK (char_length(system) <= 255),
    CONSTRAINT ck_reconciliation_findings_record_type_length
        CHECK (char_length(record_type) <= 255),
    CONSTRAINT ck_reconciliation_findings_record_id_length CHECK (char_length(record_id) <= 255),
    CONSTRAINT ck_reconciliation_findings_client_id_length CHECK (char_length(client_id) <= 255),
    CONSTRAINT ck_reconciliation_findings_project_id_length CHECK (char_length(project_id) <= 255),
    CONSTRAINT ck_reconciliation_findings_currency_length CHECK (char_length(currency) <= 3),
    CONSTRAINT ck_reconciliation_findings_explanation_length
        CHECK (char_length(explanation) <= 2000),
    CONSTRAINT ck_reconciliation_findings_remedy_length CHECK (char_length(remedy) <= 2000),
    CONSTRAINT ck_reconciliation_findings_work_item_length CHECK (char_length(work_item) <= 255),
    CONSTRAINT ck_reconciliation_findings_healing_length CHECK (char_length(healing) <= 255),
    CONSTRAINT ck_reconciliation_findings_healed_as_length CHECK (char_length(healed_as) <= 2000),
    CONSTRAINT ck_reconciliation_findings_class_known
        CHECK (class IN ('orphan', 'timing_gap', 'mismatch', 'duplicate')),
    CONSTRAINT ck_reconciliation_findings_opens_count_from_one CHECK (opens > 0)
)
"""
EXTRACTS = """
CREATE UNLOGGED TABLE reconciliation_extracts (
    run BIGINT NOT NULL,
    connection TEXT NOT NULL,
    kind TEXT NOT NULL,
    attempt TEXT NOT NULL,
    rows BIGINT DEFAULT 0 NOT NULL,
    listed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_reconciliation_extracts PRIMARY KEY (run, connection, kind),
    CONSTRAINT ck_reconciliation_extracts_connection_length CHECK (char_length(connection) <= 255),
    CONSTRAINT ck_reconciliation_extracts_kind_length CHECK (char_length(kind) <= 255),
    CONSTRAINT ck_reconciliation_extracts_attempt_length CHECK (char_length(attempt) <= 64)
)
"""
ROWS = """
CREATE UNLOGGED TABLE reconciliation_rows (
    run BIGINT NOT NULL,
    connection TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    number TEXT NOT NULL,
    client_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    date DATE,
    state TEXT NOT NULL,
    amount NUMERIC,
    left_amount NUMERIC,
    currency TEXT NOT NULL,
    minutes INTEGER,
    links TEXT[] NOT NULL,
    version TEXT NOT NULL,
    invoice_id TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE
)
"""
CANDIDATES = """
CREATE UNLOGGED TABLE reconciliation_candidates (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run BIGINT NOT NULL,
    connection TEXT NOT NULL,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    record_type TEXT NOT NULL,
    record_id TEXT NOT NULL,
    client_id TEXT DEFAULT '' NOT NULL,
    project_id TEXT DEFAULT '' NOT NULL,
    amount NUMERIC,
    currency TEXT DEFAULT '' NOT NULL,
    under_way TEXT DEFAULT '' NOT NULL,
    waits BOOLEAN DEFAULT false NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE,
    rows JSONB NOT NULL,
    CONSTRAINT pk_reconciliation_candidates PRIMARY KEY (id)
)
"""
INDEXES = (
    (
        "CREATE UNIQUE INDEX uq_reconciliation_runs_open ON reconciliation_runs (psa, "
        "legal_entity, period) WHERE state = 'open'"
    ),
    (
        "CREATE INDEX ix_reconciliation_findings_open ON reconciliation_findings (psa, "
        "legal_entity, comparison) WHERE closed_at IS NULL"
    ),
    ("CREATE INDEX ix_reconciliation_findings_run ON reconciliation_findings (last_run)"),
    ("CREATE UNIQUE INDEX uq_reconciliation_findings_key ON reconciliation_findings (key)"),
    ("CREATE INDEX ix_reconciliation_rows_listed ON reconciliation_rows (run, connection, kind)"),
    ("CREATE INDEX ix_reconciliation_candidates_run ON reconciliation_candidates (run, id)"),
)


def upgrade() -> None:
    """Create the tables; the scratch is unlogged, since a run that lost it lists anew."""
    for statement in (RUNS, FINDINGS, EXTRACTS, ROWS, CANDIDATES, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("candidates", "rows", "extracts", "findings", "runs"):
        op.execute(f"DROP TABLE reconciliation_{table}")
