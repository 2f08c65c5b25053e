"""Alerts: the states of service-level rules, silences, deliveries of the outbox."""

from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | None = None
depends_on: str | None = None

ROUNDS = """
CREATE TABLE alert_rounds (
    rule TEXT NOT NULL,
    judged_at TIMESTAMP WITH TIME ZONE NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_alert_rounds PRIMARY KEY (rule),
    CONSTRAINT ck_alert_rounds_rule_length CHECK (char_length(rule) <= 255),
    CONSTRAINT ck_alert_rounds_error_length CHECK (char_length(error) <= 2000)
)
"""

STATES = """
CREATE TABLE alert_states (
    rule TEXT NOT NULL,
    entity TEXT NOT NULL,
    standing TEXT NOT NULL,
    turning_since TIMESTAMP WITH TIME ZONE,
    told BOOLEAN DEFAULT false NOT NULL,
    raised_at TIMESTAMP WITH TIME ZONE,
    cleared_at TIMESTAMP WITH TIME ZONE,
    document TEXT NOT NULL,
    CONSTRAINT pk_alert_states PRIMARY KEY (rule, entity),
    CONSTRAINT ck_alert_states_rule_length CHECK (char_length(rule) <= 255),
    CONSTRAINT ck_alert_states_entity_length CHECK (char_length(entity) <= 255),
    CONSTRAINT ck_alert_states_document_length CHECK (char_length(document) <= 100000),
    CONSTRAINT ck_alert_states_standing_known CHECK (standing IN ('quiet', 'raised')),
    CONSTRAINT ck_alert_states_raised_has_time
        CHECK (standing <> 'raised' OR raised_at IS NOT NULL)
)
"""

SILENCES = """
CREATE TABLE alert_silences (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    rule TEXT NOT NULL,
    entity TEXT DEFAULT '' NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    by TEXT NOT NULL,
    because TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_alert_silences PRIMARY KEY (id),
    CONSTRAINT ck_alert_silences_rule_length CHECK (char_length(rule) <= 255),
    CONSTRAINT ck_alert_silences_entity_length CHECK (char_length(entity) <= 255),
    CONSTRAINT ck_alert_silences_by_length CHECK (char_length(by) <= 255),
    CONSTRAINT ck_alert_silences_because_length CHECK (char_length(because) <= 2000),
    CONSTRAINT ck_alert_silences_silenced_for_a_reason CHECK (by <> '' AND because <> '')
)
"""

DELIVERIES = """
CREATE TABLE alert_deliveries (
    message BIGINT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    error TEXT DEFAULT '' NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_alert_deliveries PRIMARY KEY (message, channel),
    CONSTRAINT fk_alert_deliveries_outbox FOREIGN KEY (message) REFERENCES outbox (id)
        ON DELETE CASCADE,
    CONSTRAINT ck_alert_deliveries_channel_length CHECK (char_length(channel) <= 255),
    CONSTRAINT ck_alert_deliveries_error_length CHECK (char_length(error) <= 2000),
    CONSTRAINT ck_alert_deliveries_state_known
        CHECK (state IN ('waiting', 'sent', 'given_up', 'moot')),
    CONSTRAINT ck_alert_deliveries_ended_has_time
        CHECK ((state = 'waiting') = (ended_at IS NULL))
)
"""

# What was written before anybody could be told is history: nobody is to be told of it now.
OLD = "UPDATE outbox SET sent_at = now() WHERE sent_at IS NULL"


def upgrade() -> None:
    """Create the tables."""
    for statement in (ROUNDS, STATES, SILENCES, DELIVERIES, OLD):
        op.execute(statement)
    op.execute("CREATE INDEX ix_alert_silences_until ON alert_silences (until)")
    op.execute(
        "CREATE INDEX ix_alert_deliveries_waiting ON alert_deliveries (channel, message) "
        "WHERE state = 'waiting'"
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("alert_deliveries", "alert_silences", "alert_states", "alert_rounds"):
        op.execute(f"DROP TABLE {table}")
