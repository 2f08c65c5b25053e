"""From which day each draw counts for a schedule, up to which day it was asked, who decides."""

from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | None = None
depends_on: str | None = None

ASKED = """
CREATE TABLE schedule_asked (
    engagement TEXT NOT NULL,
    line TEXT NOT NULL,
    until DATE NOT NULL,
    CONSTRAINT pk_schedule_asked PRIMARY KEY (engagement, line),
    CONSTRAINT ck_schedule_asked_engagement_length CHECK (char_length(engagement) <= 255),
    CONSTRAINT ck_schedule_asked_line_length CHECK (char_length(line) <= 255)
)
"""

DRAWS = """
CREATE TABLE schedule_draws (
    part BIGINT NOT NULL,
    engagement TEXT NOT NULL,
    line TEXT NOT NULL,
    service_date DATE NOT NULL,
    amount NUMERIC NOT NULL,
    currency CHAR(3) NOT NULL,
    recorded_on DATE NOT NULL,
    undone_on DATE,
    CONSTRAINT pk_schedule_draws PRIMARY KEY (part),
    CONSTRAINT ck_schedule_draws_engagement_length CHECK (char_length(engagement) <= 255),
    CONSTRAINT ck_schedule_draws_line_length CHECK (char_length(line) <= 255),
    CONSTRAINT ck_schedule_draws_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$')
)
"""

INDEX = "CREATE INDEX ix_schedule_draws_engagement ON schedule_draws (engagement, line)"

RETAINERS = "ALTER TABLE retainers ADD COLUMN by_schedule BOOLEAN DEFAULT false NOT NULL"

# What was billed by a schedule was asked for up to the day of its fee.
ASKED_BEFORE = """
INSERT INTO schedule_asked (engagement, line, until)
SELECT engagement, line, max((reserved_at AT TIME ZONE 'UTC')::date)
FROM fees WHERE source = 'schedule' GROUP BY engagement, line
"""

# Draws that counted already keep the days under which they did.
DRAWN_BEFORE = """
INSERT INTO schedule_draws (part, engagement, line, service_date, amount, currency, recorded_on)
SELECT part.id, run.engagement, rating.line, version.service_date, part.amount, part.currency,
    (version.handed_over_at AT TIME ZONE 'UTC')::date
FROM parts AS part
JOIN billing_runs AS run ON run.run_key = part.run_key
JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
JOIN entry_versions AS version ON version.id = part.entry
JOIN schedule_asked AS asked ON asked.engagement = run.engagement AND asked.line = rating.line
WHERE part.disposition = 'drawn_from_retainer' AND part.amount <> 0
    AND version.handed_over_at IS NOT NULL
"""


def upgrade() -> None:
    """Create the tables, and fill them with what counted before."""
    for statement in (ASKED, DRAWS, INDEX, RETAINERS, ASKED_BEFORE, DRAWN_BEFORE):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE retainers DROP COLUMN by_schedule")
    op.execute("DROP TABLE schedule_draws")
    op.execute("DROP TABLE schedule_asked")
