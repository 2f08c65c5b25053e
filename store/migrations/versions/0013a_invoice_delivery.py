"""What became of an invoice on its way to the client; mirrors that were made anew."""

from alembic import op

revision: str = "0013a"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None

INVOICES = """
ALTER TABLE invoices
    ADD COLUMN delivery TEXT DEFAULT '' NOT NULL,
    ADD COLUMN delivery_because TEXT DEFAULT '' NOT NULL,
    ADD COLUMN delivery_word TEXT DEFAULT '' NOT NULL,
    ADD COLUMN deliveries INTEGER DEFAULT 0 NOT NULL,
    ADD CONSTRAINT ck_invoices_delivery_length CHECK (char_length(delivery) <= 255),
    ADD CONSTRAINT ck_invoices_delivery_because_length
        CHECK (char_length(delivery_because) <= 2000),
    ADD CONSTRAINT ck_invoices_delivery_word_length CHECK (char_length(delivery_word) <= 255),
    ADD CONSTRAINT ck_invoices_delivery_known
        CHECK (delivery IN ('', 'transmitted', 'delivery_rejected'))
"""
MIRRORS = """
ALTER TABLE invoice_mirrors
    ADD COLUMN external_id TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT ck_invoice_mirrors_external_id_length CHECK (char_length(external_id) <= 255)
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(INVOICES)
    op.execute(MIRRORS)


def downgrade() -> None:
    """Drop them, and their checks with them."""
    op.execute("ALTER TABLE invoice_mirrors DROP COLUMN external_id")
    op.execute(
        "ALTER TABLE invoices DROP COLUMN deliveries, DROP COLUMN delivery_word, "
        "DROP COLUMN delivery_because, DROP COLUMN delivery"
    )
