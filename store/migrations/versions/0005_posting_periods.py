"""The ERP's posting periods as billing runs read them."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = ("posting_periods",)

STATEMENTS = (
    """
    CREATE TABLE posting_periods (
        run text NOT NULL,
        connection text NOT NULL,
        subsidiary text NOT NULL,
        period_id text NOT NULL,
        name text NOT NULL,
        first_day date NOT NULL,
        last_day date NOT NULL,
        open boolean NOT NULL,
        read_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_posting_periods PRIMARY KEY (run, connection, subsidiary, period_id),
        CONSTRAINT ck_posting_periods_run_length CHECK (char_length(run) <= 255),
        CONSTRAINT ck_posting_periods_connection_length CHECK (char_length(connection) <= 255),
        CONSTRAINT ck_posting_periods_subsidiary_length CHECK (char_length(subsidiary) <= 255),
        CONSTRAINT ck_posting_periods_period_id_length CHECK (char_length(period_id) <= 255),
        CONSTRAINT ck_posting_periods_name_length CHECK (char_length(name) <= 255)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in reversed(TABLES):
        op.drop_table(table)
