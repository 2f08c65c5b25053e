"""The firm's seeded deals as canonical deals, by slug: what reading them from the CRM returns."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Final

from canonical.deal import Address, Deal, DealClient, DealLine, DealMilestone

CRM: Final = "salesforce"
TODAY: Final = date(2026, 11, 21)
START: Final = date(2026, 12, 1)
END: Final = date(2027, 5, 31)
LONG_NAME: Final = ("A very long name " * 600)[:9_999] + "!"

_CHECKSUM: Final = "YAA"
"""Of ids whose only capitals are `DT` in fourth and fifth place, as all seeded ones are."""


def record_id(prefix: str, number: int) -> str:
    """Return the id of a seeded record: `006` opportunity, `001` account, `00k` line."""
    return f"{prefix}DT{number:010d}{_CHECKSUM}"


def us_client(number: int, name: str, tax_id: str) -> DealClient:
    """Return an American account."""
    return DealClient(
        id=record_id("001", number),
        name=name,
        tax_id=tax_id,
        billing_email=f"billing-{number}@example.com",
        address=Address(
            street="200 Hudson Street",
            city="New York",
            postal_code="10013",
            region="NY",
            country="US",
        ),
    )


def client(number: int, name: str, tax_id: str, city: str, country: str) -> DealClient:
    """Return an account elsewhere."""
    return DealClient(
        id=record_id("001", number),
        name=name,
        tax_id=tax_id,
        billing_email=f"billing-{number}@example.com",
        address=Address(street="1 Main Street", city=city, postal_code="10117", country=country),
    )


def line(
    number: int,
    type_: str,
    amount: int,
    *,
    entity: str = "US",
    offering: str = "CONS-TM",
    cap: int | None = None,
    milestones: tuple[int, ...] = (),
) -> DealLine:
    """Return a contract line; each amount in `milestones` makes an instalment."""
    return DealLine(
        id=record_id("00k", number),
        title=offering,
        offering=offering,
        type=type_,
        legal_entity=entity,
        tax_category="services-standard",
        quantity=Decimal(1),
        unit_price=Decimal(amount),
        amount=Decimal(amount),
        cap=None if cap is None else Decimal(cap),
        milestones=tuple(
            DealMilestone(
                id=record_id("00o", number * 10 + place),
                title=f"Instalment {place}",
                due=date(2027, place, 28),
                amount=Decimal(each),
            )
            for place, each in enumerate(milestones, 1)
        ),
    )


def deal(number: int, name: str, buyer: DealClient, *lines: DealLine, **changes: object) -> Deal:
    """Return a deal that is ready, with `changes` to its fields."""
    total = sum((each.amount or Decimal(0) for each in lines), Decimal(0))
    ready = Deal(
        crm=CRM,
        id=record_id("006", number),
        version="2026-10-20T09:00:00.000+0000",
        name=name,
        kind="new",
        stage="Closed Won",
        won=True,
        signed_on=date(2026, 10, 15),
        currency="USD",
        amount=total,
        contract_amount=total,
        start=START,
        end=END,
        payment_terms="NET30",
        client_po=f"PO-2026-{number:04d}",
        legal_entity="US",
        template="implementation",
        project_manager_email="maya.chen@example.com",
        client=buyer,
        lines=lines,
    )
    return ready.model_copy(update=changes)


def plain(number: int, name: str, tax_id: str, amount: int, **changes: object) -> Deal:
    """Return an American deal with one line of time and materials."""
    buyer = us_client(number, name.partition(" – ")[0], tax_id)
    return deal(number, name, buyer, line(number * 10 + 1, "time_and_materials", amount), **changes)


def tm_us() -> Deal:
    """The plainest deal: time and materials in dollars."""
    return plain(1, "Northwind Robotics – ERP rollout", "12-3456789", 180_000)


def fixed_de() -> Deal:
    """A fixed fee in euro with three milestones."""
    return deal(
        2,
        "Hansewerk Logistik – Warehouse automation",
        client(2, "Hansewerk Logistik", "DE129273398", "Hamburg", "DE"),
        line(
            21,
            "fixed_fee",
            250_000,
            entity="DE",
            offering="IMPL-FF",
            milestones=(75_000, 100_000, 75_000),
        ),
        currency="EUR",
        legal_entity="DE",
        project_manager_email="luca.rossi@example.com",
    )


def retainer_gb() -> Deal:
    """A retainer in pounds, sold by the German entity."""
    return deal(
        3,
        "Albion Foods – Advisory retainer",
        client(3, "Albion Foods", "GB980780684", "London", "GB"),
        line(31, "retainer", 60_000, entity="DE", offering="ADV-RET"),
        currency="GBP",
        legal_entity="DE",
        template="advisory",
    )


def mixed_jp() -> Deal:
    """Three types of line in one Japanese deal."""
    return deal(
        4,
        "Sakura Denki – Factory data platform",
        client(4, "Sakura Denki", "T7000012050002", "Tokyo", "JP"),
        line(41, "time_and_materials", 12_000_000, entity="JP", cap=12_000_000),
        line(
            42,
            "fixed_fee",
            8_000_000,
            entity="JP",
            offering="IMPL-FF",
            milestones=(4_000_000, 4_000_000),
        ),
        line(43, "managed_services", 6_000_000, entity="JP", offering="MSP-MON"),
        currency="JPY",
        legal_entity="JP",
    )


def two_entity() -> Deal:
    """One deal, delivered by two legal entities."""
    return deal(
        5,
        "Vector Aerospace – Global PMO",
        us_client(5, "Vector Aerospace", "45-1029384"),
        line(51, "time_and_materials", 300_000),
        line(
            52,
            "fixed_fee",
            150_000,
            entity="DE",
            offering="IMPL-FF",
            milestones=(75_000, 75_000),
        ),
    )


def other_subsidiary() -> Deal:
    """The ERP knows the client, in another subsidiary and currency."""
    buyer = client(8, "Alpen Pharma", "CHE123456788MWST", "Basel", "CH")
    return deal(
        8, "Alpen Pharma – Validation support", buyer, line(81, "time_and_materials", 110_000)
    )


def terms_differ() -> Deal:
    """NET60, where entity and ERP say NET30."""
    return deal(
        9,
        "Baltic Timber – Sales analytics",
        client(9, "Baltic Timber", "EE100931558", "Tallinn", "EE"),
        line(91, "time_and_materials", 80_000, entity="DE"),
        currency="EUR",
        legal_entity="DE",
        payment_terms="NET60",
    )


def incomplete() -> Deal:
    """Neither start nor legal entity."""
    return deal(
        13,
        "Halcyon Media – Newsroom tools",
        us_client(13, "Halcyon Media", "20-1000013"),
        line(131, "time_and_materials", 70_000, entity=""),
        start=None,
        legal_entity="",
    )


def no_end() -> Deal:
    """A fixed fee without the contract's end."""
    return deal(
        18,
        "Rowan Insurance – Claims portal",
        us_client(18, "Rowan Insurance", "20-1000018"),
        line(181, "fixed_fee", 140_000, offering="IMPL-FF", milestones=(70_000, 70_000)),
        end=None,
    )


def second_deal() -> Deal:
    """Another deal of the first one's client."""
    return plain(22, "Northwind Robotics – Service desk", "", 40_000, client=tm_us().client)


SEEDED: Final[dict[str, Callable[[], Deal]]] = {
    "tm-us": tm_us,
    "fixed-de": fixed_de,
    "retainer-gb": retainer_gb,
    "mixed-jp": mixed_jp,
    "two-entity": two_entity,
    "duplicate-client": lambda: plain(6, "Contoso Marine – Fleet portal", "98-7654321", 90_000),
    "ambiguous-client": lambda: plain(7, "Meridian Group – Data office", "", 75_000),
    "other-subsidiary": other_subsidiary,
    "terms-differ": terms_differ,
    "missing-mapping": lambda: plain(
        10, "Quantia Labs – Quantum readiness", "20-1000010", 95_000, template="quantum"
    ),
    "unsigned": lambda: plain(
        11, "Juniper Health – ERP rollout", "20-1000011", 180_000, signed_on=None
    ),
    "change-order": lambda: plain(
        12, "Fjord Shipping – More ports", "20-1000012", 60_000, kind="change_order"
    ),
    "incomplete": incomplete,
    "bad-currency": lambda: plain(
        14, "Ostara Energy – Grid insight", "20-1000014", 85_000, currency="EUX"
    ),
    "negative-amount": lambda: plain(15, "Pelican Retail – Store audit", "20-1000015", -5_000),
    "long-name": lambda: plain(16, LONG_NAME, "20-1000016", 50_000),
    "emoji-rtl": lambda: plain(
        17,
        "🚀 Café Ωmega – مشروع التحول 🌍",
        "20-1000017",
        120_000,
        client=us_client(17, "שלום 🚀 Café Ωmega", "20-1000017"),
    ),
    "no-end": no_end,
    "not-won": lambda: plain(
        19,
        "Tamarind Hotels – Booking engine",
        "20-1000019",
        65_000,
        stage="Negotiation/Review",
        won=False,
    ),
    "waiver": lambda: plain(
        20,
        "Umbra Optics – Lens planning",
        "20-1000020",
        130_000,
        signed_on=None,
        signature_waiver_until=date(2027, 1, 31),
    ),
    "amount-mismatch": lambda: plain(
        21,
        "Verdant Farms – Crop ledger",
        "20-1000021",
        90_000,
        contract_amount=Decimal(100_000),
    ),
    "second-deal": second_deal,
    "high-value": lambda: plain(23, "Willow Bank – Core migration", "20-1000023", 2_500_000),
}
"""Every deal of the scenario "standard"."""


def seeded(slug: str) -> Deal:
    """Return the deal of a slug."""
    return SEEDED[slug]()
