"""Transforms, record actions, native billing and voiding: acts which are no plain write.

Sources: vendor page, sections 4, 5.5, 5.9 and 7. Simulator choices: a transform's own lines are
dropped where the body brings lines; a project without charges to bill, and without lines in the
body, cannot be transformed; voiding keeps the lines and zeroes the totals, or posts a reversing
journal where the account's setting `voidByReversingJournal` is on.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from simulators.kit import Account, Call, Record, Reply, ReplyError
from simulators.netsuite import errors, state
from simulators.netsuite.fields import ENTITIES, SEGMENTS
from simulators.netsuite.invoicing import free_charges
from simulators.netsuite.ledger import LOCKS, VOIDED
from simulators.netsuite.periods import open_period, today
from simulators.netsuite.reading import Reader
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.service import find_record, make_writer, read_body, saved
from simulators.netsuite.settlement import settled
from simulators.netsuite.state import Fields, ref_id, text
from simulators.netsuite.timekeeping import status_after
from simulators.netsuite.transaction_types import ITEM_COLUMN
from simulators.netsuite.writing import Writer, refusal_text

RESTLET_PATH = "/app/site/hosting/restlet.nl"
_LINE = (
    *("item", "quantity", "rate", "amount", "description", "job", "taxCode", ITEM_COLUMN),
    *SEGMENTS,
)
_RECEIVABLE, _REVENUE = "119", "123"

Preset = tuple[Fields, Fields]
"""What a transform fills in as a client could, and what only NetSuite fills in."""


async def transform(call: Call) -> Reply:
    """Make a record out of another one; the body, which may be empty, comes before the preset."""
    source, target = find_record(call), call.params["target"]
    made = _TRANSFORMS.get((source.type, target))
    if made is None:
        text_ = f"A {source.type} cannot be transformed into {target}."
        raise errors.invalid_url(text_, call.path)
    body = read_body(call) if call.body else {}
    preset, own = made(call.account, source)
    writer = make_writer(call)
    record = writer.create(RECORD_TYPES[target], {**preset, **body}, preset=own)
    call.effected("create", record.key, record.type, record.id)
    return saved(call, record, writer)


async def act(call: Call) -> Reply:
    """Run a record action; only time entries have some."""
    record, action = find_record(call), call.params["action"]
    if record.type != "timeBill":
        raise errors.invalid_url(f"The record has no action {action}.", call.path)
    status = status_after(record, action)
    make_writer(call).update(record, {"approvalStatus": {"id": status}})
    call.effected("update", record.key, record.type, record.id)
    return Reply(200, {"id": record.id, "notifications": []})


def bill_project(account: Account, job: str, body: Fields) -> Record:
    """Make a project's invoice out of its ready charges, as the native billing job does.

    Raises:
        ReplyError: there is nothing to bill, or the invoice is refused.
    """
    source = account.store.get("job", job)
    if source is None:
        raise errors.invalid_value(job, "job", "job")
    preset, _ = _bill(account, source)
    writer = Writer(Reader(account, names="error", loose=True))
    return writer.create(RECORD_TYPES["invoice"], {**preset, **body})


async def void(call: Call) -> Reply:
    """Void an invoice through the customer's own script; its errors have a form of their own."""
    body = read_body(call)
    record = call.account.store.get("invoice", str(body.get("id")))
    try:
        if body.get("type") != "invoice" or record is None:
            raise errors.nonexistent(call.path)
        journal = void_invoice(call.account, record)
    except ReplyError as error:
        inner: Fields = {"code": "USER_ERROR", "message": refusal_text(error)}
        return Reply(400, {"error": inner})
    call.effected("update", record.key, record.type, record.id)
    answer: Fields = {"voided": True}
    return Reply(200, answer | ({"reversingJournalId": journal} if journal else {}))


def _bill(_: Account, job: Record) -> Preset:
    return {"entity": {"id": job.id}, "whichChargesToAdd": {"id": "ALL"}}, {}


def _credit(account: Account, invoice: Record) -> Preset:
    preset, own = _follow(invoice)
    preset["entity"] = {"id": _customer(account, invoice)}
    rows: list[JsonValue] = []
    for line in state.lines(invoice.fields, "item"):
        rows.append({name: line[name] for name in _LINE if line.get(name) is not None})
    preset["item"] = {"items": rows}
    return preset, own | {"createdFrom": {"id": invoice.id}}


def _pay(account: Account, invoice: Record) -> Preset:
    preset, own = _follow(invoice)
    return preset | {"customer": {"id": _customer(account, invoice)}}, own


def _follow(invoice: Record) -> Preset:
    """Return what a document that settles an invoice takes from it."""
    if ref_id(invoice.fields, "status") not in ("A", "B"):
        raise errors.user_error("This invoice is not open.")
    preset: Fields = {}
    for name in ("subsidiary", "currency", "job", "exchangeRate", *SEGMENTS):
        if invoice.fields.get(name) is not None:
            preset[name] = invoice.fields[name]
    left = invoice.fields.get("amountRemaining")
    if isinstance(left, int | float) and left > 0:
        preset["apply"] = {"items": [{"doc": {"id": invoice.id}, "apply": True}]}
    return preset, {}


def _customer(account: Account, invoice: Record) -> str:
    entity = state.find_reference(account, ENTITIES, ref_id(invoice.fields, "entity") or "")
    return state.customer_of(account, entity).id if entity is not None else ""


def void_invoice(account: Account, invoice: Record) -> str | None:
    """Void an invoice, by the script or in the screen; return the reversing journal, if any.

    Raises:
        ReplyError: it is void already, something is applied to it, or its period is closed.
    """
    fields = invoice.fields
    if ref_id(fields, "status") == VOIDED:
        raise errors.user_error("This transaction has already been voided.")
    if settled(account, invoice.id):
        raise errors.user_error("This transaction has payments or credits applied to it.")
    journal: str | None = None
    if state.governance(account).get("voidByReversingJournal"):
        journal = _reverse(account, invoice)
    else:
        open_period(account, text(fields, "tranDate"), LOCKS["invoice"])
    zeroes = ("subtotal", "taxTotal", "total", "amountRemaining")
    free_charges(account, invoice)
    account.store.update(
        invoice, {"status": {"id": VOIDED}, "memo": "VOID", **dict.fromkeys(zeroes, 0.0)}
    )
    return journal


def _reverse(account: Account, invoice: Record) -> str:
    fields = invoice.fields
    credit: Fields = {"account": {"id": _RECEIVABLE}, "credit": fields["total"]}
    debit: Fields = {"account": {"id": _REVENUE}, "debit": fields["total"]}
    body: Fields = {
        "subsidiary": fields["subsidiary"],
        "currency": fields["currency"],
        "exchangeRate": fields["exchangeRate"],
        "tranDate": today(account),
        "memo": f"Void of {text(fields, 'tranId')}",
        "line": {"items": [debit, credit]},
    }
    writer = Writer(Reader(account))
    own: Fields = {"createdFrom": {"id": invoice.id}}
    return writer.create(RECORD_TYPES["journalEntry"], body, preset=own).id


_TRANSFORMS: Mapping[tuple[str, str], Callable[[Account, Record], Preset]] = {
    ("job", "invoice"): _bill,
    ("invoice", "creditMemo"): _credit,
    ("invoice", "customerPayment"): _pay,
}
