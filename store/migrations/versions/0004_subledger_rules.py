"""What no column constraint can say of the subledger: legal moves, their trail, exact sums.

Every change of state passes one of three triggers, which refuse an illegal move and a changed fact
and write the trail. They work per statement, so that 500 entries cost one pass. Sums are compared
at commit, since a placed entry and its parts are written one after the other.
"""

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003a"
branch_labels: str | None = None
depends_on: str | None = None

ENTRY_MOVES = """
CREATE FUNCTION subledger_entry_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT was.id, was.state AS was, now_.state AS now_ INTO wrong
    FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
        ('waiting', 'approved'), ('waiting', 'withdrawn'),
        ('approved', 'claimed'), ('approved', 'withdrawn'), ('withdrawn', 'approved'),
        ('withdrawn', 'waiting'),
        ('claimed', 'rated'), ('rated', 'placed'),
        ('placed', 'rated'), ('rated', 'approved'), ('claimed', 'approved'),
        ('claimed', 'withdrawn'), ('rated', 'withdrawn'))
        OR was.handed_over_at IS NOT NULL AND was.state <> now_.state
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry version %: no move from % to %', wrong.id, wrong.was, wrong.now_
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    PERFORM FROM before AS was JOIN after AS now_ USING (id)
    WHERE (was.source, was.kind, was.entry_id, was.version, was.minutes, was.amount, was.currency,
            was.service_date, was.person_id, was.task_id, was.billable)
        IS DISTINCT FROM (now_.source, now_.kind, now_.entry_id, now_.version, now_.minutes,
            now_.amount, now_.currency, now_.service_date, now_.person_id, now_.task_id,
            now_.billable);
    IF FOUND THEN
        RAISE EXCEPTION 'the facts of an entry version never change'
            USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO moves (track, entry, from_state, to_state, run_key, act, because)
    SELECT 'entry', now_.id, was.state, now_.state, coalesce(now_.run_key, was.run_key),
        coalesce(current_setting('dealthread.act', true), ''),
        CASE WHEN now_.state IN ('withdrawn', 'waiting') THEN now_.because ELSE '' END
    FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state ORDER BY now_.id;
    RETURN NULL;
END
$$
"""

ENTRY_BEGINS = """
CREATE FUNCTION subledger_entry_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM after WHERE state NOT IN ('approved', 'waiting');
    IF FOUND THEN
        RAISE EXCEPTION 'an entry version begins approved or waiting'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO moves (track, entry, to_state, act)
    SELECT 'entry', id, state, coalesce(current_setting('dealthread.act', true), '')
    FROM after ORDER BY id;
    RETURN NULL;
END
$$
"""

PART_MOVES = """
CREATE FUNCTION subledger_part_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM after WHERE state <> 'placed' AND NOT (state = 'approved' AND cycle > 1);
        IF FOUND THEN
            RAISE EXCEPTION 'a part begins placed, or approved in a further cycle'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO moves (track, entry, cycle, part, to_state, amount, run_key, act)
        SELECT 'part', entry, cycle, number, state, amount, run_key, act FROM after ORDER BY id;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM FROM before AS was LEFT JOIN entry_versions AS entry ON entry.id = was.entry
        LEFT JOIN postings AS posting ON posting.id = was.posting
        WHERE was.state <> 'placed' OR posting.state = 'live' OR entry.handed_over_at IS NOT NULL;
        IF FOUND THEN
            RAISE EXCEPTION 'a part that was posted or handed over stays'
                USING ERRCODE = 'restrict_violation';
        END IF;
        INSERT INTO moves (track, entry, cycle, part, from_state, to_state, amount, run_key, act)
        SELECT 'part', entry, cycle, number, state, 'removed', amount, run_key, act
        FROM before ORDER BY id;
    ELSE
        PERFORM FROM before AS was JOIN after AS now_ USING (id)
        WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
                ('approved', 'claimed'), ('claimed', 'rated'), ('rated', 'placed'),
                ('claimed', 'approved'), ('rated', 'approved'), ('placed', 'drafted'),
                ('drafted', 'placed'), ('drafted', 'released'), ('released', 'drafted'),
                ('released', 'invoiced'), ('invoiced', 'credited'))
            OR (was.entry, was.cycle, was.number, was.disposition, was.amount, was.currency)
            IS DISTINCT FROM (now_.entry, now_.cycle, now_.number, now_.disposition, now_.amount,
                now_.currency);
        IF FOUND THEN
            RAISE EXCEPTION 'a part takes no such move, and its amount never changes'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO moves (track, entry, cycle, part, from_state, to_state, amount, run_key, act)
        SELECT 'part', now_.entry, now_.cycle, now_.number, was.state, now_.state, now_.amount,
            now_.run_key, act
        FROM before AS was JOIN after AS now_ USING (id)
        WHERE was.state <> now_.state ORDER BY now_.id;
    END IF;
    RETURN NULL;
END
$$
"""

COST_MOVES = """
CREATE FUNCTION subledger_cost_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM after WHERE state <> 'pending';
        IF FOUND THEN
            RAISE EXCEPTION 'a cost begins pending'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO moves (track, entry, to_state, amount, run_key, act)
        SELECT 'cost', entry, state, amount, run_key, act FROM after ORDER BY id;
    ELSE
        PERFORM FROM before AS was JOIN after AS now_ USING (id)
        WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
                ('pending', 'posted'), ('pending', 'reversed'), ('posted', 'reversed'))
            OR (was.entry, was.amount, was.currency)
            IS DISTINCT FROM (now_.entry, now_.amount, now_.currency);
        IF FOUND THEN
            RAISE EXCEPTION 'a cost takes no such move, and its amount never changes'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO moves (track, entry, from_state, to_state, amount, run_key, act)
        SELECT 'cost', now_.entry, was.state, now_.state, now_.amount, now_.run_key, act
        FROM before AS was JOIN after AS now_ USING (id)
        WHERE was.state <> now_.state ORDER BY now_.id;
    END IF;
    RETURN NULL;
END
$$
"""

PARTS_SUM = """
CREATE FUNCTION subledger_parts_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    subject bigint;
    wrong record;
BEGIN
    IF TG_TABLE_NAME = 'entry_versions' THEN
        subject := NEW.id;
    ELSIF TG_OP = 'DELETE' THEN
        subject := OLD.entry;
    ELSE
        subject := NEW.entry;
    END IF;
    SELECT version.id, rating.amount, placed.amount AS parts INTO wrong
    FROM entry_versions AS version
    LEFT JOIN ratings AS rating ON rating.entry = version.id
    LEFT JOIN LATERAL (
        SELECT count(*) AS n, sum(part.amount) AS amount, sum(part.minutes) AS minutes,
            count(*) FILTER (WHERE part.currency <> rating.currency) AS foreign_
        FROM parts AS part WHERE part.entry = version.id AND part.cycle = rating.cycle
    ) AS placed ON true
    WHERE version.id = subject AND (version.state = 'placed' OR placed.n > 0)
        AND (version.state <> 'placed' OR rating.amount IS NULL
            OR placed.amount IS DISTINCT FROM rating.amount
            OR placed.minutes <> rating.minutes OR placed.foreign_ > 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry version %: its parts are not its rated amount', wrong.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

FUNCTIONS = (
    "subledger_entry_moves",
    "subledger_entry_begins",
    "subledger_part_moves",
    "subledger_cost_moves",
    "subledger_parts_sum",
)

BOTH = "REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION"
NEW = "REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION"
OLD = "REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION"
AT_COMMIT = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"

TRIGGERS = (
    ("entry_versions", "moves", f"AFTER UPDATE ON entry_versions {BOTH} subledger_entry_moves()"),
    ("entry_versions", "begins", f"AFTER INSERT ON entry_versions {NEW} subledger_entry_begins()"),
    ("parts", "moves", f"AFTER UPDATE ON parts {BOTH} subledger_part_moves()"),
    ("parts", "begins", f"AFTER INSERT ON parts {NEW} subledger_part_moves()"),
    ("parts", "removed", f"AFTER DELETE ON parts {OLD} subledger_part_moves()"),
    ("cost_track", "moves", f"AFTER UPDATE ON cost_track {BOTH} subledger_cost_moves()"),
    ("cost_track", "begins", f"AFTER INSERT ON cost_track {NEW} subledger_cost_moves()"),
)

PLACED_OR_NOT = "(OLD.state <> NEW.state AND 'placed' IN (OLD.state, NEW.state))"
SUMS = (
    ("entry_versions", f"AFTER UPDATE ON entry_versions {AT_COMMIT} WHEN {PLACED_OR_NOT}"),
    ("parts", f"AFTER INSERT OR DELETE ON parts {AT_COMMIT}"),
    ("ratings", f"AFTER UPDATE OR DELETE ON ratings {AT_COMMIT}"),
)

APPEND_ONLY = ("moves", "retainer_movements", "entry_evidence")
KEPT = ("entry_versions", "cost_track", "holds", "caps", "retainers", "billing_runs")
"""Rows that change, but never go."""


def upgrade() -> None:
    """Create functions and triggers; all but the sums fire in every replication role."""
    for function in (ENTRY_MOVES, ENTRY_BEGINS, PART_MOVES, COST_MOVES, PARTS_SUM):
        op.execute(function)
    for table, name, definition in TRIGGERS:
        op.execute(f"CREATE TRIGGER {table}_{name} {definition}")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{name}")
    for table, definition in SUMS:
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {table}_sum {definition} "
            "EXECUTE FUNCTION subledger_parts_sum()"
        )
    for table, acts in (
        *((table, "UPDATE OR DELETE OR TRUNCATE") for table in APPEND_ONLY),
        *((table, "DELETE OR TRUNCATE") for table in KEPT),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE {acts} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_kept")


def downgrade() -> None:
    """Drop them."""
    for table, _ in SUMS:
        op.execute(f"DROP TRIGGER {table}_sum ON {table}")
    for table, name, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {table}_{name} ON {table}")
    for table in (*APPEND_ONLY, *KEPT):
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}()")
