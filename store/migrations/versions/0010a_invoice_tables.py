"""Issued invoices as they are seen, and credits."""

from alembic import op

revision: str = "0010a"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = (
    "invoices",
    "invoice_lines",
    "invoice_changes",
    "invoice_applications",
    "invoice_deliveries",
    "credits",
    "credit_parts",
)

STATEMENTS = (
    """
    CREATE TABLE invoices (
        connection TEXT NOT NULL,
        id TEXT NOT NULL,
        record_type TEXT NOT NULL,
        draft TEXT NOT NULL,
        posting INTEGER NOT NULL,
        external_id TEXT DEFAULT '' NOT NULL,
        number TEXT DEFAULT '' NOT NULL,
        "on" DATE NOT NULL,
        due DATE,
        period TEXT DEFAULT '' NOT NULL,
        currency CHAR(3) NOT NULL,
        legal_entity TEXT NOT NULL,
        client_id TEXT NOT NULL,
        client_po TEXT DEFAULT '' NOT NULL,
        net NUMERIC NOT NULL,
        tax NUMERIC NOT NULL,
        gross NUMERIC NOT NULL,
        remaining NUMERIC NOT NULL,
        state TEXT NOT NULL,
        settled_by TEXT DEFAULT '' NOT NULL,
        disputed TEXT DEFAULT '' NOT NULL,
        change INTEGER DEFAULT 0 NOT NULL,
        seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_invoices PRIMARY KEY (connection, id),
        CONSTRAINT ck_invoices_connection_length CHECK (char_length(connection) <= 255),
        CONSTRAINT ck_invoices_id_length CHECK (char_length(id) <= 255),
        CONSTRAINT ck_invoices_record_type_length CHECK (char_length(record_type) <= 255),
        CONSTRAINT ck_invoices_draft_length CHECK (char_length(draft) <= 255),
        CONSTRAINT ck_invoices_external_id_length CHECK (char_length(external_id) <= 255),
        CONSTRAINT ck_invoices_number_length CHECK (char_length(number) <= 255),
        CONSTRAINT ck_invoices_period_length CHECK (char_length(period) <= 255),
        CONSTRAINT ck_invoices_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_invoices_legal_entity_length CHECK (char_length(legal_entity) <= 255),
        CONSTRAINT ck_invoices_client_id_length CHECK (char_length(client_id) <= 255),
        CONSTRAINT ck_invoices_client_po_length CHECK (char_length(client_po) <= 255),
        CONSTRAINT ck_invoices_disputed_length CHECK (char_length(disputed) <= 2000),
        CONSTRAINT ck_invoices_state_known CHECK (state IN ('issued', 'transmitted',
            'delivery_rejected', 'part_settled', 'settled', 'overdue', 'disputed',
            'credited', 'voided', 'gone')),
        CONSTRAINT ck_invoices_settled_by_known CHECK (settled_by IN ('', 'cash', 'credit',
            'write_off', 'withholding', 'several')),
        CONSTRAINT ck_invoices_change_counts CHECK (change >= 0),
        CONSTRAINT fk_invoices_drafts FOREIGN KEY(draft) REFERENCES drafts (id),
        CONSTRAINT uq_invoices_draft UNIQUE (draft)
    )
    """,
    """
    CREATE INDEX ix_invoices_client ON invoices (client_id, client_po)
    """,
    """
    CREATE INDEX ix_invoices_number ON invoices (number)
    """,
    """
    CREATE INDEX ix_invoices_state ON invoices (state)
    """,
    """
    CREATE TABLE invoice_lines (
        connection TEXT NOT NULL,
        invoice TEXT NOT NULL,
        position INTEGER NOT NULL,
        number INTEGER NOT NULL,
        item TEXT DEFAULT '' NOT NULL,
        expected NUMERIC NOT NULL,
        issued TEXT NOT NULL,
        CONSTRAINT pk_invoice_lines PRIMARY KEY (connection, invoice, position),
        CONSTRAINT ck_invoice_lines_connection_length CHECK (char_length(connection) <= 255),
        CONSTRAINT ck_invoice_lines_invoice_length CHECK (char_length(invoice) <= 255),
        CONSTRAINT ck_invoice_lines_item_length CHECK (char_length(item) <= 255),
        CONSTRAINT ck_invoice_lines_issued_length CHECK (char_length(issued) <= 2000000),
        CONSTRAINT fk_invoice_lines_invoices FOREIGN KEY(connection, invoice) REFERENCES
            invoices (connection, id)
    )
    """,
    """
    CREATE TABLE invoice_changes (
        connection TEXT NOT NULL,
        invoice TEXT NOT NULL,
        change INTEGER NOT NULL,
        before TEXT DEFAULT '' NOT NULL,
        state TEXT NOT NULL,
        remaining NUMERIC NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_invoice_changes PRIMARY KEY (connection, invoice, change),
        CONSTRAINT ck_invoice_changes_connection_length CHECK (char_length(connection) <=
            255),
        CONSTRAINT ck_invoice_changes_invoice_length CHECK (char_length(invoice) <= 255),
        CONSTRAINT ck_invoice_changes_before_length CHECK (char_length(before) <= 255),
        CONSTRAINT ck_invoice_changes_state_length CHECK (char_length(state) <= 255),
        CONSTRAINT ck_invoice_changes_change_counts_from_one CHECK (change > 0),
        CONSTRAINT fk_invoice_changes_invoices FOREIGN KEY(connection, invoice) REFERENCES
            invoices (connection, id)
    )
    """,
    """
    CREATE TABLE invoice_applications (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        connection TEXT NOT NULL,
        invoice TEXT NOT NULL,
        change INTEGER NOT NULL,
        application TEXT NOT NULL,
        kind TEXT NOT NULL,
        amount NUMERIC NOT NULL,
        "on" DATE NOT NULL,
        reference TEXT DEFAULT '' NOT NULL,
        external_id TEXT DEFAULT '' NOT NULL,
        CONSTRAINT pk_invoice_applications PRIMARY KEY (id),
        CONSTRAINT ck_invoice_applications_connection_length CHECK (char_length(connection)
            <= 255),
        CONSTRAINT ck_invoice_applications_invoice_length CHECK (char_length(invoice) <= 255),
        CONSTRAINT ck_invoice_applications_application_length CHECK
            (char_length(application) <= 255),
        CONSTRAINT ck_invoice_applications_kind_length CHECK (char_length(kind) <= 255),
        CONSTRAINT ck_invoice_applications_reference_length CHECK (char_length(reference) <=
            255),
        CONSTRAINT ck_invoice_applications_external_id_length CHECK
            (char_length(external_id) <= 255),
        CONSTRAINT ck_invoice_applications_kind_known CHECK (kind IN ('payment', 'credit',
            'write_off', 'withholding')),
        CONSTRAINT ck_invoice_applications_amount_says_something CHECK (amount <> 0),
        CONSTRAINT uq_invoice_applications_connection_invoice_change_application UNIQUE
            (connection, invoice, change, application),
        CONSTRAINT fk_invoice_applications_invoice_changes FOREIGN KEY(connection, invoice,
            change) REFERENCES invoice_changes (connection, invoice, change)
    )
    """,
    """
    CREATE TABLE invoice_deliveries (
        connection TEXT NOT NULL,
        invoice TEXT NOT NULL,
        change INTEGER NOT NULL,
        system TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_invoice_deliveries PRIMARY KEY (connection, invoice, change, system),
        CONSTRAINT ck_invoice_deliveries_connection_length CHECK (char_length(connection) <=
            255),
        CONSTRAINT ck_invoice_deliveries_invoice_length CHECK (char_length(invoice) <= 255),
        CONSTRAINT ck_invoice_deliveries_system_length CHECK (char_length(system) <= 255),
        CONSTRAINT fk_invoice_deliveries_invoice_changes FOREIGN KEY(connection, invoice,
            change) REFERENCES invoice_changes (connection, invoice, change)
    )
    """,
    """
    CREATE TABLE credits (
        id TEXT NOT NULL,
        connection TEXT NOT NULL,
        invoice TEXT NOT NULL,
        state TEXT DEFAULT 'asked' NOT NULL,
        net NUMERIC NOT NULL,
        currency CHAR(3) NOT NULL,
        asked_by TEXT NOT NULL,
        approved_by TEXT DEFAULT '' NOT NULL,
        because TEXT DEFAULT '' NOT NULL,
        document TEXT NOT NULL,
        note_id TEXT,
        note_number TEXT DEFAULT '' NOT NULL,
        note_net NUMERIC,
        note_gross NUMERIC,
        note_on DATE,
        asked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        credited_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_credits PRIMARY KEY (id),
        CONSTRAINT ck_credits_id_length CHECK (char_length(id) <= 255),
        CONSTRAINT ck_credits_connection_length CHECK (char_length(connection) <= 255),
        CONSTRAINT ck_credits_invoice_length CHECK (char_length(invoice) <= 255),
        CONSTRAINT ck_credits_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT ck_credits_asked_by_length CHECK (char_length(asked_by) <= 255),
        CONSTRAINT ck_credits_approved_by_length CHECK (char_length(approved_by) <= 255),
        CONSTRAINT ck_credits_because_length CHECK (char_length(because) <= 2000),
        CONSTRAINT ck_credits_document_length CHECK (char_length(document) <= 2000000),
        CONSTRAINT ck_credits_note_id_length CHECK (char_length(note_id) <= 255),
        CONSTRAINT ck_credits_note_number_length CHECK (char_length(note_number) <= 255),
        CONSTRAINT ck_credits_state_known CHECK (state IN ('asked', 'approved', 'refused',
            'credited')),
        CONSTRAINT ck_credits_net_is_positive CHECK (net > 0),
        CONSTRAINT ck_credits_approved CHECK ((state IN ('approved', 'credited')) =
            (approved_by <> '')),
        CONSTRAINT ck_credits_approved_by_another CHECK (approved_by <> asked_by),
        CONSTRAINT ck_credits_credited_has_note CHECK ((state = 'credited') = (note_id IS
            NOT NULL)),
        CONSTRAINT fk_credits_invoices FOREIGN KEY(connection, invoice) REFERENCES invoices
            (connection, id)
    )
    """,
    """
    CREATE INDEX ix_credits_invoice ON credits (connection, invoice)
    """,
    """
    CREATE UNIQUE INDEX uq_credits_note ON credits (connection, note_id) WHERE note_id IS
        NOT NULL
    """,
    """
    CREATE TABLE credit_parts (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        credit TEXT NOT NULL,
        number INTEGER NOT NULL,
        item TEXT NOT NULL,
        member BIGINT NOT NULL,
        amount NUMERIC NOT NULL,
        reason TEXT NOT NULL,
        opened_part BIGINT,
        opened_fee BIGINT,
        CONSTRAINT pk_credit_parts PRIMARY KEY (id),
        CONSTRAINT ck_credit_parts_credit_length CHECK (char_length(credit) <= 255),
        CONSTRAINT ck_credit_parts_item_length CHECK (char_length(item) <= 255),
        CONSTRAINT ck_credit_parts_reason_length CHECK (char_length(reason) <= 255),
        CONSTRAINT ck_credit_parts_reason_known CHECK (reason IN ('rebill', 'concession',
            'service_credit', 'cancelled')),
        CONSTRAINT ck_credit_parts_amount_is_positive CHECK (amount > 0),
        CONSTRAINT ck_credit_parts_only_a_rebill_opens CHECK (reason = 'rebill' OR
            (opened_part IS NULL AND opened_fee IS NULL)),
        CONSTRAINT uq_credit_parts_credit_number_member_reason UNIQUE (credit, number,
            member, reason),
        CONSTRAINT fk_credit_parts_credits FOREIGN KEY(credit) REFERENCES credits (id),
        CONSTRAINT fk_credit_parts_draft_members FOREIGN KEY(member) REFERENCES
            draft_members (id),
        CONSTRAINT fk_credit_parts_parts FOREIGN KEY(opened_part) REFERENCES parts (id),
        CONSTRAINT fk_credit_parts_fees FOREIGN KEY(opened_fee) REFERENCES fees (id)
    )
    """,
    """
    CREATE INDEX ix_credit_parts_member ON credit_parts (member)
    """,
    """
    CREATE INDEX ix_credit_parts_opened_fee ON credit_parts (opened_fee) WHERE opened_fee IS
        NOT NULL
    """,
    """
    CREATE INDEX ix_credit_parts_opened_part ON credit_parts (opened_part) WHERE opened_part
        IS NOT NULL
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
