"""What every adapter in the role of the CRM does, on its vendor's simulator."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest
import pytest_asyncio

from adapters.errors import AdapterError, Invalid, NotFound, OutcomeUnknown, Transient
from adapters.ports import Crm
from canonical.deal import Address, DealLinks
from canonical.records import RecordRef
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    WITH_EFFECT,
    WRITE_FAULTS,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract


@dataclass(frozen=True)
class CrmFacts:
    """What the suite must know of a vendor to look behind its API."""

    deal_type: str
    slug_field: str
    links: Mapping[str, str]
    """Name in `DealLinks` -> the vendor's field."""
    absent_id: str
    """A well-formed id that no deal has."""
    bad_ids: tuple[str, ...]
    sign_ins: tuple[str, ...]
    write_faults: Mapping[FaultKind, type[AdapterError]] = field(default_factory=dict)
    """Where the vendor says more than a status does."""


CRMS: dict[str, CrmFacts] = {
    "salesforce": CrmFacts(
        deal_type="Opportunity",
        slug_field="Seed_Slug__c",
        links={
            "erp_client_id": "ERP_Customer_Id__c",
            "erp_project_id": "ERP_Project_Id__c",
            "psa_project_id": "PSA_Project_Id__c",
            "integration_status": "Integration_Status__c",
        },
        absent_id="006DT0000009999",
        bad_ids=("", "006", "006DT0000000001' OR Name != '", "../Account/001DT0000000001"),
        sign_ins=("client_credentials", "jwt_bearer"),
        # SERVER_UNAVAILABLE is documented as "server too busy": nothing took effect.
        write_faults={FaultKind.FAIL_BEFORE: Transient},
    ),
}
SLUGS = (
    *("tm-us", "fixed-de", "retainer-gb", "mixed-jp", "two-entity", "duplicate-client"),
    *("ambiguous-client", "other-subsidiary", "terms-differ", "missing-mapping", "unsigned"),
    *("change-order", "incomplete", "bad-currency", "negative-amount", "long-name", "emoji-rtl"),
    *("no-end", "not-won", "waiver", "amount-mismatch", "second-deal", "high-value"),
)
LINKS = DealLinks(erp_client_id="1001", integration_status="Provisioned")


@pytest_asyncio.fixture(loop_scope="session", params=CRMS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Crm]]:
    async with open_scene(control, request.param) as opened:
        yield opened


def facts(scene: Scene[Crm]) -> CrmFacts:
    return CRMS[scene.vendor]


async def deal_id(scene: Scene[Crm], slug: str) -> str:
    known = facts(scene)
    for record in await scene.records(known.deal_type):
        if record["fields"].get(known.slug_field) == slug:
            return record["id"]
    raise LookupError(slug)


async def stored(scene: Scene[Crm], id_: str) -> DealLinks:
    """Return the links as they stand in the vendor's records."""
    known = facts(scene)
    fields = (await scene.record(known.deal_type, id_))["fields"]
    return DealLinks(
        **{name: str(fields.get(column) or "") for name, column in known.links.items()}
    )


class TestReadDeal:
    async def test_all_terms_of_a_fixed_fee_deal_are_read_exactly(self, scene: Scene[Crm]) -> None:
        id_ = await deal_id(scene, "fixed-de")

        deal = await scene.adapter.read_deal(id_)

        assert (deal.crm, deal.id) == (scene.connection, id_)
        assert deal.name == "Hansewerk Logistik – Warehouse automation"
        assert (deal.kind, deal.stage, deal.won) == ("new", "Closed Won", True)
        assert (deal.currency, deal.legal_entity, deal.template) == ("EUR", "DE", "implementation")
        assert deal.amount == deal.contract_amount == Decimal(250_000)
        assert (deal.signed_on, deal.signature_waiver_until) == (date(2026, 10, 15), None)
        assert (deal.start, deal.end) == (date(2026, 12, 1), date(2027, 5, 31))
        assert (deal.payment_terms, deal.project_manager_email) == (
            "NET30",
            "luca.rossi@example.com",
        )
        assert deal.version
        assert deal.client is not None
        assert (deal.client.name, deal.client.tax_id) == ("Hansewerk Logistik", "DE129273398")
        assert deal.client.billing_email
        assert deal.client.address == Address(
            street="Am Sandtorkai 12", city="Hamburg", postal_code="20457", country="DE"
        )
        (line,) = deal.lines
        assert (line.type, line.offering, line.amount) == ("fixed_fee", "IMPL-FF", Decimal(250_000))
        assert line.tax_category == "services-standard"
        assert [(each.title, each.amount, each.due) for each in line.milestones] == [
            ("Design approved", Decimal(75_000), date(2027, 1, 31)),
            ("Build accepted", Decimal(100_000), date(2027, 3, 31)),
            ("Go-live", Decimal(75_000), date(2027, 5, 31)),
        ]

    async def test_lines_of_several_types_keep_their_own_milestones_and_cap(
        self, scene: Scene[Crm]
    ) -> None:
        deal = await scene.adapter.read_deal(await deal_id(scene, "mixed-jp"))

        read = [
            (line.type, line.amount, line.cap, line.quantity, len(line.milestones))
            for line in deal.lines
        ]
        assert read == [
            ("time_and_materials", Decimal(12_000_000), Decimal(12_000_000), Decimal(1), 0),
            ("fixed_fee", Decimal(8_000_000), None, Decimal(1), 2),
            ("managed_services", Decimal(6_000_000), None, Decimal(6), 0),
        ]

    async def test_each_line_names_its_own_legal_entity(self, scene: Scene[Crm]) -> None:
        deal = await scene.adapter.read_deal(await deal_id(scene, "two-entity"))

        assert [line.legal_entity for line in deal.lines] == ["US", "DE"]

    @pytest.mark.parametrize("slug", SLUGS)
    async def test_every_deal_is_read_unjudged(self, scene: Scene[Crm], slug: str) -> None:
        deal = await scene.adapter.read_deal(await deal_id(scene, slug))

        assert deal.name
        assert deal.client is not None
        assert deal.lines

    async def test_what_is_wrong_with_a_deal_is_read_as_it_stands(self, scene: Scene[Crm]) -> None:
        async def read(slug: str) -> object:
            deal = await scene.adapter.read_deal(await deal_id(scene, slug))
            return {
                "unsigned": deal.signed_on,
                "change-order": deal.kind,
                "incomplete": (deal.start, deal.legal_entity),
                "bad-currency": deal.currency,
                "negative-amount": deal.lines[0].amount,
                "no-end": deal.end,
                "not-won": deal.won,
                "waiver": deal.signature_waiver_until,
                "amount-mismatch": (deal.contract_amount, deal.amount),
            }[slug]

        assert await read("unsigned") is None
        assert await read("change-order") == "change_order"
        assert await read("incomplete") == (None, "")
        assert await read("bad-currency") == "EUX"
        assert await read("negative-amount") == Decimal(-5_000)
        assert await read("no-end") is None
        assert await read("not-won") is False
        assert await read("waiver") == date(2027, 1, 31)
        assert await read("amount-mismatch") == (Decimal(100_000), Decimal(90_000))

    async def test_hostile_names_arrive_whole(self, scene: Scene[Crm]) -> None:
        long = await scene.adapter.read_deal(await deal_id(scene, "long-name"))
        mixed = await scene.adapter.read_deal(await deal_id(scene, "emoji-rtl"))

        assert len(long.name) == 10_000
        assert long.client is not None
        assert len(long.client.name) == 10_000
        assert mixed.client is not None
        assert mixed.client.name == "שלום 🚀 Café Ωmega"
        assert "🌍" in mixed.name

    async def test_a_deal_without_milestones_is_one_call_and_else_two(
        self, scene: Scene[Crm]
    ) -> None:
        plain, milestones = await deal_id(scene, "tm-us"), await deal_id(scene, "fixed-de")
        await scene.adapter.read_deal(plain)  # signs in
        await scene.calls()

        await scene.adapter.read_deal(plain)
        assert len(await scene.calls()) == 1
        await scene.adapter.read_deal(milestones)
        assert len(await scene.calls()) == 2

    async def test_two_deals_of_one_client_name_the_same_client(self, scene: Scene[Crm]) -> None:
        first = await scene.adapter.read_deal(await deal_id(scene, "tm-us"))
        second = await scene.adapter.read_deal(await deal_id(scene, "second-deal"))

        assert first.client is not None
        assert second.client is not None
        assert first.client.id == second.client.id

    async def test_a_missing_or_deleted_deal_is_not_found(self, scene: Scene[Crm]) -> None:
        known, id_ = facts(scene), await deal_id(scene, "tm-us")
        await scene.control.delete_record(scene.vendor, scene.name, known.deal_type, id_)

        for absent in (known.absent_id, id_):
            with pytest.raises(NotFound, match=absent[:15]):
                await scene.adapter.read_deal(absent)

    async def test_what_is_no_id_is_refused_before_any_call(self, scene: Scene[Crm]) -> None:
        for bad in facts(scene).bad_ids:
            with pytest.raises(Invalid):
                await scene.adapter.read_deal(bad)
            with pytest.raises(Invalid):
                await scene.adapter.read_links(bad)
            with pytest.raises(Invalid):
                await scene.adapter.write_links(bad, LINKS)
        assert await scene.calls() == []


class TestLinks:
    async def test_what_is_written_is_read_and_what_is_none_stays(self, scene: Scene[Crm]) -> None:
        id_ = await deal_id(scene, "tm-us")
        crm = scene.adapter
        assert await crm.read_links(id_) == DealLinks(
            erp_client_id="", erp_project_id="", psa_project_id="", integration_status=""
        )

        record = await crm.write_links(id_, LINKS)
        await crm.write_links(id_, DealLinks(psa_project_id="77"))

        assert record == RecordRef(system=scene.connection, type="deal", id=id_)
        wanted = DealLinks(
            erp_client_id="1001",
            erp_project_id="",
            psa_project_id="77",
            integration_status="Provisioned",
        )
        assert await crm.read_links(id_) == wanted == await stored(scene, id_)

    async def test_writing_twice_is_writing_once_and_an_empty_text_clears(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal_id(scene, "tm-us")
        before = await scene.state()
        await scene.adapter.write_links(id_, LINKS)
        once = await stored(scene, id_)
        await scene.adapter.write_links(id_, LINKS)
        assert await stored(scene, id_) == once

        await scene.adapter.write_links(id_, DealLinks(erp_client_id="", integration_status=""))

        left = await stored(scene, id_)
        assert (left.erp_client_id, left.integration_status) == ("", "")
        assert len(await scene.state()) == len(before)

    async def test_each_act_is_one_call(self, scene: Scene[Crm]) -> None:
        id_ = await deal_id(scene, "tm-us")
        await scene.adapter.read_links(id_)  # signs in
        await scene.calls()

        await scene.adapter.read_links(id_)
        await scene.adapter.write_links(id_, LINKS)

        assert [method for method, _ in await scene.calls()] == ["GET", "PATCH"]

    @pytest.mark.parametrize("text", ['O\'Brien "& Söhne" \\', "🚀 שלום", "<b>x</b>;DROP TABLE"])
    async def test_hostile_texts_come_back_unchanged(self, scene: Scene[Crm], text: str) -> None:
        id_ = await deal_id(scene, "emoji-rtl")

        await scene.adapter.write_links(id_, DealLinks(integration_status=text))

        assert (await scene.adapter.read_links(id_)).integration_status == text

    async def test_a_text_that_is_too_long_is_refused_before_any_call(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal_id(scene, "tm-us")

        with pytest.raises(Invalid, match="255") as caught:
            await scene.adapter.write_links(id_, DealLinks(integration_status="x" * 10_000))

        assert caught.value.field == facts(scene).links["integration_status"]
        assert await scene.calls() == []

    async def test_links_of_a_missing_deal_are_not_found(self, scene: Scene[Crm]) -> None:
        absent = facts(scene).absent_id

        with pytest.raises(NotFound):
            await scene.adapter.read_links(absent)
        with pytest.raises(NotFound):
            await scene.adapter.write_links(absent, LINKS)


class TestFaults:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    async def test_a_failed_write_says_what_it_left(
        self, scene: Scene[Crm], kind: FaultKind
    ) -> None:
        id_ = await deal_id(scene, "tm-us")
        await scene.adapter.read_links(id_)  # signs in
        fault = await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await scene.adapter.write_links(id_, LINKS)

        expected = {**WRITE_FAULTS, **facts(scene).write_faults}[kind]
        assert isinstance(caught.value, expected)
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        written = await scene.adapter.read_links(id_)
        assert (written.erp_client_id == "1001") is (kind in WITH_EFFECT)
        await scene.adapter.write_links(id_, LINKS)
        assert (await stored(scene, id_)).erp_client_id == "1001"

    @pytest.mark.parametrize("kind", READ_FAULTS)
    @pytest.mark.parametrize("act", ["read_deal", "read_links"])
    async def test_a_failed_read_is_tried_again_or_parks(
        self, scene: Scene[Crm], kind: FaultKind, act: str
    ) -> None:
        id_ = await deal_id(scene, "tm-us")
        read = getattr(scene.adapter, act)
        whole = await read(id_)
        await scene.fault(kind)

        with pytest.raises(READ_FAULTS[kind]):
            await read(id_)
        assert await read(id_) == whole

    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal_id(scene, "tm-us")
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await impatient.read_links(id_)
        await scene.fault(FaultKind.SLOW, write=True, seconds=SLOW_SECONDS)

        with pytest.raises(OutcomeUnknown):
            await impatient.write_links(id_, LINKS)

        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)
        with pytest.raises(Transient):
            await impatient.read_links(id_)

    @pytest.mark.parametrize("act", ["read", "write"])
    async def test_an_expired_session_is_renewed_once(self, scene: Scene[Crm], act: str) -> None:
        id_ = await deal_id(scene, "tm-us")
        await scene.adapter.read_links(id_)
        await scene.calls()
        await scene.fault(FaultKind.EXPIRE_AUTH)

        if act == "read":
            assert (await scene.adapter.read_links(id_)).erp_client_id == ""
        else:
            await scene.adapter.write_links(id_, LINKS)
            assert (await stored(scene, id_)).erp_client_id == "1001"

        assert len(await scene.calls()) == 3  # refused, signed in, repeated

    async def test_every_way_to_sign_in_works(self, scene: Scene[Crm]) -> None:
        id_ = await deal_id(scene, "tm-us")

        for kind in facts(scene).sign_ins:
            adapter = await scene.another(kind=kind)
            assert (await adapter.read_deal(id_)).id == id_
