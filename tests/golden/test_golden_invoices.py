"""Dealthread carries the golden month to invoices, a concession and a rebill as the hand did.

The month runs once, on PostgreSQL; each test looks at one row of the files in `invoices/`.
"""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from canonical.drafts import DraftLine, LineState
from canonical.money import Money
from canonical.schedule_facts import LineKind, ScheduledLine
from policies.bundle import load_bundle
from policies.drafting import groups_of
from store import make_store
from tests.golden.invoice_files import Row, draft_rows, lines_of, table
from tests.golden.invoice_month import Month, Seen
from tests.support.postgres import PostgresForTests, new_name

DRAFTS = draft_rows()


@pytest_asyncio.fixture(scope="module")
async def seen(postgres: PostgresForTests) -> AsyncIterator[Seen]:
    name = new_name()
    store = make_store(await postgres.create(name))
    yield await Month(store).run()
    await store.aclose()
    await postgres.drop(name)


# Drafts.


def test_there_are_these_drafts_and_no_others(seen: Seen) -> None:
    assert set(seen.made) == set(DRAFTS)


@pytest.mark.parametrize("name", DRAFTS)
def test_draft_is_grouped_and_summed_as_by_hand(seen: Seen, name: str) -> None:
    row, draft = DRAFTS[name], seen.made[name]
    assert (draft.client_id, draft.legal_entity, draft.currency) == (
        *(row["client"], row["entity"], row["currency"]),
    )
    assert (draft.period, draft.client_po) == (row["period"], row["client_po"])
    assert {line.project_id for line in draft.lines} == {row["project"]}
    assert {line.engagement for line in draft.lines} == {row["engagement"]}
    assert len(draft.live_lines) == int(row["lines"])
    assert (draft.net, draft.expected_tax, draft.gross) == (
        *(_in(row, "net"), _in(row, "tax"), _in(row, "gross")),
    )


@pytest.mark.parametrize("name", DRAFTS)
def test_draft_is_released_at_what_was_left_of_it(seen: Seen, name: str) -> None:
    row, draft = DRAFTS[name], seen.released[name]
    assert len(draft.live_lines) == int(row["released_lines"])
    assert (draft.net, draft.expected_tax, draft.gross) == (
        *(_in(row, "released_net"), _in(row, "released_tax"), _in(row, "released_gross")),
    )
    assert draft.released_by == "carl"


LINES = [(row["draft"], row["line"]) for row in table("lines")]


@pytest.mark.parametrize(("draft", "line"), LINES)
def test_line_is_made_as_by_hand(seen: Seen, draft: str, line: str) -> None:
    row, currency = lines_of(draft)[line], DRAFTS[draft]["currency"]
    found = _line(seen, draft, line, released=False)
    assert {
        "bills": {seen.bills[ref] for ref in found.bills},
        "contract_line": found.line,
        "kind": found.kind,
        "from": str(found.start),
        "to": str(found.end),
        "narrative": found.narrative,
        "quantity": found.quantity,
        "unit_price": found.unit_price,
        "net": found.amount,
        "tax_percent": found.tax_percent,
        "tax": found.expected_tax,
    } == {
        **{name: row[name] for name in ("contract_line", "kind", "from", "to", "narrative")},
        "bills": set(row["bills"].split(";")),
        "quantity": Decimal(row["quantity"]),
        "unit_price": Decimal(row["unit_price"]),
        "net": _money(row["net"], currency),
        "tax_percent": _number(row["tax_percent"]),
        "tax": _money(row["tax"], currency),
    }


@pytest.mark.parametrize(("draft", "line"), LINES)
def test_line_is_released_held_or_written_off_as_by_hand(seen: Seen, draft: str, line: str) -> None:
    row, currency = lines_of(draft)[line], DRAFTS[draft]["currency"]
    found = _line(seen, draft, line, released=True)
    assert found.state.value == row["state"]
    if found.state is not LineState.IN:
        return
    assert (found.amount, found.expected_tax) == (
        *(_money(row["released_net"], currency), _money(row["released_tax"], currency)),
    )
    if row["released_net"] == row["net"]:
        assert found.quantity == Decimal(row["quantity"])
        assert found.written_down is None
    else:
        assert found.quantity == Decimal(1)
        assert found.unit_price == Decimal(row["released_net"])
        down = Decimal(row["net"]) - Decimal(row["released_net"])
        assert found.written_down == Money(amount=down, currency=currency)


def test_acts_are_taken_and_refused_as_by_hand(seen: Seen) -> None:
    for row, answer in zip(table("acts"), seen.answers, strict=True):
        assert ("taken" if answer.taken else "refused") == row["answer"], (row, answer.reasons)
        if row["answer"] == "refused":
            assert row["says"] in "; ".join(answer.reasons)
        if row["act"] == "edit":
            line = _line(seen, row["draft"], row["line"], released=True)
            assert line.narrative == row["says"]
            assert line.original_narrative == lines_of(row["draft"])[row["line"]]["narrative"]


# Invoices.


@pytest.mark.parametrize("name", DRAFTS)
def test_what_is_asked_for_is_what_the_erp_issued_by_hand(seen: Seen, name: str) -> None:
    assert seen.disagreements[name] == ()


@pytest.mark.parametrize("name", DRAFTS)
def test_invoice_stands_as_by_hand(seen: Seen, name: str) -> None:
    row, invoice = DRAFTS[name], seen.invoices[name]
    assert (invoice.net, invoice.tax, invoice.gross, invoice.remaining) == (
        *(_in(row, column) for column in ("erp_net", "erp_tax", "erp_gross", "remaining")),
    )
    assert (invoice.state.value, invoice.settled_by.value) == (row["state"], row["settled_by"])


@pytest.mark.parametrize("name", DRAFTS)
def test_invoice_line_knows_what_it_bills_and_what_was_credited(seen: Seen, name: str) -> None:
    currency = DRAFTS[name]["currency"]
    wanted = {
        line: (
            _money(row["released_net"], currency),
            _money(row["erp_tax"], currency),
            set(row["bills"].split(";")),
            _money(str(_credited(name, line)), currency),
        )
        for line, row in lines_of(name).items()
        if row["state"] == "in"
    }
    found = {
        seen.names[name][line.number]: (
            line.expected,
            line.issued.tax,
            {seen.bills[ref] for ref in line.bills},
            line.credited,
        )
        for line in seen.invoices[name].lines
    }
    assert found == wanted


# Credits.


CREDITS = list(dict.fromkeys(row["credit"] for row in table("credits")))


@pytest.mark.parametrize("name", CREDITS)
def test_credit_takes_back_what_it_should(seen: Seen, name: str) -> None:
    rows = [row for row in table("credits") if row["credit"] == name]
    draft, standing = rows[0]["draft"], seen.credits[name]
    currency = DRAFTS[draft]["currency"]
    lines = {row["line"] for row in rows}
    found = {
        seen.names[draft][line.line]: (line.amount, line.reason.value)
        for line in standing.credit.lines
    }
    assert found == {
        line: (_money(str(_credited(draft, line)), currency), rows[0]["reason"]) for line in lines
    }
    assert standing.credit.net == _money(rows[0]["note_net"], currency)
    assert (standing.state, standing.note_id) == ("credited", rows[0]["note"])


@pytest.mark.parametrize("name", CREDITS)
def test_credit_falls_on_what_the_line_bills_in_its_order(seen: Seen, name: str) -> None:
    rows = [row for row in table("credits") if row["credit"] == name]
    draft = rows[0]["draft"]
    found = {
        (seen.names[draft][line.line], seen.bills[part.bills]): part.amount.amount
        for line in seen.credits[name].credit.lines
        for part in line.parts
    }
    assert found == {(row["line"], row["bills"]): Decimal(row["amount"]) for row in rows}


@pytest.mark.parametrize("name", CREDITS)
def test_only_a_rebill_opens_another_cycle(seen: Seen, name: str) -> None:
    wanted = {
        row["bills"]: Decimal(row["amount"])
        for row in table("credits")
        if row["credit"] == name and row["reason"] == "rebill"
    }
    opened = seen.opened[name]
    assert {seen.bills[each.ref]: each.amount.amount for each in opened} == wanted
    assert {each.cycle for each in opened} <= {2}
    assert len(seen.credits[name].opened) == len(wanted)


def test_a_rebill_is_an_invoice_of_its_own_beside_other_work(seen: Seen) -> None:
    again = seen.opened["K3"]
    others = [each.model_copy(update={"cycle": 1, "in_review": False}) for each in again]
    groups = groups_of([*again, *others], load_bundle())
    assert [{each.cycle for each in group.billables} for group in groups] == [{1}, {2}]


# What is left of everything.


@pytest.mark.parametrize("row", table("client_pos"), ids=lambda row: f"{row['stage']}-{row['po']}")
def test_client_po_stands_as_by_hand(seen: Seen, row: Row) -> None:
    standing = seen.pos[row["stage"], row["po"]]
    columns = ("drafted", "released", "invoiced", "credited", "left")
    found = {column: getattr(standing, column).amount for column in columns}
    assert found == {column: Decimal(row[column]) for column in columns}


@pytest.mark.parametrize("row", table("caps"), ids=lambda row: f"{row['stage']}-{row['cap']}")
def test_cap_stands_as_by_hand(seen: Seen, row: Row) -> None:
    cap = seen.caps[row["stage"], row["engagement"], row["cap"]]
    columns = ("amount", "reserved", "drafted", "invoiced", "credited")
    assert {c: cap[c] for c in columns} == {c: Decimal(row[c]) for c in columns}
    taken = cap["reserved"] + cap["drafted"] + cap["invoiced"] - cap["credited"]
    assert cap["amount"] - taken == Decimal(row["left"])


@pytest.mark.parametrize("row", table("contract_lines"), ids=lambda row: row["line"])
def test_contract_line_has_this_much_left(seen: Seen, row: Row) -> None:
    standing, currency = seen.lines[row["engagement"], row["line"]], row["currency"]
    assert (standing.invoiced, standing.credited, standing.taken) == (
        *(_money(row[column], currency) for column in ("invoiced", "credited", "taken")),
    )
    assert not standing.reserved.amount
    assert not standing.drafted.amount
    if row["value"]:
        assert Decimal(row["value"]) - standing.taken.amount == Decimal(row["left"])
    kept: dict[str, Decimal] = {"advance_left": Decimal(0), "retained": Decimal(0)}
    for each in standing.fees:
        line = ScheduledLine.model_validate_json(each.fee.evidence)
        if line.balance_effect is not None:
            retained = line.kind is LineKind.RETENTION
            kept["retained" if retained else "advance_left"] += line.balance_effect.amount
    assert kept == {name: Decimal(row[name] or 0) for name in kept}


@pytest.mark.parametrize("row", table("month_end"), ids=lambda row: row["client"])
def test_month_ends_as_by_hand(seen: Seen, row: Row) -> None:
    name = row["engagement"]
    drafts = [draft for draft, of in DRAFTS.items() if of["engagement"] == name]
    lines = [line for draft in drafts for line in seen.last[draft].lines]
    off = [line.amount for line in lines if line.state is LineState.WRITTEN_OFF]
    off += [line.written_down for line in lines if line.written_down is not None]
    finances = seen.finances[name]
    notes = [
        each.credit
        for each in seen.credits.values()
        if each.credit.invoice in {seen.invoices[draft].record for draft in drafts}
    ]
    again = [line for each in notes for line in each.lines if line.reason.value == "rebill"]
    assert {
        "opening": seen.opening[name],
        "rated": seen.handed_over[name] - seen.opening[name],
        "before_invoices": seen.before_invoices[name],
        "billed": sum((seen.invoices[draft].net.amount for draft in drafts), Decimal(0)),
        "written_off": sum((each.amount for each in off), Decimal(0)),
        "reopened": sum((line.amount.amount for line in again), Decimal(0)),
        "closing": finances.unbilled.amount,
        "invoiced": finances.invoiced.amount,
        "credited": sum((each.net.amount for each in notes), Decimal(0)),
        "outstanding": finances.outstanding.amount,
    } == {
        column: Decimal(row[column])
        for column in row
        if column not in ("client", "engagement", "currency", "working")
    }


def test_work_in_progress_rolls_forward(seen: Seen) -> None:
    """Opening + rated - billed - written off + re-opened = closing, by our own figures alone."""
    for name, finances in seen.finances.items():
        drafts = [draft for draft, of in DRAFTS.items() if of["engagement"] == name]
        billed = sum((seen.invoices[draft].net.amount for draft in drafts), Decimal(0))
        lines = [line for draft in drafts for line in seen.last[draft].lines]
        off = sum(
            (line.amount.amount for line in lines if line.state is LineState.WRITTEN_OFF),
            Decimal(0),
        )
        off += sum((line.written_down.amount for line in lines if line.written_down), Decimal(0))
        again = sum(
            (
                each.amount.amount
                for opened in seen.opened.values()
                for each in opened
                if each.engagement == name
            ),
            Decimal(0),
        )
        assert seen.handed_over[name] - billed - off + again == finances.unbilled.amount, name


def test_nothing_rated_is_lost_and_nothing_held_is_drafted(seen: Seen) -> None:
    assert {each.difference for each in seen.conservation} == {0}
    assert seen.waits == ()


def _line(seen: Seen, draft: str, line: str, *, released: bool) -> DraftLine:
    numbers = {name: number for number, name in seen.names[draft].items()}
    assert line in numbers, f"no line of {draft} bills {lines_of(draft)[line]['bills']}"
    of = seen.released[draft] if released else seen.made[draft]
    return next(each for each in of.lines if each.number == numbers[line])


def _credited(draft: str, line: str) -> Decimal:
    return sum(
        (
            Decimal(row["amount"])
            for row in table("credits")
            if (row["draft"], row["line"]) == (draft, line)
        ),
        Decimal(0),
    )


def _in(row: Row, column: str) -> Money:
    return Money(amount=Decimal(row[column]), currency=row["currency"])


def _money(amount: str, currency: str) -> Money | None:
    return Money(amount=Decimal(amount), currency=currency) if amount else None


def _number(number: str) -> Decimal | None:
    return Decimal(number) if number else None
