"""The inbox of events, and how far each feed has been read."""

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = ("poll_marks", "event_inbox")

STATEMENTS = (
    """
    CREATE TABLE event_inbox (
        id bigint GENERATED ALWAYS AS IDENTITY,
        connection text NOT NULL,
        event_id text NOT NULL,
        protocol text NOT NULL,
        kind text DEFAULT '' NOT NULL,
        subject text DEFAULT '' NOT NULL,
        body bytea NOT NULL,
        encrypted boolean DEFAULT false NOT NULL,
        headers_json text DEFAULT '' NOT NULL,
        correlation_id text DEFAULT '' NOT NULL,
        state text DEFAULT 'received' NOT NULL,
        attempts integer DEFAULT 0 NOT NULL,
        replays integer DEFAULT 0 NOT NULL,
        reason text DEFAULT '' NOT NULL,
        workflow_id text DEFAULT '' NOT NULL,
        received_at timestamptz DEFAULT now() NOT NULL,
        next_attempt_at timestamptz DEFAULT now() NOT NULL,
        ended_at timestamptz,
        CONSTRAINT pk_event_inbox PRIMARY KEY (id),
        CONSTRAINT uq_event_inbox_connection_event_id UNIQUE (connection, event_id),
        CONSTRAINT ck_event_inbox_connection_length CHECK (char_length(connection) <= 255),
        CONSTRAINT ck_event_inbox_event_id_length CHECK (char_length(event_id) <= 255),
        CONSTRAINT ck_event_inbox_protocol_length CHECK (char_length(protocol) <= 255),
        CONSTRAINT ck_event_inbox_kind_length CHECK (char_length(kind) <= 255),
        CONSTRAINT ck_event_inbox_subject_length CHECK (char_length(subject) <= 255),
        CONSTRAINT ck_event_inbox_headers_json_length CHECK (char_length(headers_json) <= 20000),
        CONSTRAINT ck_event_inbox_correlation_id_length CHECK (char_length(correlation_id) <= 255),
        CONSTRAINT ck_event_inbox_reason_length CHECK (char_length(reason) <= 2000),
        CONSTRAINT ck_event_inbox_workflow_id_length CHECK (char_length(workflow_id) <= 255),
        CONSTRAINT ck_event_inbox_state_known
            CHECK (state IN ('received', 'delivered', 'ignored', 'dead')),
        CONSTRAINT ck_event_inbox_body_length CHECK (octet_length(body) <= 4194304),
        CONSTRAINT ck_event_inbox_attempts_not_negative CHECK (attempts >= 0),
        CONSTRAINT ck_event_inbox_ended_has_time
            CHECK ((state = 'received') = (ended_at IS NULL))
    )
    """,
    "CREATE INDEX ix_event_inbox_received ON event_inbox (id) WHERE state = 'received'",
    "CREATE INDEX ix_event_inbox_dead ON event_inbox (id) WHERE state = 'dead'",
    """
    CREATE TABLE poll_marks (
        connection text NOT NULL,
        mark timestamptz NOT NULL,
        moved_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_poll_marks PRIMARY KEY (connection),
        CONSTRAINT ck_poll_marks_connection_length CHECK (char_length(connection) <= 255)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
