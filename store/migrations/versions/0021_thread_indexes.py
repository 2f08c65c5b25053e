"""The indexes by which a thread is found from the id of one thing in it."""

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES = {
    # A deal by its id alone, a client by its CRM id, and both by their ids in the ERP.
    "ix_engagements_opportunity": "engagements (split_part(id, '/', 2))",
    "ix_engagements_client_id": "engagements (client_id)",
    "ix_engagements_lines": "engagements USING gin (lines jsonb_path_ops)",
    # A record of whichever system and type, a saga by what began it.
    "ix_cross_references_record_id": "cross_references (record_id)",
    "ix_saga_generations_correlation_id": (
        "saga_generations (correlation_id) WHERE correlation_id <> ''"
    ),
    # A milestone or an occurrence, given back or not.
    "ix_fees_item": "fees (item)",
    # What an issuing system calls its own, whichever system it is.
    "ix_invoices_id": "invoices (id)",
    "ix_invoice_mirrors_mirror": "invoice_mirrors (mirror)",
    "ix_credits_note_id": "credits (note_id) WHERE note_id IS NOT NULL",
    "ix_credits_note_number": "credits (note_number) WHERE note_number <> ''",
    "ix_invoice_applications_application": "invoice_applications (application)",
    "ix_invoice_applications_reference": "invoice_applications (reference) WHERE reference <> ''",
    "ix_client_pos_number": "client_pos (number)",
}


def upgrade() -> None:
    """Create the indexes."""
    for name, of in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {of}")


def downgrade() -> None:
    """Drop them."""
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
