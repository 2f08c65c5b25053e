"""The end of a thread: drafts, invoices, mirrors, credits, payments; and what waits for people."""

from decimal import Decimal

from canonical.ids import posting_id
from operations.trace.contracts import sagas_of
from operations.trace.finding import subject_of
from operations.trace.graph import NodeKind, Web, amount, node_id
from store.thread_models import ThreadApplied
from store.threads import Facts

CREDIT = "credit"


def add_drafts(web: Web, facts: Facts) -> None:
    """Add the drafts: what was worked on points at them."""
    for draft in facts.drafts:
        postings = [posting_id(draft.id, number) for number in range(1, draft.posting + 1)]
        web.add(
            NodeKind.DRAFT,
            draft.id,
            title=f"{draft.legal_entity}, {draft.period}",
            state=draft.state,
            amounts=(
                amount("net", draft.net, draft.currency),
                amount("gross", draft.gross, draft.currency),
            ),
            sagas=sagas_of(facts.sagas, *postings),
        )


def add_invoices(web: Web, facts: Facts) -> None:
    """Add what became of drafts: invoices, and what was paid, credited and mirrored."""
    for draft in facts.drafts:
        node = node_id(NodeKind.DRAFT, draft.id)
        for run in draft.runs:
            web.link(node_id(NodeKind.RUN, run), node, "was drafted on")
        order = node_id(NodeKind.CLIENT_PO, draft.client_id, draft.client_po)
        web.link(order, node, "is used by")
    for invoice in facts.invoices:
        node = web.add(
            NodeKind.INVOICE,
            invoice.connection,
            invoice.id,
            title=invoice.number,
            state=invoice.state,
            on=invoice.on,
            amounts=tuple(
                amount(what, getattr(invoice, what), invoice.currency)
                for what in ("net", "tax", "gross", "remaining")
            ),
        )
        web.link(node_id(NodeKind.DRAFT, invoice.draft), node, "became")
    _credits(web, facts)
    for applied in facts.applied:
        _applied(web, facts, applied)
    for mirror in facts.mirrors:
        node = web.add(
            NodeKind.MIRROR,
            mirror.psa,
            mirror.mirror,
            amounts=(amount("net", mirror.net, mirror.currency),),
            facts={"project": mirror.project_id},
        )
        invoice_node = node_id(NodeKind.INVOICE, mirror.connection, mirror.invoice)
        web.link(invoice_node, node, "is mirrored by")


def _credits(web: Web, facts: Facts) -> None:
    for credit in facts.credits:
        note = {"note": credit.note_number or credit.note_id or ""}
        reasons = {"reason": ", ".join(each.replace("_", " ") for each in credit.reasons)}
        node = web.add(
            NodeKind.CREDIT,
            credit.id,
            title=note["note"],
            state=credit.state,
            amounts=(amount("net", credit.net, credit.currency),),
            facts={name: value for name, value in (note | reasons).items() if value},
            sagas=sagas_of(facts.sagas, credit.id),
        )
        web.link(node_id(NodeKind.INVOICE, credit.connection, credit.invoice), node, "was credited")
        for draft in credit.again:
            web.link(node, node_id(NodeKind.DRAFT, draft), "is billed again on")


def _applied(web: Web, facts: Facts, applied: ThreadApplied) -> None:
    """Add a payment or write-off; a credit of ours is there, another's is not."""
    invoice = node_id(NodeKind.INVOICE, applied.connection, applied.invoice)
    ours = {(each.connection, each.note_id) for each in facts.credits}
    if applied.kind == CREDIT and (applied.connection, applied.application) in ours:
        return
    kind = NodeKind.CREDIT if applied.kind == CREDIT else NodeKind.PAYMENT
    same = (applied.connection, applied.application)
    all_of_it = [each for each in facts.applied if (each.connection, each.application) == same]
    total = sum((each.amount for each in all_of_it), Decimal(0))
    node = web.add(
        kind,
        applied.connection,
        applied.application,
        title=applied.reference,
        state="" if total else "taken_back",
        on=applied.on,
        amounts=(amount("applied", total, applied.currency),),
        facts={} if applied.kind == "payment" else {"kind": applied.kind.replace("_", " ")},
    )
    says = "was credited" if kind is NodeKind.CREDIT else "was settled by"
    web.link(invoice, node, says)


def add_work_items(web: Web, facts: Facts) -> None:
    """Add what waits, or waited, for a person, where it waits."""
    for item in facts.work_items:
        subject = subject_of(item.workflow_id)
        at = node_id(*subject) if subject else node_id(NodeKind.INVOICE, item.workflow_id)
        run = node_id(NodeKind.RUN, item.workflow_id)
        node = web.add(
            NodeKind.WORK_ITEM,
            item.id,
            title=f"{item.step}: {item.reason.replace('_', ' ')}",
            state=item.state,
            on=item.opened_at.date(),
            facts={"kind": item.kind},
        )
        web.link(run if run in web.nodes else at, node, "waits for")
