"""The files of an invoice: its PDF, and its evidence with the seal that the audit trail keeps."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from canonical.documents import InvoiceDocument
from canonical.evidence import AuditFact
from canonical.lifecycle import UNDONE, TrackedInvoice
from operations.documents.crediting import credit_document_of
from operations.documents.evidence import EvidenceFile, pack_evidence
from operations.documents.filling import document_of
from operations.documents.proving import evidence_of
from operations.documents.render import Rendered, render
from operations.documents.verify import Verification, verify
from operations.mistakes import Mistake
from operations.way_back import WayBack, WayFinder, subject_of
from policies.schema import Policies
from store import Store
from store.audit import ENGINE, audit_data
from store.credits import CreditStanding
from store.errors import NotFound

SEALED: Final = "evidence_sealed"
"""The act in the trail of the invoice."""
NOT_OURS: Final = "it is not one of the seals that the audit trail keeps of this invoice"


@dataclass(frozen=True)
class InvoiceFiles:
    """Makes and checks the files of invoices and drafts."""

    store: Store
    policies: Policies
    roles: Mapping[str, frozenset[str]]
    """What the people of this installation may do, by name."""

    async def way(self, invoice: TrackedInvoice) -> WayBack:
        """Return the way back from an invoice."""
        return await WayFinder(self.store).of_invoice(invoice.record.system, invoice.record.id)

    async def pdf(self, way: WayBack, template: Path | None = None) -> Rendered:
        """Return the PDF of an invoice or a draft.

        Raises:
            Mistake: what the store has does not add up, or the template does not compile.
        """
        return await asyncio.to_thread(render, self._document(way), template)

    async def credit_note(
        self, way: WayBack, standing: CreditStanding, template: Path | None = None
    ) -> Rendered:
        """Return the PDF of a credit note; `way` is that of the invoice that it corrects.

        Raises:
            Mistake: it is not issued, does not add up, or the template does not compile.
        """
        note, name = standing.note, standing.credit.id
        if note is None:
            raise Mistake(f"{name} is {standing.state}: there is no credit note to print yet.")
        if note.number == UNDONE:
            raise Mistake(f"{name} is the undoing of an invoice: there is no credit note of it.")
        try:
            document = credit_document_of(way, standing, note, self.policies)
        except ValueError as error:
            raise Mistake(f"{name} cannot be printed: {_first(error)}.") from error
        return await asyncio.to_thread(render, document, template)

    async def evidence(self, way: WayBack, by: str = "") -> EvidenceFile:
        """Return the evidence of an issued invoice; its seal is put down in the invoice's trail.

        Raises:
            Mistake: the draft has not become an invoice, or its figures do not add up.
        """
        if way.invoice is None:
            raise Mistake(f"{way.draft.id} has not become an invoice: there is nothing to prove.")
        pdf = (await self.pdf(way)).pdf
        facts = [
            AuditFact.model_validate(entry.model_dump())
            for subject in way.subjects
            for entry in await self.store.audit.trail(subject)
        ]
        record = way.invoice.record
        kept = await self.store.invoices.read_back(record.system, record.id)
        evidence = evidence_of(way, datetime.now(UTC), facts, self.roles, kept)
        packed = await asyncio.to_thread(pack_evidence, evidence, pdf)
        data = audit_data(seal=packed.seal, missing=list(packed.missing), draft=way.draft.id)
        subject = subject_of(way.invoice)
        await self.store.audit.append(subject, by or ENGINE, SEALED, data)
        return packed

    async def checked(self, path: Path) -> Verification:
        """Return what checking an evidence file found, its seal compared with the audit trail's."""
        found = await asyncio.to_thread(verify, path)
        if not found.seal:
            return found
        kept = await self._kept(found.draft)
        if found.seal in kept:
            return found
        problems = (*found.problems, f"manifest.json: {NOT_OURS}")
        return found.model_copy(update={"intact": False, "problems": problems})

    async def _kept(self, draft: str) -> frozenset[str]:
        """Return the seals that were kept of the invoice that a draft became."""
        key = await self.store.draft_sources.invoice_of(draft)
        if key is None:
            return frozenset()
        trail = await self.store.audit.trail(f"{key.connection}/{key.invoice_id}")
        acts = (json.loads(entry.data_json) for entry in trail if entry.act == SEALED)
        return frozenset(str(act.get("seal")) for act in acts)

    def _document(self, way: WayBack) -> InvoiceDocument:
        try:
            return document_of(way, self.policies)
        except ValueError as error:
            raise Mistake(f"{way.draft.id} cannot be printed: {_first(error)}.") from error


async def invoices_of(store: Store, typed: str) -> tuple[TrackedInvoice, ...]:
    """Return the invoices that a number, or `<connection>/<id>`, names; several: ambiguous."""
    by_number = await store.invoices.by_number(typed)
    connection, slash, id_ = typed.removeprefix("invoice/").rpartition("/")
    if by_number or not slash:
        return by_number
    try:
        return (await store.invoices.get(connection, id_),)
    except NotFound:
        return ()


def _first(error: ValueError) -> str:
    """Return the sentence of a model's refusal without what pydantic says around it."""
    lines = [line.strip() for line in str(error).splitlines() if "Value error, " in line]
    return lines[0].partition("Value error, ")[2].partition(" [type=")[0] if lines else str(error)
