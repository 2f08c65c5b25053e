"""A small month of two legal entities, put into the store; the figures are worked out by hand.

US, client C1, project 5001 (led by Lea), USD, 120 an hour, cost 95 an hour, worked on 3 November
and approved on the 9th at 08:00, n seconds later for entry n:

    1, 2   invoiced as 9001 on the 30th: net 240, gross 264, of it 64 paid and 22 credited, disputed
    3      in the billing queue, written down by 20
    4      in review
    5      held
    6      deferred to January
    7      free, as is the milestone M1 of 1000, due on the 30th
    8      an hour and a half, approved after the run

DE, client C2, project 5002, EUR, worked on 15 August by people of US, whose cost is 95 USD an hour:

    11     100.10, free; 12: 50.00, invoiced as 9002: gross 55.00, not transmitted
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import text

from canonical.drafts import DraftState, LineState
from canonical.engagement import Engagement
from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState
from canonical.money import Money
from canonical.rating import Part, Rated
from canonical.standing import Allocation, CapStanding, RetainerStanding
from store import Store
from tests.store.billing import PSA, SEEN, rate, time_entry
from tests.store.invoicing import (
    act,
    billed,
    billed_contract,
    deciding,
    fee,
    invoice_of,
    items_of,
    off,
    opened,
    release,
    written_down,
)
from tests.store.test_credits import credit, through

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LAST = date(2026, 11, 30)
AUGUST = date(2026, 8, 15)
GERMAN = {"11": Decimal("100.10"), "12": Decimal("50.00")}

_SAGA = """
    INSERT INTO saga_generations (workflow_id, generation, saga, plan_json, state, outcome,
        result_json, opened_at, closed_at, ended_at)
    VALUES ('{id}', {generation}, 'OpportunityToProject',
        '{{"legal_entities": {entities}, "client_id": "{client}"}}', {ended}, '{opened}', {closed})
"""
_ENDED = "'ended', '{}', '{{}}'"
_ITEM = """
    INSERT INTO work_items (id, workflow_id, generation, park, kind, step, reason, client_id,
        legal_entities, amount, currency, item_json, opened_at, respond_by)
    VALUES ('{id}', '{workflow}', 1, 1, '{kind}', '{step}', 'rejected', '{client}', '{{{entity}}}',
        {money}, '{{}}', '2026-11-20 10:00Z', '2026-11-21 10:00Z')
"""
_FINDING = """
    INSERT INTO reconciliation_findings (key, psa, legal_entity, period, comparison, code, class,
        system, record_type, record_id, client_id, project_id, amount, currency, explanation, rows,
        first_run, last_run, first_seen_at, last_seen_at)
    VALUES ('{key}', 'kantata', {values}, 'It differs.', '[]', 1, 1, '2026-11-29 02:00Z', now())
"""
_STEP = """
    INSERT INTO step_ledger (key, attempt, workflow_id, generation, step, connection, state,
        request_json, receipt_json, claimed_at)
    VALUES ('O1/1:{step}', {attempt}, 'O1', 1, '{step}', 'netsuite', '{state}', '{{}}', {receipt},
        '2026-11-02 09:00Z')
"""
_EVENT = """
    INSERT INTO event_inbox (connection, event_id, protocol, body, state, replays, received_at,
        ended_at)
    VALUES ('kantata', '{id}', 'feed', '', 'delivered', {replays}, '2026-11-10 08:00:00Z',
        '2026-11-10 08:00:0{seconds}Z')
"""


async def plant(store: Store, *statements: str) -> None:
    """Run statements as nobody may: past the triggers that keep times and states."""
    async with store.database.transaction() as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await session.exec_driver_sql(statement)


async def small_month(store: Store) -> None:
    """Put the month into the store."""
    await american(store)
    await german(store)
    await sagas(store)
    await plant(
        store,
        _EVENT.format(id="E1", replays=0, seconds=1),
        _EVENT.format(id="E2", replays=2, seconds=3),
        "INSERT INTO project_leads (psa, project_id, email) "
        "VALUES ('kantata', '5001', 'lea@example.com')",
        "UPDATE invoices SET disputed = 'a wrong rate', recorded_at = '2026-11-30 08:00:01Z' "
        "WHERE id = '9001'",
        "UPDATE invoices SET recorded_at = '2026-12-01 08:00:12Z' WHERE id = '9002'",
        "UPDATE drafts SET changed_at = '2026-11-30 07:00Z'",
        "INSERT INTO invoice_changes (connection, invoice, change, state, remaining, at) "
        "VALUES ('netsuite', '9001', 9, 'part_settled', 200, '2026-11-30 09:00:00Z')",
        "INSERT INTO invoice_deliveries (connection, invoice, change, system, at) "
        "VALUES ('netsuite', '9001', 9, 'kantata', '2026-11-30 09:00:05Z')",
    )


async def american(store: Store) -> None:
    """The work of US."""
    await store.engagements.put(billed_contract())
    await store.fees.reserve("run", fee())
    await store.fees.hand_over("run")
    free = await billed(store, *"1234567")
    one, two, three, four, _, six, _ = (each for each in free if each.ref.kind == "part")
    out = await release(store, (await opened(store, [one], [two], number=1)).id)
    await store.invoices.posted(out.id, 1, invoice_of(out), items_of(out))
    paid = invoice_of(out, paid={"P1": 64})
    await store.invoices.observe("netsuite", "9001", paid, InvoiceState.PART_SETTLED)
    await through(store, credit((1, one.ref, 20), reason=CreditReason.CONCESSION))
    queued = await opened(store, [three], number=2)
    await act(store, queued.id, deciding("write_down", written_down(1, 20)))
    review = await opened(store, [four], [six], number=3, state=DraftState.IN_REVIEW)
    deferred = off(LineState.DEFERRED, 2, until=date(2027, 1, 15))
    await act(store, review.id, deciding("defer", deferred))
    await store.entries.take_in([time_entry("8", 90)], SEEN)
    await plant(
        store,
        "INSERT INTO holds (source, kind, entry_id, reason, owner) "
        "VALUES ('kantata', 'time', '5', 'by_hand', 'olivia')",
    )


async def german(store: Store) -> None:
    """The work of DE, by people of US."""
    await store.engagements.put(german_contract())
    work = {"project_id": "5002", "currency": "EUR", "service_date": AUGUST}
    await store.entries.take_in([time_entry(id_, 60, **work) for id_ in GERMAN], SEEN)
    key = "billing-run/kantata/5002/2026-11/1"
    await store.runs.claim(key, PSA, "5002", "2026-11")
    rated = [_in_euros(each) for each in rate(await store.runs.load(key))]
    await store.runs.store_rated(key, rated)
    await store.runs.place(key, _whole, AUGUST)
    await store.runs.hand_over(key)
    _, twelve = await store.drafts.billables(project_id="5002", on=LAST)
    out = await release(store, (await opened(store, [twelve], number=4)).id)
    euros = {
        name: Money(amount=Decimal(amount), currency="EUR")
        for name, amount in (("net", 50), ("tax", 5), ("gross", 55), ("remaining", 55))
    }
    issued = invoice_of(out, "9002").model_copy(update=euros)
    await store.invoices.posted(out.id, 1, issued, items_of(out))


def german_contract() -> Engagement:
    """A contract of time and materials alone."""
    contract = billed_contract(project="5002")
    terms = {"legal_entity": "DE", "currency": "EUR", "erp_client_id": "502"}
    line = contract.lines[0].model_copy(update={**terms, "erp_project_id": "702"})
    of = {"id": "salesforce/007", "client_id": "C2", "lines": (line,)}
    return contract.model_copy(update=of)


def _in_euros(rated: Rated) -> Rated:
    amount = Money(amount=GERMAN[rated.ref.id], currency="EUR")
    return rated.model_copy(update={"legal_entity": "DE", "amount": amount})


def _whole(
    rated: Sequence[Rated], _caps: Sequence[CapStanding], _retainers: Sequence[RetainerStanding]
) -> Allocation:
    return Allocation(
        parts=tuple(
            (Part(number=1, disposition=each.base, amount=each.amount, minutes=60),)
            for each in rated
            if each.amount is not None
        )
    )


async def sagas(store: Store) -> None:
    """Deals (6 and 24 hours, one rolled back, one that waits), steps, work items, findings."""
    completed, rolled_back = _ENDED.format("completed"), _ENDED.format("rolled_back")
    us, both = '["US"]', '["US", "DE"]'

    def saga(id_: str, generation: int, ended: str, opened_at: str, at: str, **of: str) -> str:
        closed = f"'{at}', '{at}'" if at else "NULL, NULL"
        values = {"entities": us, "client": "C1", **of}
        return _SAGA.format(
            id=id_, generation=generation, ended=ended, opened=opened_at, closed=closed, **values
        )

    def item(id_: str, workflow: str, kind: str, step: str, entity: str, money: str) -> str:
        client = {"US": "C1", "DE": "C2"}[entity]
        return _ITEM.format(
            id=id_,
            workflow=workflow,
            kind=kind,
            step=step,
            client=client,
            entity=entity,
            money=money,
        )

    await plant(
        store,
        saga("O1", 1, completed, "2026-11-02 08:00Z", "2026-11-02 14:00Z"),
        saga("O2", 1, rolled_back, "2026-11-03 08:00Z", "2026-11-03 09:00Z"),
        saga(
            *("O2", 2, completed, "2026-11-03 20:00Z", "2026-11-04 08:00Z"),
            entities=both,
            client="C2",
        ),
        saga("O3", 1, rolled_back, "2026-11-05 08:00Z", "2026-11-05 09:00Z"),
        saga("O4", 1, "'open', NULL, NULL", "2026-11-20 08:00Z", ""),
        item("W1", "O4", "step", "match_client", "US", "NULL, NULL"),
        item("W2", "invoice/netsuite/9001", "difference", "tax", "US", "1, 'USD'"),
        item("W3", "invoice-posting/US/1", "step", "post_invoice", "US", "264, 'USD'"),
        item("W4", "billing-run/kantata/5002/2026-11/1", "step", "post_costs", "DE", "NULL, NULL"),
        "INSERT INTO decisions (id, work_item_id, park, verb, decision_json, decided_by, "
        "needs_second, taken_at) "
        "VALUES ('D1', 'W1', 1, 'retry', '{}', 'olivia', false, '2026-11-20 11:00Z')",
        _STEP.format(step="match_client", attempt=1, state="not_done", receipt="NULL"),
        _STEP.format(step="match_client", attempt=2, state="done", receipt="'{}'"),
        _STEP.format(step="link_erp_project", attempt=1, state="done", receipt="'{}'"),
        _STEP.format(step="write_back", attempt=1, state="unknown", receipt="NULL"),
        _STEP.format(step="confirm_in_crm", attempt=1, state="claimed", receipt="NULL"),
        _FINDING.format(
            key="F1",
            values="'US', '2026-11', 'charge', 'amount_differs', 'mismatch', 'netsuite', "
            "'charge', '88', 'C1', '5001', -12.50, 'USD'",
        ),
        _FINDING.format(
            key="F2",
            values="'US', '2026-11', 'charge', 'amount_differs', 'timing_gap', 'netsuite', "
            "'charge', '89', 'C1', '5001', 99, 'USD'",
        ),
        _FINDING.format(
            key="F3",
            values="'DE', '', 'client', 'client_missing', 'orphan', 'netsuite', 'client', '502', "
            "'C2', '', NULL, ''",
        ),
    )
