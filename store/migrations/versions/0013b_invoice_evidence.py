"""Issued invoices as they were read back."""

from alembic import op

revision: str = "0013b"
down_revision: str | None = "0013a"
branch_labels: str | None = None
depends_on: str | None = None

EVIDENCE = """
CREATE TABLE invoice_evidence (
    connection TEXT NOT NULL,
    invoice TEXT NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE NOT NULL,
    record BYTEA NOT NULL,
    encrypted BOOLEAN NOT NULL,
    CONSTRAINT pk_invoice_evidence PRIMARY KEY (connection, invoice),
    CONSTRAINT ck_invoice_evidence_connection_length CHECK (char_length(connection) <= 255),
    CONSTRAINT ck_invoice_evidence_invoice_length CHECK (char_length(invoice) <= 255),
    CONSTRAINT ck_invoice_evidence_record_length CHECK (octet_length(record) <= 4000000),
    CONSTRAINT fk_invoice_evidence_invoices FOREIGN KEY (connection, invoice)
        REFERENCES invoices (connection, id)
)
"""


def upgrade() -> None:
    """Create the table; what was read never changes and never goes."""
    op.execute(EVIDENCE)
    op.execute(
        "CREATE TRIGGER invoice_evidence_kept BEFORE UPDATE OR DELETE OR TRUNCATE "
        "ON invoice_evidence FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    )
    op.execute("ALTER TABLE invoice_evidence ENABLE ALWAYS TRIGGER invoice_evidence_kept")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE invoice_evidence")
