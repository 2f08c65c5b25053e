"""The firm's deals of the scenario "standard", as a table, and the pattern of the bulk ones."""

from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from stdnum.iso7064 import mod_11_10

LONG_NAME = ("A very long name " * 600)[:9_999] + "!"
"""10,000 characters: far over the limit, as an import that bypassed it may leave."""

_DESIGN_BUILD_LIVE = ("Design approved", "Build accepted", "Go-live")
_THREE_DATES = ("2027-01-31", "2027-03-31", "2027-05-31")
_TWO_DATES = ("2027-02-28", "2027-05-31")


@dataclass(frozen=True, slots=True)
class SeedClient:
    """An account: an empty tax id is none."""

    name: str
    tax_id: str
    street: str
    city: str
    postal_code: str
    country: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class SeedLine:
    """A contract line; milestones make a revenue schedule. An empty entity is the deal's."""

    product: str
    type: str
    amount: int
    quantity: int = 1
    entity: str = ""
    cap: int | None = None
    milestones: tuple[int, ...] = ()
    tax: str = "services-standard"


@dataclass(frozen=True, slots=True)
class SeedDeal:
    """An opportunity; an empty text or date is none. `client` None: that of the first deal."""

    number: int
    slug: str
    name: str
    client: SeedClient | None
    lines: tuple[SeedLine, ...]
    entity: str = "US"
    currency: str = "USD"
    template: str = "implementation"
    terms: str = "NET30"
    kind: str = "New"
    stage: str = "Closed Won"
    signed: str = "2026-10-15"
    waiver: str = ""
    start: str = "2026-12-01"
    end: str = "2027-05-31"
    manager: str = "maya.chen@example.com"
    contract_amount: int | None = None

    @property
    def amount(self) -> Decimal:
        """The sum of the lines."""
        return Decimal(sum(line.amount for line in self.lines))


def milestone_rows(amounts: tuple[int, ...]) -> list[tuple[str, str, int]]:
    """Return description, date and amount of each instalment of a line: none, two or three."""
    if not amounts:
        return []
    if len(amounts) == len(_THREE_DATES):
        return list(zip(_DESIGN_BUILD_LIVE, _THREE_DATES, amounts, strict=True))
    return list(zip(_DESIGN_BUILD_LIVE[1:], _TWO_DATES, amounts, strict=True))


def _time(amount: int, entity: str = "", cap: int | None = None) -> SeedLine:
    return SeedLine("CONS-TM", "Time and Materials", amount, entity=entity, cap=cap)


def _fixed(*milestones: int, entity: str = "") -> SeedLine:
    total = sum(milestones)
    return SeedLine("IMPL-FF", "Fixed Fee", total, entity=entity, milestones=milestones)


def _us(name: str, tax_id: str, city: str = "New York", state: str = "New York") -> SeedClient:
    return SeedClient(name, tax_id, "200 Hudson Street", city, "10013", "US", state)


_NORTHWIND = SeedDeal(
    1,
    "tm-us",
    "Northwind Robotics – ERP rollout",
    _us("Northwind Robotics", "12-3456789"),
    (_time(180_000),),
)
_HANSEWERK = SeedDeal(
    2,
    "fixed-de",
    "Hansewerk Logistik – Warehouse automation",
    SeedClient("Hansewerk Logistik", "DE129273398", "Am Sandtorkai 12", "Hamburg", "20457", "DE"),
    (_fixed(75_000, 100_000, 75_000),),
    entity="DE",
    currency="EUR",
    manager="luca.rossi@example.com",
)
_SAKURA_LINES = (
    _time(12_000_000, cap=12_000_000),
    _fixed(4_000_000, 4_000_000),
    SeedLine("MSP-MON", "Managed Services", 6_000_000, quantity=6),
)


def _plain(number: int, slug: str, name: str, tax_id: str, amount: int) -> SeedDeal:
    client = _us(name.partition(" – ")[0], tax_id)
    return SeedDeal(number, slug, name, client, (_time(amount),))


STANDARD_DEALS: tuple[SeedDeal, ...] = (
    _NORTHWIND,
    _HANSEWERK,
    SeedDeal(
        3,
        "retainer-gb",
        "Albion Foods – Advisory retainer",
        SeedClient("Albion Foods", "GB980780684", "40 Gracechurch Street", "London", "EC3V", "GB"),
        (SeedLine("ADV-RET", "Retainer", 60_000),),
        entity="DE",
        currency="GBP",
        template="advisory",
        manager="luca.rossi@example.com",
    ),
    SeedDeal(
        4,
        "mixed-jp",
        "Sakura Denki – Factory data platform",
        SeedClient("Sakura Denki", "T7000012050002", "1-9-1 Marunouchi", "Tokyo", "100-0005", "JP"),
        _SAKURA_LINES,
        entity="JP",
        currency="JPY",
    ),
    SeedDeal(
        5,
        "two-entity",
        "Vector Aerospace – Global PMO",
        _us("Vector Aerospace", "45-1029384", "Seattle", "Washington"),
        (_time(300_000, entity="US"), _fixed(75_000, 75_000, entity="DE")),
    ),
    _plain(6, "duplicate-client", "Contoso Marine – Fleet portal", "98-7654321", 90_000),
    _plain(7, "ambiguous-client", "Meridian Group – Data office", "", 75_000),
    SeedDeal(
        8,
        "other-subsidiary",
        "Alpen Pharma – Validation support",
        SeedClient("Alpen Pharma", "CHE123456788MWST", "Aeschenplatz 6", "Basel", "4052", "CH"),
        (_time(110_000),),
    ),
    SeedDeal(
        9,
        "terms-differ",
        "Baltic Timber – Sales analytics",
        SeedClient("Baltic Timber", "EE100931558", "Narva mnt 5", "Tallinn", "10117", "EE"),
        (_time(80_000),),
        entity="DE",
        currency="EUR",
        terms="NET60",
        manager="luca.rossi@example.com",
    ),
    replace(
        _plain(10, "missing-mapping", "Quantia Labs – Quantum readiness", "20-1000010", 95_000),
        template="quantum",
    ),
    replace(
        _plain(11, "unsigned", "Juniper Health – ERP rollout", "20-1000011", 180_000), signed=""
    ),
    replace(
        _plain(12, "change-order", "Fjord Shipping – More ports", "20-1000012", 60_000),
        kind="Change Order",
    ),
    replace(
        _plain(13, "incomplete", "Halcyon Media – Newsroom tools", "20-1000013", 70_000),
        start="",
        entity="",
    ),
    replace(
        _plain(14, "bad-currency", "Ostara Energy – Grid insight", "20-1000014", 85_000),
        currency="EUX",
    ),
    _plain(15, "negative-amount", "Pelican Retail – Store audit", "20-1000015", -5_000),
    replace(
        _plain(16, "long-name", "Longfellow – Archive", "20-1000016", 50_000),
        name=LONG_NAME,
        client=_us(LONG_NAME, "20-1000016"),
    ),
    replace(
        _plain(17, "emoji-rtl", "🚀 Café Ωmega – مشروع التحول 🌍", "20-1000017", 120_000),
        client=_us("שלום 🚀 Café Ωmega", "20-1000017"),
    ),
    replace(
        _plain(18, "no-end", "Rowan Insurance – Claims portal", "20-1000018", 140_000),
        lines=(_fixed(70_000, 70_000),),
        end="",
    ),
    replace(
        _plain(19, "not-won", "Tamarind Hotels – Booking engine", "20-1000019", 65_000),
        stage="Negotiation/Review",
    ),
    replace(
        _plain(20, "waiver", "Umbra Optics – Lens planning", "20-1000020", 130_000),
        signed="",
        waiver="2027-01-31",
    ),
    replace(
        _plain(21, "amount-mismatch", "Verdant Farms – Crop ledger", "20-1000021", 90_000),
        contract_amount=100_000,
    ),
    replace(
        _plain(22, "second-deal", "Northwind Robotics – Service desk", "", 40_000), client=None
    ),
    _plain(23, "high-value", "Willow Bank – Core migration", "20-1000023", 2_500_000),
)

_FIRST = ("Amber", "Birch", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo")
_SECOND = ("Analytics", "Foods", "Freight", "Holdings", "Labs", "Motors", "Systems", "Textiles")


def bulk_deals(count: int, seed: int) -> list[SeedDeal]:
    """Return plain deals: after deal 1, every third after deal 2, each with its own client."""
    random = Random(seed)
    deals = []
    for number in range(1, count + 1):
        pattern = _HANSEWERK if number % 3 == 0 else _NORTHWIND
        base = pattern.client or _us("", "")
        name = f"{random.choice(_FIRST)} {random.choice(_SECOND)} {number:04d}"
        german = f"1{number:07d}"
        german += mod_11_10.calc_check_digit(german)
        tax_id = f"DE{german}" if pattern is _HANSEWERK else f"30-{number:07d}"
        deals.append(
            replace(
                pattern,
                number=number,
                slug=f"bulk-{number:04d}",
                name=f"{name} – Rollout",
                client=replace(base, name=name, tax_id=tax_id),
            )
        )
    return deals
