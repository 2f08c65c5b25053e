"""Backfills and their records."""

from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | None = None
depends_on: str | None = None

BACKFILLS = """
CREATE TABLE backfills (
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    connection TEXT NOT NULL,
    since DATE NOT NULL,
    until DATE NOT NULL,
    filter TEXT DEFAULT '' NOT NULL,
    state TEXT NOT NULL,
    rate NUMERIC NOT NULL,
    in_flight_max INTEGER NOT NULL,
    why TEXT DEFAULT '' NOT NULL,
    begun_by TEXT DEFAULT '' NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_backfills PRIMARY KEY (id),
    CONSTRAINT ck_backfills_id_length CHECK (char_length(id) <= 255),
    CONSTRAINT ck_backfills_kind_length CHECK (char_length(kind) <= 255),
    CONSTRAINT ck_backfills_connection_length CHECK (char_length(connection) <= 255),
    CONSTRAINT ck_backfills_filter_length CHECK (char_length(filter) <= 2000),
    CONSTRAINT ck_backfills_state_length CHECK (char_length(state) <= 255),
    CONSTRAINT ck_backfills_why_length CHECK (char_length(why) <= 2000),
    CONSTRAINT ck_backfills_begun_by_length CHECK (char_length(begun_by) <= 255),
    CONSTRAINT ck_backfills_kind_known CHECK (kind IN ('opportunities', 'time', 'milestones')),
    CONSTRAINT ck_backfills_window_is_one CHECK (since <= until)
)
"""

RECORDS = """
CREATE TABLE backfill_records (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    backfill TEXT NOT NULL,
    record TEXT NOT NULL,
    target TEXT NOT NULL,
    day DATE NOT NULL,
    amount NUMERIC,
    currency TEXT,
    version TEXT DEFAULT '' NOT NULL,
    state TEXT NOT NULL,
    why TEXT DEFAULT '' NOT NULL,
    planned TEXT NOT NULL,
    workflow_id TEXT DEFAULT '' NOT NULL,
    generation INTEGER DEFAULT 0 NOT NULL,
    followed BOOLEAN DEFAULT false NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_backfill_records PRIMARY KEY (id),
    CONSTRAINT uq_backfill_records_backfill_record UNIQUE (backfill, record),
    CONSTRAINT fk_backfill_records_backfills FOREIGN KEY (backfill) REFERENCES backfills (id),
    CONSTRAINT ck_backfill_records_backfill_length CHECK (char_length(backfill) <= 255),
    CONSTRAINT ck_backfill_records_record_length CHECK (char_length(record) <= 255),
    CONSTRAINT ck_backfill_records_target_length CHECK (char_length(target) <= 255),
    CONSTRAINT ck_backfill_records_version_length CHECK (char_length(version) <= 255),
    CONSTRAINT ck_backfill_records_why_length CHECK (char_length(why) <= 2000),
    CONSTRAINT ck_backfill_records_planned_length CHECK (char_length(planned) <= 255),
    CONSTRAINT ck_backfill_records_workflow_id_length CHECK (char_length(workflow_id) <= 255),
    CONSTRAINT ck_backfill_records_state_known CHECK (state IN ('planned', 'starting',
        'under_way', 'completed', 'adopted', 'already_done', 'parked', 'rejected', 'not_started')),
    CONSTRAINT ck_backfill_records_money_is_whole CHECK ((amount IS NULL) = (currency IS NULL))
)
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(BACKFILLS)
    op.execute(RECORDS)
    op.execute("CREATE INDEX ix_backfill_records_state ON backfill_records (backfill, state, id)")
    op.execute("CREATE INDEX ix_backfill_records_target ON backfill_records (backfill, target)")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE backfill_records")
    op.execute("DROP TABLE backfills")
