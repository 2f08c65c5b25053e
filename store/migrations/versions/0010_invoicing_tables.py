"""Fees, drafts with their lines and members, client POs and holds."""

from alembic import op

revision: str = "0010"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = (
    "fees",
    "drafts",
    "draft_versions",
    "draft_lines",
    "draft_members",
    "draft_acts",
    "draft_numbers",
    "set_asides",
    "client_pos",
    "client_holds",
    "billing_moves",
)

STATEMENTS = (
    """
    CREATE TABLE fees (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        source TEXT NOT NULL,
        item TEXT NOT NULL,
        cycle INTEGER DEFAULT 1 NOT NULL,
        engagement TEXT NOT NULL,
        line TEXT NOT NULL,
        psa TEXT NOT NULL,
        project_id TEXT NOT NULL,
        client_id TEXT NOT NULL,
        period TEXT NOT NULL,
        amount NUMERIC NOT NULL,
        currency CHAR(3) NOT NULL,
        state TEXT DEFAULT 'reserved' NOT NULL,
        run TEXT NOT NULL,
        document TEXT NOT NULL,
        withdrawn TEXT DEFAULT '' NOT NULL,
        held TEXT DEFAULT '' NOT NULL,
        held_by TEXT DEFAULT '' NOT NULL,
        reserved_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        moved_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_fees PRIMARY KEY (id),
        CONSTRAINT ck_fees_source_length CHECK (char_length(source) <= 255),
        CONSTRAINT ck_fees_item_length CHECK (char_length(item) <= 255),
        CONSTRAINT ck_fees_engagement_length CHECK (char_length(engagement) <= 255),
        CONSTRAINT ck_fees_line_length CHECK (char_length(line) <= 255),
        CONSTRAINT ck_fees_psa_length CHECK (char_length(psa) <= 255),
        CONSTRAINT ck_fees_project_id_length CHECK (char_length(project_id) <= 255),
        CONSTRAINT ck_fees_client_id_length CHECK (char_length(client_id) <= 255),
        CONSTRAINT ck_fees_period_length CHECK (char_length(period) <= 255),
        CONSTRAINT ck_fees_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_fees_run_length CHECK (char_length(run) <= 255),
        CONSTRAINT ck_fees_document_length CHECK (char_length(document) <= 2000000),
        CONSTRAINT ck_fees_withdrawn_length CHECK (char_length(withdrawn) <= 2000),
        CONSTRAINT ck_fees_held_length CHECK (char_length(held) <= 2000),
        CONSTRAINT ck_fees_held_by_length CHECK (char_length(held_by) <= 255),
        CONSTRAINT ck_fees_source_known CHECK (source IN ('milestone', 'schedule')),
        CONSTRAINT ck_fees_state_known CHECK (state IN ('reserved', 'handed_over',
            'drafted', 'released', 'invoiced', 'credited', 'returned')),
        CONSTRAINT ck_fees_cycle_counts_from_one CHECK (cycle > 0),
        CONSTRAINT ck_fees_hold_is_whole CHECK ((held = '') = (held_by = ''))
    )
    """,
    """
    CREATE INDEX ix_fees_free ON fees (psa, project_id) WHERE state = 'handed_over'
    """,
    """
    CREATE INDEX ix_fees_line ON fees (engagement, line)
    """,
    """
    CREATE INDEX ix_fees_run ON fees (run)
    """,
    """
    CREATE UNIQUE INDEX uq_fees_live ON fees (source, item, cycle) WHERE state <> 'returned'
    """,
    """
    CREATE TABLE drafts (
        id TEXT NOT NULL,
        version INTEGER DEFAULT 1 NOT NULL,
        state TEXT NOT NULL,
        family TEXT NOT NULL,
        legal_entity TEXT NOT NULL,
        client_id TEXT NOT NULL,
        client_po TEXT DEFAULT '' NOT NULL,
        currency CHAR(3) NOT NULL,
        period TEXT NOT NULL,
        reviewer TEXT DEFAULT '' NOT NULL,
        review_until TIMESTAMP WITH TIME ZONE,
        posting INTEGER DEFAULT 0 NOT NULL,
        net NUMERIC NOT NULL,
        gross NUMERIC NOT NULL,
        content_hash TEXT NOT NULL,
        released_hash TEXT DEFAULT '' NOT NULL,
        document TEXT NOT NULL,
        made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_drafts PRIMARY KEY (id),
        CONSTRAINT ck_drafts_id_length CHECK (char_length(id) <= 255),
        CONSTRAINT ck_drafts_state_length CHECK (char_length(state) <= 255),
        CONSTRAINT ck_drafts_family_length CHECK (char_length(family) <= 255),
        CONSTRAINT ck_drafts_legal_entity_length CHECK (char_length(legal_entity) <= 255),
        CONSTRAINT ck_drafts_client_id_length CHECK (char_length(client_id) <= 255),
        CONSTRAINT ck_drafts_client_po_length CHECK (char_length(client_po) <= 255),
        CONSTRAINT ck_drafts_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_drafts_period_length CHECK (char_length(period) <= 255),
        CONSTRAINT ck_drafts_reviewer_length CHECK (char_length(reviewer) <= 255),
        CONSTRAINT ck_drafts_content_hash_length CHECK (char_length(content_hash) <= 64),
        CONSTRAINT ck_drafts_released_hash_length CHECK (char_length(released_hash) <= 64),
        CONSTRAINT ck_drafts_document_length CHECK (char_length(document) <= 2000000),
        CONSTRAINT ck_drafts_state_known CHECK (state IN ('in_review', 'queued', 'released',
            'invoiced', 'rejected', 'merged', 'empty')),
        CONSTRAINT ck_drafts_numbers_count CHECK (version > 0 AND posting >= 0),
        CONSTRAINT ck_drafts_released_as_it_is CHECK (state NOT IN ('released', 'invoiced')
            OR released_hash = content_hash)
    )
    """,
    """
    CREATE INDEX ix_drafts_client_po ON drafts (client_id, client_po)
    """,
    """
    CREATE INDEX ix_drafts_due ON drafts (review_until) WHERE state = 'in_review' AND
        review_until IS NOT NULL
    """,
    """
    CREATE INDEX ix_drafts_family ON drafts (family)
    """,
    """
    CREATE INDEX ix_drafts_state ON drafts (state, id)
    """,
    """
    CREATE TABLE draft_versions (
        draft TEXT NOT NULL,
        version INTEGER NOT NULL,
        content_hash TEXT NOT NULL,
        document TEXT NOT NULL,
        by TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_draft_versions PRIMARY KEY (draft, version),
        CONSTRAINT ck_draft_versions_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_draft_versions_content_hash_length CHECK (char_length(content_hash) <=
            64),
        CONSTRAINT ck_draft_versions_document_length CHECK (char_length(document) <= 2000000),
        CONSTRAINT ck_draft_versions_by_length CHECK (char_length(by) <= 255),
        CONSTRAINT fk_draft_versions_drafts FOREIGN KEY(draft) REFERENCES drafts (id)
    )
    """,
    """
    CREATE TABLE draft_lines (
        draft TEXT NOT NULL,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        engagement TEXT NOT NULL,
        line TEXT NOT NULL,
        project_id TEXT NOT NULL,
        amount NUMERIC NOT NULL,
        written_down NUMERIC DEFAULT 0 NOT NULL,
        CONSTRAINT pk_draft_lines PRIMARY KEY (draft, number),
        CONSTRAINT ck_draft_lines_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_draft_lines_state_length CHECK (char_length(state) <= 255),
        CONSTRAINT ck_draft_lines_engagement_length CHECK (char_length(engagement) <= 255),
        CONSTRAINT ck_draft_lines_line_length CHECK (char_length(line) <= 255),
        CONSTRAINT ck_draft_lines_project_id_length CHECK (char_length(project_id) <= 255),
        CONSTRAINT ck_draft_lines_state_known CHECK (state IN ('in', 'held', 'deferred',
            'written_off', 'moved')),
        CONSTRAINT ck_draft_lines_number_counts_from_one CHECK (number > 0),
        CONSTRAINT ck_draft_lines_written_down_not_negative CHECK (written_down >= 0),
        CONSTRAINT fk_draft_lines_drafts FOREIGN KEY(draft) REFERENCES drafts (id)
    )
    """,
    """
    CREATE INDEX ix_draft_lines_engagement ON draft_lines (engagement)
    """,
    """
    CREATE TABLE draft_members (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        draft TEXT NOT NULL,
        number INTEGER NOT NULL,
        part BIGINT,
        fee BIGINT,
        amount NUMERIC NOT NULL,
        written_down NUMERIC DEFAULT 0 NOT NULL,
        credited NUMERIC DEFAULT 0 NOT NULL,
        live BOOLEAN NOT NULL,
        CONSTRAINT pk_draft_members PRIMARY KEY (id),
        CONSTRAINT ck_draft_members_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_draft_members_bills_one_thing CHECK ((part IS NULL) <> (fee IS NULL)),
        CONSTRAINT ck_draft_members_written_down_within_amount CHECK (written_down BETWEEN 0
            AND greatest(amount, 0)),
        CONSTRAINT ck_draft_members_credited_within_billed CHECK (credited BETWEEN 0 AND
            greatest(amount - written_down, 0)),
        CONSTRAINT fk_draft_members_draft_lines FOREIGN KEY(draft, number) REFERENCES
            draft_lines (draft, number),
        CONSTRAINT fk_draft_members_parts FOREIGN KEY(part) REFERENCES parts (id),
        CONSTRAINT fk_draft_members_fees FOREIGN KEY(fee) REFERENCES fees (id),
        CONSTRAINT uq_draft_members_draft_number_part UNIQUE (draft, number, part),
        CONSTRAINT uq_draft_members_draft_number_fee UNIQUE (draft, number, fee)
    )
    """,
    """
    CREATE INDEX ix_draft_members_fee ON draft_members (fee)
    """,
    """
    CREATE INDEX ix_draft_members_part ON draft_members (part)
    """,
    """
    CREATE UNIQUE INDEX uq_draft_members_fee ON draft_members (fee) WHERE live
    """,
    """
    CREATE UNIQUE INDEX uq_draft_members_part ON draft_members (part) WHERE live
    """,
    """
    CREATE TABLE draft_acts (
        act_id TEXT NOT NULL,
        draft TEXT NOT NULL,
        act TEXT NOT NULL,
        by TEXT NOT NULL,
        answer TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_draft_acts PRIMARY KEY (act_id),
        CONSTRAINT ck_draft_acts_act_id_length CHECK (char_length(act_id) <= 255),
        CONSTRAINT ck_draft_acts_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_draft_acts_act_length CHECK (char_length(act) <= 255),
        CONSTRAINT ck_draft_acts_by_length CHECK (char_length(by) <= 255),
        CONSTRAINT ck_draft_acts_answer_length CHECK (char_length(answer) <= 2000000)
    )
    """,
    """
    CREATE INDEX ix_draft_acts_draft ON draft_acts (draft)
    """,
    """
    CREATE TABLE draft_numbers (
        prefix TEXT NOT NULL,
        last INTEGER NOT NULL,
        CONSTRAINT pk_draft_numbers PRIMARY KEY (prefix),
        CONSTRAINT ck_draft_numbers_prefix_length CHECK (char_length(prefix) <= 255),
        CONSTRAINT ck_draft_numbers_last_counts_from_one CHECK (last > 0)
    )
    """,
    """
    CREATE TABLE set_asides (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        kind TEXT NOT NULL,
        part BIGINT,
        fee BIGINT,
        until DATE,
        draft TEXT NOT NULL,
        number INTEGER NOT NULL,
        because TEXT DEFAULT '' NOT NULL,
        by TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_set_asides PRIMARY KEY (id),
        CONSTRAINT ck_set_asides_kind_length CHECK (char_length(kind) <= 255),
        CONSTRAINT ck_set_asides_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_set_asides_because_length CHECK (char_length(because) <= 2000),
        CONSTRAINT ck_set_asides_by_length CHECK (char_length(by) <= 255),
        CONSTRAINT ck_set_asides_kind_known CHECK (kind IN ('deferred', 'written_off')),
        CONSTRAINT ck_set_asides_sets_one_thing_aside CHECK ((part IS NULL) <> (fee IS NULL)),
        CONSTRAINT ck_set_asides_deferred_has_day CHECK ((kind = 'deferred') = (until IS NOT
            NULL)),
        CONSTRAINT fk_set_asides_draft_lines FOREIGN KEY(draft, number) REFERENCES
            draft_lines (draft, number),
        CONSTRAINT fk_set_asides_parts FOREIGN KEY(part) REFERENCES parts (id),
        CONSTRAINT fk_set_asides_fees FOREIGN KEY(fee) REFERENCES fees (id)
    )
    """,
    """
    CREATE INDEX ix_set_asides_fee ON set_asides (fee) WHERE fee IS NOT NULL
    """,
    """
    CREATE INDEX ix_set_asides_part ON set_asides (part) WHERE part IS NOT NULL
    """,
    """
    CREATE TABLE client_pos (
        client_id TEXT NOT NULL,
        number TEXT NOT NULL,
        version INTEGER DEFAULT 1 NOT NULL,
        amount NUMERIC NOT NULL,
        currency CHAR(3) NOT NULL,
        basis TEXT NOT NULL,
        replaced_by TEXT DEFAULT '' NOT NULL,
        drafted NUMERIC DEFAULT 0 NOT NULL,
        released NUMERIC DEFAULT 0 NOT NULL,
        invoiced NUMERIC DEFAULT 0 NOT NULL,
        credited NUMERIC DEFAULT 0 NOT NULL,
        document TEXT NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_client_pos PRIMARY KEY (client_id, number),
        CONSTRAINT ck_client_pos_client_id_length CHECK (char_length(client_id) <= 255),
        CONSTRAINT ck_client_pos_number_length CHECK (char_length(number) <= 255),
        CONSTRAINT ck_client_pos_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_client_pos_basis_length CHECK (char_length(basis) <= 255),
        CONSTRAINT ck_client_pos_replaced_by_length CHECK (char_length(replaced_by) <= 255),
        CONSTRAINT ck_client_pos_document_length CHECK (char_length(document) <= 2000000),
        CONSTRAINT ck_client_pos_basis_known CHECK (basis IN ('net', 'gross')),
        CONSTRAINT ck_client_pos_version_counts_from_one CHECK (version > 0),
        CONSTRAINT ck_client_pos_not_exceeded CHECK (released + invoiced - credited <=
            amount),
        CONSTRAINT ck_client_pos_credits_what_was_invoiced CHECK (credited <= invoiced)
    )
    """,
    """
    CREATE TABLE client_holds (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        client_id TEXT NOT NULL,
        source TEXT NOT NULL,
        reason TEXT DEFAULT '' NOT NULL,
        since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        released_at TIMESTAMP WITH TIME ZONE,
        released_by TEXT,
        CONSTRAINT pk_client_holds PRIMARY KEY (id),
        CONSTRAINT ck_client_holds_client_id_length CHECK (char_length(client_id) <= 255),
        CONSTRAINT ck_client_holds_source_length CHECK (char_length(source) <= 255),
        CONSTRAINT ck_client_holds_reason_length CHECK (char_length(reason) <= 2000),
        CONSTRAINT ck_client_holds_released_by_length CHECK (char_length(released_by) <= 255),
        CONSTRAINT ck_client_holds_release_is_whole CHECK ((released_at IS NULL) =
            (released_by IS NULL))
    )
    """,
    """
    CREATE UNIQUE INDEX uq_client_holds_open ON client_holds (client_id, source) WHERE
        released_at IS NULL
    """,
    """
    CREATE TABLE billing_moves (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        track TEXT NOT NULL,
        subject TEXT NOT NULL,
        from_state TEXT DEFAULT '' NOT NULL,
        to_state TEXT NOT NULL,
        amount NUMERIC,
        act TEXT DEFAULT '' NOT NULL,
        CONSTRAINT pk_billing_moves PRIMARY KEY (id),
        CONSTRAINT ck_billing_moves_track_length CHECK (char_length(track) <= 255),
        CONSTRAINT ck_billing_moves_subject_length CHECK (char_length(subject) <= 400),
        CONSTRAINT ck_billing_moves_from_state_length CHECK (char_length(from_state) <= 255),
        CONSTRAINT ck_billing_moves_to_state_length CHECK (char_length(to_state) <= 255),
        CONSTRAINT ck_billing_moves_act_length CHECK (char_length(act) <= 255),
        CONSTRAINT ck_billing_moves_track_known CHECK (track IN ('fee', 'draft', 'invoice',
            'credit'))
    )
    """,
    """
    CREATE INDEX ix_billing_moves_subject ON billing_moves (track, subject)
    """,
    """
    CREATE INDEX ix_parts_free ON parts (entry) WHERE state = 'placed' AND disposition =
        'to_bill'
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    op.execute("DROP INDEX ix_parts_free")
    for table in reversed(TABLES):
        op.drop_table(table)
