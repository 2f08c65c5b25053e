"""The indexes by which a thread is found from the id of one thing in it (migration 0021)."""

from sqlalchemy import Index, text

from store.draft_sources import invoice_mirrors
from store.invoice_models import credits_, invoice_applications, invoices
from store.invoicing_models import client_pos, fees
from store.models import cross_references, saga_generations
from store.subledger_balances import engagements

# A deal by its id alone, a client by its CRM id, and both by their ids in the ERP.
Index("ix_engagements_opportunity", text("split_part(id, '/', 2)"), _table=engagements)
Index("ix_engagements_client_id", engagements.c.client_id)
Index(
    "ix_engagements_lines",
    engagements.c.lines,
    postgresql_using="gin",
    postgresql_ops={"lines": "jsonb_path_ops"},
)
# A record of whichever system and type, a saga by what began it.
Index("ix_cross_references_record_id", cross_references.c.record_id)
Index(
    "ix_saga_generations_correlation_id",
    saga_generations.c.correlation_id,
    postgresql_where=text("correlation_id <> ''"),
)
# A milestone or an occurrence, given back or not.
Index("ix_fees_item", fees.c.item)
# What an issuing system calls its own, whichever system it is.
Index("ix_invoices_id", invoices.c.id)
Index("ix_invoice_mirrors_mirror", invoice_mirrors.c.mirror)
Index("ix_credits_note_id", credits_.c.note_id, postgresql_where=text("note_id IS NOT NULL"))
Index("ix_credits_note_number", credits_.c.note_number, postgresql_where=text("note_number <> ''"))
Index("ix_invoice_applications_application", invoice_applications.c.application)
Index(
    "ix_invoice_applications_reference",
    invoice_applications.c.reference,
    postgresql_where=text("reference <> ''"),
)
Index("ix_client_pos_number", client_pos.c.number)
