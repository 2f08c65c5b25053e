"""Where an issued invoice is mirrored in PSAs."""

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

MIRRORS = """
CREATE TABLE invoice_mirrors (
    connection TEXT NOT NULL,
    invoice TEXT NOT NULL,
    psa TEXT NOT NULL,
    project_id TEXT NOT NULL,
    record_type TEXT NOT NULL,
    mirror TEXT NOT NULL,
    net NUMERIC NOT NULL,
    currency CHAR(3) NOT NULL,
    mirrored_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_invoice_mirrors PRIMARY KEY (connection, invoice, psa, project_id),
    CONSTRAINT ck_invoice_mirrors_connection_length CHECK (char_length(connection) <= 255),
    CONSTRAINT ck_invoice_mirrors_invoice_length CHECK (char_length(invoice) <= 255),
    CONSTRAINT ck_invoice_mirrors_psa_length CHECK (char_length(psa) <= 255),
    CONSTRAINT ck_invoice_mirrors_project_id_length CHECK (char_length(project_id) <= 255),
    CONSTRAINT ck_invoice_mirrors_record_type_length CHECK (char_length(record_type) <= 255),
    CONSTRAINT ck_invoice_mirrors_mirror_length CHECK (char_length(mirror) <= 255),
    CONSTRAINT ck_invoice_mirrors_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT fk_invoice_mirrors_invoices FOREIGN KEY (connection, invoice)
        REFERENCES invoices (connection, id)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(MIRRORS)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE invoice_mirrors")
