"""What no column constraint can say of invoicing: legal moves, their trail, sums, agreement.

Moves are checked and written per statement. Sums, and that what a draft bills stands where the
draft stands, are compared at commit, since a line and its members are written one after the other.
"""

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010a"
branch_labels: str | None = None
depends_on: str | None = None

FEE_MOVES = """
CREATE FUNCTION billing_fee_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM after WHERE state <> 'reserved' AND NOT (state = 'handed_over' AND cycle > 1);
        IF FOUND THEN
            RAISE EXCEPTION 'a fee begins reserved, or handed over in a further cycle'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO billing_moves (track, subject, to_state, amount, act)
        SELECT 'fee', id, state, amount, act FROM after ORDER BY id;
        RETURN NULL;
    END IF;
    PERFORM FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
            ('reserved', 'handed_over'), ('handed_over', 'drafted'), ('drafted', 'released'),
            ('released', 'invoiced'), ('invoiced', 'credited'), ('drafted', 'handed_over'),
            ('released', 'drafted'), ('reserved', 'returned'), ('handed_over', 'returned'))
        OR (was.source, was.item, was.cycle, was.engagement, was.line, was.amount, was.currency)
        IS DISTINCT FROM (now_.source, now_.item, now_.cycle, now_.engagement, now_.line,
            now_.amount, now_.currency);
    IF FOUND THEN
        RAISE EXCEPTION 'a fee takes no such move, and its facts never change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO billing_moves (track, subject, from_state, to_state, amount, act)
    SELECT 'fee', now_.id, was.state, now_.state, now_.amount, act
    FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state ORDER BY now_.id;
    RETURN NULL;
END
$$
"""

DRAFT_MOVES = """
CREATE FUNCTION billing_draft_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM after WHERE state NOT IN ('in_review', 'queued');
        IF FOUND THEN
            RAISE EXCEPTION 'a draft begins in review or queued'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO billing_moves (track, subject, to_state, amount, act)
        SELECT 'draft', id, state, net, act FROM after ORDER BY id;
        RETURN NULL;
    END IF;
    PERFORM FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
            ('in_review', 'queued'), ('queued', 'in_review'), ('queued', 'released'),
            ('in_review', 'rejected'), ('in_review', 'merged'), ('in_review', 'empty'),
            ('queued', 'rejected'), ('queued', 'merged'), ('queued', 'empty'),
            ('released', 'queued'), ('released', 'empty'), ('released', 'invoiced'))
        OR now_.version < was.version
        OR was.content_hash <> now_.content_hash AND now_.version = was.version
        OR (was.family, was.legal_entity, was.client_id, was.currency)
        IS DISTINCT FROM (now_.family, now_.legal_entity, now_.client_id, now_.currency);
    IF FOUND THEN
        RAISE EXCEPTION 'a draft takes no such move, and its content changes with its version'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO billing_moves (track, subject, from_state, to_state, amount, act)
    SELECT 'draft', now_.id, was.state, now_.state, now_.net, act
    FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state ORDER BY now_.id;
    RETURN NULL;
END
$$
"""

INVOICE_MOVES = """
CREATE FUNCTION billing_invoice_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO billing_moves (track, subject, to_state, amount, act)
        SELECT 'invoice', connection || '/' || id, state, gross, act FROM after;
        RETURN NULL;
    END IF;
    PERFORM FROM before AS was JOIN after AS now_ USING (connection, id)
    WHERE now_.change < was.change OR was.state <> now_.state AND now_.change = was.change
        OR (was.draft, was.posting, was.currency)
        IS DISTINCT FROM (now_.draft, now_.posting, now_.currency);
    IF FOUND THEN
        RAISE EXCEPTION 'an invoice stays that of its draft, and its state changes by a change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO billing_moves (track, subject, from_state, to_state, amount, act)
    SELECT 'invoice', now_.connection || '/' || now_.id, was.state, now_.state, now_.gross, act
    FROM before AS was JOIN after AS now_ USING (connection, id) WHERE was.state <> now_.state;
    RETURN NULL;
END
$$
"""

CREDIT_MOVES = """
CREATE FUNCTION billing_credit_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act text := coalesce(current_setting('dealthread.act', true), '');
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM after WHERE state <> 'asked';
        IF FOUND THEN
            RAISE EXCEPTION 'a credit begins asked for'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        INSERT INTO billing_moves (track, subject, to_state, amount, act)
        SELECT 'credit', id, state, net, act FROM after ORDER BY id;
        RETURN NULL;
    END IF;
    PERFORM FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state AND (was.state, now_.state) NOT IN (
            ('asked', 'approved'), ('asked', 'refused'), ('approved', 'refused'),
            ('approved', 'credited'))
        OR (was.connection, was.invoice, was.net, was.currency, was.asked_by)
        IS DISTINCT FROM (now_.connection, now_.invoice, now_.net, now_.currency, now_.asked_by);
    IF FOUND THEN
        RAISE EXCEPTION 'a credit takes no such move, and what was asked never changes'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO billing_moves (track, subject, from_state, to_state, amount, act)
    SELECT 'credit', now_.id, was.state, now_.state, now_.net, act
    FROM before AS was JOIN after AS now_ USING (id)
    WHERE was.state <> now_.state ORDER BY now_.id;
    RETURN NULL;
END
$$
"""

LINE_SUM = """
CREATE FUNCTION billing_line_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT line.draft, line.number INTO wrong
    FROM draft_lines AS line JOIN drafts AS draft ON draft.id = line.draft
    LEFT JOIN LATERAL (
        SELECT count(*) AS n, coalesce(sum(member.amount), 0) AS amount,
            sum(member.written_down) AS written_down
        FROM draft_members AS member
        WHERE member.draft = line.draft AND member.number = line.number AND member.live
    ) AS billed ON true
    WHERE line.draft = NEW.draft AND line.number = NEW.number AND CASE
        WHEN line.state = 'in' AND draft.state IN ('in_review', 'queued', 'released', 'invoiced')
        THEN line.amount <> billed.amount - line.written_down
            OR billed.n > 0 AND billed.written_down <> line.written_down
        ELSE billed.n > 0 END;
    IF FOUND THEN
        RAISE EXCEPTION 'draft %, line %: it is not the sum of what it bills',
            wrong.draft, wrong.number USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

DRAFT_SUM = """
CREATE FUNCTION billing_draft_sum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM drafts AS draft WHERE draft.id = NEW.id AND draft.net IS DISTINCT FROM (
        SELECT coalesce(sum(line.amount), 0) FROM draft_lines AS line
        WHERE line.draft = draft.id AND line.state = 'in');
    IF FOUND THEN
        RAISE EXCEPTION 'draft %: its net is not the sum of its lines', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    PERFORM FROM drafts AS draft JOIN draft_members AS member ON member.draft = draft.id
    LEFT JOIN parts AS part ON part.id = member.part
    LEFT JOIN fees AS fee ON fee.id = member.fee
    WHERE draft.id = NEW.id AND member.live
        AND CASE coalesce(part.state, fee.state) WHEN 'credited' THEN 'invoiced'
            ELSE coalesce(part.state, fee.state) END
        IS DISTINCT FROM CASE WHEN draft.state IN ('in_review', 'queued') THEN 'drafted'
            WHEN draft.state IN ('released', 'invoiced') THEN draft.state END;
    IF FOUND THEN
        RAISE EXCEPTION 'draft %: what it bills does not stand where it stands', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

MEMBER_AGREES = """
CREATE FUNCTION billing_member_agrees() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_part bigint;
    of_fee bigint;
    stands text;
    drafted text;
BEGIN
    IF TG_TABLE_NAME = 'parts' THEN
        of_part := NEW.id;
    ELSIF TG_TABLE_NAME = 'fees' THEN
        of_fee := NEW.id;
    ELSE
        of_part := NEW.part;
        of_fee := NEW.fee;
    END IF;
    IF of_part IS NOT NULL THEN
        SELECT state INTO stands FROM parts WHERE id = of_part;
        SELECT draft.state INTO drafted FROM draft_members AS member
        JOIN drafts AS draft ON draft.id = member.draft
        WHERE member.part = of_part AND member.live;
    ELSE
        SELECT state INTO stands FROM fees WHERE id = of_fee;
        SELECT draft.state INTO drafted FROM draft_members AS member
        JOIN drafts AS draft ON draft.id = member.draft
        WHERE member.fee = of_fee AND member.live;
    END IF;
    IF stands = 'credited' THEN
        stands := 'invoiced';
    END IF;
    IF drafted IN ('in_review', 'queued') THEN
        drafted := 'drafted';
    END IF;
    IF stands NOT IN ('drafted', 'released', 'invoiced') THEN
        stands := NULL;
    END IF;
    IF stands IS DISTINCT FROM drafted THEN
        RAISE EXCEPTION 'what is billed does not stand where its draft stands: % and %',
            coalesce(stands, 'free'), coalesce(drafted, 'no draft')
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

CREDIT_SUM = """
CREATE FUNCTION billing_credit_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_credit text;
BEGIN
    IF TG_TABLE_NAME = 'credits' THEN
        of_credit := NEW.id;
    ELSE
        of_credit := NEW.credit;
    END IF;
    PERFORM FROM credits AS credit WHERE credit.id = of_credit AND credit.net IS DISTINCT FROM (
        SELECT sum(part.amount) FROM credit_parts AS part WHERE part.credit = credit.id);
    IF FOUND THEN
        RAISE EXCEPTION 'credit %: its net is not the sum of its parts', of_credit
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    PERFORM FROM credit_parts AS mine JOIN draft_members AS member ON member.id = mine.member
    CROSS JOIN LATERAL (
        SELECT sum(each.amount) AS asked,
            coalesce(sum(each.amount) FILTER (WHERE credit.state = 'credited'), 0) AS credited
        FROM credit_parts AS each JOIN credits AS credit ON credit.id = each.credit
        WHERE each.member = member.id AND credit.state <> 'refused'
    ) AS all_
    WHERE mine.credit = of_credit AND (all_.asked > greatest(member.amount - member.written_down, 0)
        OR all_.credited <> member.credited);
    IF FOUND THEN
        RAISE EXCEPTION 'credit %: it takes back more than was billed', of_credit
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

MEMBER_CREDITED = """
CREATE FUNCTION billing_member_credited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM draft_members AS member WHERE member.id = NEW.id AND member.credited <> (
        SELECT coalesce(sum(part.amount), 0) FROM credit_parts AS part
        JOIN credits AS credit ON credit.id = part.credit AND credit.state = 'credited'
        WHERE part.member = member.id);
    IF FOUND THEN
        RAISE EXCEPTION 'draft %, line %: it was not credited so', NEW.draft, NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$
"""

FUNCTIONS = (
    ("billing_fee_moves", FEE_MOVES),
    ("billing_draft_moves", DRAFT_MOVES),
    ("billing_invoice_moves", INVOICE_MOVES),
    ("billing_credit_moves", CREDIT_MOVES),
    ("billing_line_sum", LINE_SUM),
    ("billing_draft_sum", DRAFT_SUM),
    ("billing_member_agrees", MEMBER_AGREES),
    ("billing_credit_sum", CREDIT_SUM),
    ("billing_member_credited", MEMBER_CREDITED),
)

BOTH = "REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION"
NEW = "REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION"
MOVING = (
    ("fees", "billing_fee_moves"),
    ("drafts", "billing_draft_moves"),
    ("invoices", "billing_invoice_moves"),
    ("credits", "billing_credit_moves"),
)

AT_COMMIT = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
MOVED = "WHEN (OLD.state <> NEW.state)"
CREDITED = "WHEN (OLD.credited <> NEW.credited)"
CHECKS = (
    ("draft_lines", "sum", "INSERT OR UPDATE", "", "billing_line_sum"),
    ("draft_members", "sum", "INSERT OR UPDATE", "", "billing_line_sum"),
    ("drafts", "sum", "INSERT OR UPDATE", "", "billing_draft_sum"),
    ("draft_members", "agrees", "INSERT OR UPDATE", "", "billing_member_agrees"),
    ("draft_members", "credited", "UPDATE", CREDITED, "billing_member_credited"),
    ("parts", "agrees", "UPDATE", MOVED, "billing_member_agrees"),
    ("fees", "agrees", "UPDATE", MOVED, "billing_member_agrees"),
    ("credits", "sum", "INSERT OR UPDATE", "", "billing_credit_sum"),
    ("credit_parts", "sum", "INSERT OR UPDATE", "", "billing_credit_sum"),
)

APPEND_ONLY = (
    *("draft_acts", "draft_versions", "set_asides", "billing_moves"),
    *("invoice_changes", "invoice_applications", "invoice_deliveries"),
)
KEPT = (
    *("fees", "drafts", "draft_lines", "draft_members", "draft_numbers"),
    *("client_pos", "client_holds", "invoices", "invoice_lines", "credits", "credit_parts"),
)
"""Rows that change, but never go."""


def upgrade() -> None:
    """Create functions and triggers; all but the checks at commit fire in every role."""
    for _, function in FUNCTIONS:
        op.execute(function)
    for table, function in MOVING:
        for name, act in (
            ("moves", f"UPDATE ON {table} {BOTH}"),
            ("begins", f"INSERT ON {table} {NEW}"),
        ):
            op.execute(f"CREATE TRIGGER {table}_{name} AFTER {act} {function}()")
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{name}")
    for table, name, acts, when, function in CHECKS:
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {table}_{name} AFTER {acts} ON {table} {AT_COMMIT} {when} "
            f"EXECUTE FUNCTION {function}()"
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
    for table in (*APPEND_ONLY, *KEPT):
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for table, name, _, _, _ in CHECKS:
        op.execute(f"DROP TRIGGER {table}_{name} ON {table}")
    for table, _ in MOVING:
        op.execute(f"DROP TRIGGER {table}_moves ON {table}")
        op.execute(f"DROP TRIGGER {table}_begins ON {table}")
    for name, _ in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}()")
