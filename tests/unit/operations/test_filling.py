"""Document and evidence are filled as issued: to the cent, in the words of the draft."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from canonical.deal import Address
from canonical.drafts import BillableKind, BillableRef, Draft, DraftLine, DraftState
from canonical.engagement import BillingMethod
from canonical.entries import Entry, EntryKind
from canonical.evidence import EvidencePerson
from canonical.fees import Fee, FeeSource
from canonical.invoicing import IssuedLine
from canonical.lifecycle import InvoicedLine, InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.rating import ExchangeRate, Rated, RateUsed
from canonical.records import RecordRef
from operations.documents.evidence import pack_evidence
from operations.documents.filling import document_of, locale_of
from operations.documents.proving import evidence_of
from operations.way_back import WayBack, WayDeal, _lines
from policies.bundle import load_bundle
from store.finances import TracedBill

POLICIES = load_bundle().policies
AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
DRAFT = "invoice-draft/DE/501/EUR/project-5001/2026-11/1"
FX = ExchangeRate(
    from_currency="USD",
    to_currency="EUR",
    rate=Decimal("0.921659"),
    valid_from=date(2026, 11, 1),
    source="netsuite:77",
)


def euro(amount: str | Decimal) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def hour(number: int, amount: str = "100.00", down: str = "0.00", **rated: Any) -> TracedBill:
    """An hour of one day, billed by one part."""
    entry = Entry(
        source="kantata",
        kind=EntryKind.TIME,
        id=str(4710 + number),
        project_id="5001",
        person_id="3",
        person_email="maya@example.com",
        service_date=date(2026, 11, number),
        minutes=60,
        currency="EUR",
        approved=True,
        approved_by="anna@example.com",
        approved_at=AT,
    )
    used = RateUsed(rate=Decimal(100), currency="EUR", source="contract:role=Principal")
    return TracedBill(
        ref=BillableRef(kind=BillableKind.PART, id=number),
        amount=euro(amount),
        written_down=euro(down),
        credited=euro("0"),
        minutes=60,
        charge=f"dt-{number}",
        entry=entry,
        version=entry.version,
        rated=Rated(ref=entry.ref, version=entry.version, rate=used, amount=euro(amount), **rated),
        run="billing-run/kantata/5001/2026-11/1",
    )


def milestone(amount: str) -> TracedBill:
    fee = Fee(
        source=FeeSource.MILESTONE,
        item="kantata/7702",
        engagement="salesforce/006",
        line="FIX",
        psa="kantata",
        project_id="5001",
        client_id="C1",
        amount=euro(amount),
        period="2026-11",
        unit_price=Decimal(amount),
        narrative="Go-live",
        start=date(2026, 11, 30),
        end=date(2026, 11, 30),
        on=date(2026, 11, 30),
        approved_by=("anna@example.com",),
        approved_at=AT,
        acceptance="protocol.pdf",
        evidence='{"state": "completed"}',
    )
    return TracedBill(
        ref=BillableRef(kind=BillableKind.FEE, id=9),
        amount=euro(amount),
        written_down=euro("0"),
        credited=euro("0"),
        fee=fee,
        run="milestone-to-invoice/kantata/7702",
    )


def drafted(number: int, amount: str, quantity: str = "1", **changes: Any) -> DraftLine:
    values: dict[str, Any] = {
        "number": number,
        "kind": "time",
        "engagement": "salesforce/006",
        "line": "TM",
        "project_id": "5001",
        "narrative": f"Work of line {number}",
        "quantity": Decimal(quantity),
        "unit": "hour",
        "unit_price": Decimal(amount) / Decimal(quantity),
        "amount": euro(amount),
        "start": date(2026, 11, 1),
        "end": date(2026, 11, 30),
        "tax_category": "services-standard",
        "tax_percent": Decimal(19),
        "expected_tax": Money.rounded(Decimal(amount) * Decimal("0.19"), "EUR"),
    }
    return DraftLine(**(values | changes))


def issued(item: str, number: int, amount: str, tax: str) -> InvoicedLine:
    line = IssuedLine(
        id=f"n{item}", item=item, description="there", amount=euro(amount), tax=euro(tax)
    )
    return InvoicedLine(
        number=number, item=item, issued=line, expected=euro(amount), credited=euro("0")
    )


def way(
    lines: tuple[DraftLine, ...],
    bills: dict[int, tuple[TracedBill, ...]],
    on_invoice: tuple[InvoicedLine, ...] = (),
    **changes: Any,
) -> WayBack:
    draft = Draft(
        id=DRAFT,
        state=DraftState.INVOICED if on_invoice else DraftState.QUEUED,
        legal_entity="DE",
        client_id="C1",
        bill_to="501",
        connection="netsuite",
        erp="netsuite",
        method=BillingMethod.ERP_CHARGES,
        currency="EUR",
        group="project 5001",
        period="2026-11",
        on=date(2026, 11, 30),
        lines=lines,
        bundle="b" * 64,
    )
    invoice = None
    if on_invoice:
        net = euro(sum((each.issued.amount.amount for each in on_invoice), Decimal(0)))
        tax = euro(sum((each.issued.tax.amount for each in on_invoice), Decimal(0)))
        invoice = TrackedInvoice(
            record=RecordRef(system="netsuite", type="invoice", id="901"),
            draft=DRAFT,
            external_id="dt-1",
            number="INV-1",
            on=date(2026, 11, 30),
            currency="EUR",
            legal_entity="DE",
            client_id="C1",
            net=net,
            tax=tax,
            gross=net + tax,
            remaining=net + tax,
            state=InvoiceState.ISSUED,
            lines=on_invoice,
            seen_at=AT,
        )
    values: dict[str, Any] = {
        "invoice": invoice,
        "draft": draft,
        "content_hash": draft.content_hash,
        "lines": tuple(_lines(draft, bills, invoice)),
        "people": (EvidencePerson(id="3", email="maya@example.com", name="Maya Chen"),),
        "deals": (
            WayDeal(
                engagement="salesforce/006",
                crm="salesforce",
                opportunity_id="006",
                workflow_id="opportunity-to-project/salesforce/006",
                title="Warehouse",
                psa="kantata",
                projects=("5001",),
                client_name="Hansewerk",
                client_address=Address(city="Hamburg", country="DE"),
            ),
        ),
    }
    return WayBack(**(values | changes))


@pytest.mark.parametrize(
    ("country", "locale"),
    [
        ("US", "en_US"),
        ("DE", "de_DE"),
        ("JP", "ja_JP"),
        ("GB", "en_GB"),
        # several official languages: the one that documents have words in
        ("CH", "de_CH"),
        ("BE", "de_BE"),
        ("IN", "en_IN"),
        # none of ours: English as written there, else the country's own figures
        ("NL", "en_NL"),
        ("BR", "pt_BR"),
        # nothing known
        ("", "en_US"),
        ("XX", "en_US"),
        ("../", "en_US"),
    ],
)
def test_the_locale_is_that_of_the_clients_country(country: str, locale: str) -> None:
    assert locale_of(country) == locale


class TestDocument:
    def test_a_draft_has_estimated_tax_and_where_each_line_comes_from(self) -> None:
        lines = (drafted(1, "200.00", "2"), drafted(2, "5000.00", kind="fee", unit="item"))
        document = document_of(
            way(lines, {1: (hour(1), hour(2)), 2: (milestone("5000.00"),)}), POLICIES
        )
        assert (document.net, document.tax) == (euro("5200.00"), euro("988.00"))
        assert document.tax_is_estimated
        (tax,) = document.taxes
        assert (tax.rate_percent, tax.base) == (Decimal(19), euro("5200.00"))
        assert [row.amount for row in document.provenance] == [euro("200.00"), euro("5000.00")]
        assert document.provenance[1].milestone == "kantata/7702"
        assert [row.person for row in document.backup] == ["Maya Chen", "Maya Chen"]
        assert document.backup[0].approved_by == "anna@example.com"
        assert document.locale == "de_DE"
        assert document.seller.tax_id == POLICIES.legal_entities["DE"].tax_id

    def test_a_line_that_was_written_down_has_one_net_and_its_reduced_parts(self) -> None:
        lines = (drafted(1, "170.00", "1", written_down=euro("30.00"), unit="item"),)
        document = document_of(
            way(
                lines,
                {1: (hour(1, down="10.00"), hour(2, down="20.00"))},
                (issued("1", 1, "200.00", "38.00"), issued("1-down", 1, "-30.00", "-5.70")),
            ),
            POLICIES,
        )
        assert [line.net for line in document.lines] == [euro("170.00")]
        assert [row.amount for row in document.backup] == [euro("90.00"), euro("80.00")]
        assert (document.net, document.tax) == (euro("170.00"), euro("32.30"))
        assert not document.tax_is_estimated

    def test_what_was_added_there_is_printed_and_has_no_appendix(self) -> None:
        document = document_of(
            way(
                (drafted(1, "100.00"),),
                {1: (hour(1),)},
                (issued("1", 1, "100.00", "19.00"), issued("", 0, "7.00", "1.33")),
            ),
            POLICIES,
        )
        assert [line.id for line in document.lines] == ["1", "added-2"]
        assert document.net == euro("107.00")
        assert {row.line for row in document.provenance} == {"1"}

    def test_a_rate_that_the_final_tax_is_not_of_is_left_out(self) -> None:
        on_invoice = (issued("1", 1, "100.00", "0.00"),)
        document = document_of(way((drafted(1, "100.00"),), {1: (hour(1),)}, on_invoice), POLICIES)
        (tax,) = document.taxes
        assert (tax.rate_percent, tax.amount) == (None, euro("0.00"))

    def test_a_client_that_nobody_described_is_named_by_its_id(self) -> None:
        document = document_of(way((drafted(1, "100.00"),), {1: (hour(1),)}, deals=()), POLICIES)
        assert document.bill_to.name == "C1"
        assert document.locale == "en_US"


class TestEvidence:
    def test_parts_sum_to_their_line_whatever_was_written_down(self) -> None:
        known = way(
            (drafted(1, "170.00", written_down=euro("30.00"), unit="item"),),
            {1: (hour(1, down="10.00"), hour(2, down="20.00"))},
            (issued("1", 1, "200.00", "38.00"), issued("1-down", 1, "-30.00", "-5.70")),
        )
        (line,) = evidence_of(known, AT, (), {}).lines
        assert line.net == euro("170.00")
        assert [part.amount for part in line.parts] == [euro("90.00"), euro("80.00")]
        assert line.external_ids == ("n1", "n1-down", "dt-1", "dt-2")

    def test_records_and_exchange_rates_are_there_once(self) -> None:
        bill = hour(1, fx=FX)
        known = way((drafted(1, "200.00", "2"),), {1: (bill, bill)})
        evidence = evidence_of(known, AT, (), {})
        assert evidence.approved_records == (bill.entry,)
        assert evidence.fx == (FX,)
        assert len(evidence.rates) == 1

    def test_a_milestone_is_there_with_its_record(self) -> None:
        known = way((drafted(1, "5000.00"),), {1: (milestone("5000.00"),)})
        (found,) = evidence_of(known, AT, (), {}).milestones
        assert (found.line, found.item, found.acceptance) == ("1", "kantata/7702", "protocol.pdf")
        assert found.record == '{"state": "completed"}'

    def test_what_is_not_known_of_a_draft_is_said(self) -> None:
        known = way((drafted(1, "100.00"),), {1: (hour(1),)})
        missing = pack_evidence(evidence_of(known, AT, (), {}), b"%PDF").missing
        assert missing == (
            "nobody has released it",
            "it has not been read back from the ERP",
            "tax is an estimate",
        )
