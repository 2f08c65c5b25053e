"""What every adapter in the role of the ERP does, on its vendor's simulator."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest
import pytest_asyncio

from adapters.errors import (
    AdapterError,
    Invalid,
    MissingMapping,
    OutcomeUnknown,
    Rejected,
    Transient,
    UndoRefused,
)
from adapters.ports import Erp
from canonical.deal import Address
from canonical.ids import ExternalId, external_id
from canonical.money import Money
from canonical.provisioning import (
    BillingType,
    Dimensions,
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import RecordRef, UndoResult, WriteOutcome
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    WITH_EFFECT,
    WRITE_FAULTS,
    Act,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract


@dataclass(frozen=True)
class ErpFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    client: str
    """Record type of customers; likewise the others."""
    client_entity: str
    project: str
    booking: str
    name_field: str
    name_length_max: int
    label_of: Mapping[str, str]
    """Canonical name of a value -> the field of the project that has it."""
    absent_id: str
    bad_ids: tuple[str, ...]
    sign_ins: tuple[str, ...]
    write_faults: Mapping[FaultKind, type[AdapterError]] = field(default_factory=dict)


ERPS: dict[str, ErpFacts] = {
    "netsuite": ErpFacts(
        client="customer",
        client_entity="customerSubsidiaryRelationship",
        project="job",
        booking="timeBill",
        name_field="companyName",
        name_length_max=83,
        label_of={"department": "department", "business_class": "class", "location": "location"},
        absent_id="999999",
        bad_ids=("", "eid:x", "1 OR 1=1", "../job/1", "12a"),
        sign_ins=("token_based", "client_credentials"),
    ),
}

CLIENT_KEY = external_id("client/crm/001")
ENTITY_KEY = external_id("client/crm/001:entity:3")
PROJECT_KEY = external_id("opportunity-to-project/crm/006/1:provision_erp_project:US")
ADDRESS = Address(
    street="200 Hudson Street\nFloor 7\nEast wing\nDoor 3",
    city="New York",
    postal_code="10013",
    region="NY",
    country="US",
)
CLIENT = ProvisionClient(
    connection="erp",
    client_key="client/crm/001",
    name="Northwind Robotics",
    tax_id="12-3456789",
    billing_email="billing@northwind.example",
    address=ADDRESS,
    subsidiary="2",
    currency="USD",
    payment_terms="NET30",
)
PROJECT = ProvisionErpProject(
    connection="erp",
    item="US",
    name="Northwind Robotics – ERP rollout",
    code="P-006DT0000000001-US",
    subsidiary="2",
    price=Money(amount=Decimal("180000.50"), currency="USD"),
    billing_type=BillingType.TIME_AND_MATERIALS,
    dimensions=Dimensions(department="10", business_class="20", location="30"),
    start=date(2026, 12, 1),
    end=date(2027, 5, 31),
)
HOSTILE = (
    'O\'Brien "& Söhne" \\ %_',
    "שלום 🚀 Café Ωmega",
    "x" * 10_000,
    "'; DELETE FROM customer",
)


@pytest_asyncio.fixture(loop_scope="session", params=ERPS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Erp]]:
    async with open_scene(control, request.param) as opened:
        yield opened


def facts(scene: Scene[Erp]) -> ErpFacts:
    return ERPS[scene.vendor]


def match(**changes: object) -> MatchClient:
    request = MatchClient(
        connection="erp",
        client_key="client/crm/001",
        name="Northwind Robotics",
        subsidiary="2",
        currency="USD",
    )
    return request.model_copy(update=changes)


def reference(scene: Scene[Erp], kind: str, id_: str) -> RecordRef:
    return RecordRef(system=scene.connection, type=kind, id=id_)


async def client(scene: Scene[Erp]) -> RecordRef:
    """Return our customer; the same one when asked again."""
    found = await scene.adapter.find_client(CLIENT_KEY)
    return found or await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def project(scene: Scene[Erp]) -> RecordRef:
    """Return our project; the same one when asked again."""
    found = await scene.adapter.find_project(PROJECT_KEY)
    if found is not None:
        return found
    request = PROJECT.model_copy(update={"client": await client(scene)})
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def use_client(scene: Scene[Erp], record: RecordRef, **fields: object) -> str:
    """Let a project that is not ours hang on a customer."""
    known = facts(scene)
    made: dict[str, object] = {known.name_field: "Their own", "parent": record.id, **fields}
    return await scene.put(known.project, made)  # type: ignore[arg-type]


async def book_on(scene: Scene[Erp], record: RecordRef) -> str:
    """Let a person log time on a project."""
    booking = {"employee": "55", "customer": record.id, "hours": "2:00", "tranDate": "2026-11-20"}
    return await scene.put(facts(scene).booking, dict(booking))


async def candidates(scene: Scene[Erp], **changes: object) -> list[ErpClient]:
    return list(await scene.adapter.search_clients(match(**changes), CLIENT_KEY))


# Acts: every write of the port, as the fault tests need them.


async def nothing(scene: Scene[Erp]) -> None:
    del scene


async def with_client(scene: Scene[Erp]) -> None:
    await client(scene)


async def with_entity(scene: Scene[Erp]) -> None:
    await scene.adapter.add_client_entity(ENTITY_KEY, await client(scene), "3")


async def with_currency(scene: Scene[Erp]) -> None:
    await scene.adapter.add_client_currency(await client(scene), "EUR")


async def with_project(scene: Scene[Erp]) -> None:
    await project(scene)


async def has_client(scene: Scene[Erp]) -> bool:
    return await scene.adapter.find_client(CLIENT_KEY) is not None


async def has_entity(scene: Scene[Erp]) -> bool:
    found = await scene.adapter.find_client_entity(ENTITY_KEY, await client(scene), "3")
    return found is not None


async def has_currency(scene: Scene[Erp]) -> bool:
    return await scene.adapter.has_client_currency(await client(scene), "EUR")


async def has_project(scene: Scene[Erp]) -> bool:
    return await scene.adapter.find_project(PROJECT_KEY) is not None


async def has_link(scene: Scene[Erp]) -> bool:
    return await scene.adapter.read_psa_link(await project(scene)) == "77"


async def provision_client(scene: Scene[Erp]) -> object:
    return await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def remove_client(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_client(CLIENT_KEY, None)


async def add_entity(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.add_client_entity(ENTITY_KEY, known, "3")


async def remove_entity(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_client_entity(ENTITY_KEY, None)


async def add_currency(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.add_client_currency(known, "EUR")


async def remove_currency(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.remove_client_currency(known, "EUR")


async def provision_project(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    request = PROJECT.model_copy(update={"client": known})
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def remove_project(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_project(PROJECT_KEY, None)


async def write_link(scene: Scene[Erp]) -> object:
    known = reference(scene, "project", await id_behind(scene, facts(scene).project))
    return await scene.adapter.write_psa_link(known, "77")


async def id_behind(scene: Scene[Erp], type_: str) -> str:
    """Return the id of our record, without a call to the vendor."""
    keys = {CLIENT_KEY, PROJECT_KEY}
    return next(each["id"] for each in await scene.records(type_) if each["key"] in keys)


ACTS: tuple[Act[Erp], ...] = (
    Act("provision_client", provision_client, has_client, nothing),
    Act("remove_client", remove_client, has_client, with_client),
    Act("add_client_entity", add_entity, has_entity, with_client),
    Act("remove_client_entity", remove_entity, has_entity, with_entity),
    Act("add_client_currency", add_currency, has_currency, with_client),
    Act("remove_client_currency", remove_currency, has_currency, with_currency, calls=2),
    Act("provision_project", provision_project, has_project, with_client),
    Act("remove_project", remove_project, has_project, with_project),
    Act("write_psa_link", write_link, has_link, with_project),
)
EACH_ACT = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)


class TestClients:
    async def test_a_new_client_has_all_that_the_deal_says(self, scene: Scene[Erp]) -> None:
        assert await scene.adapter.find_client(CLIENT_KEY) is None

        record = await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        assert record == reference(scene, "client", record.id)
        assert await scene.adapter.find_client(CLIENT_KEY) == record
        assert await scene.adapter.get_client(record.id) == ErpClient(
            record=record,
            external_id=CLIENT_KEY,
            name="Northwind Robotics",
            tax_id="12-3456789",
            country="US",
            subsidiaries=("2",),
            currencies=("USD",),
            payment_terms="NET30",
        )

    async def test_provisioning_twice_makes_one_client_with_one_address(
        self, scene: Scene[Erp]
    ) -> None:
        first = await scene.adapter.provision_client(CLIENT_KEY, CLIENT)
        once = await scene.state()

        assert await scene.adapter.provision_client(CLIENT_KEY, CLIENT) == first
        again = await scene.state()
        assert len(again) == len(once)
        (fields,) = [f for t, i, f in again if (t, i) == (facts(scene).client, first.id)]
        assert fields.count("200 Hudson Street") == 1

    @pytest.mark.parametrize("name", HOSTILE, ids=["quotes", "rtl", "long", "injection"])
    async def test_hostile_names_are_kept_or_shortened(self, scene: Scene[Erp], name: str) -> None:
        request = CLIENT.model_copy(update={"name": name})

        record = await scene.adapter.provision_client(CLIENT_KEY, request)

        kept = (await scene.record(facts(scene).client, record.id))["fields"]
        shown = str(kept[facts(scene).name_field])
        assert len(shown) <= facts(scene).name_length_max
        assert shown == name or (shown.endswith("…") and name.startswith(shown[:-1]))
        assert record in [each.record for each in await candidates(scene, name=name)]

    async def test_a_client_is_removed_once_and_then_absent(self, scene: Scene[Erp]) -> None:
        before = await scene.state()
        record = await client(scene)

        removed = await scene.adapter.remove_client(CLIENT_KEY, record)
        again = await scene.adapter.remove_client(CLIENT_KEY, record)

        assert (removed.result, again.result) == (UndoResult.REMOVED, UndoResult.ABSENT)
        assert await scene.adapter.find_client(CLIENT_KEY) is None
        assert await scene.adapter.get_client(record.id) is None
        assert await scene.state() == before

    async def test_a_client_in_use_is_deactivated_and_said_so(self, scene: Scene[Erp]) -> None:
        record = await client(scene)
        await use_client(scene, record)

        first = await scene.adapter.remove_client(CLIENT_KEY, None)
        second = await scene.adapter.remove_client(CLIENT_KEY, record)

        assert first.result is second.result is UndoResult.DEACTIVATED
        assert first.residue
        kept = await scene.adapter.get_client(record.id)
        assert kept is not None
        assert not kept.active
        assert await scene.adapter.find_client(CLIENT_KEY) == record

    async def test_a_currency_or_terms_without_an_id_name_the_mapping(
        self, scene: Scene[Erp]
    ) -> None:
        for change, field_ in (
            ({"currency": "CHF"}, "currency"),
            ({"payment_terms": "NET99"}, "payment_terms"),
        ):
            with pytest.raises(MissingMapping) as caught:
                await scene.adapter.provision_client(CLIENT_KEY, CLIENT.model_copy(update=change))
            assert caught.value.field == field_
        assert await scene.calls() == []

    async def test_what_the_account_refuses_is_rejected(self, scene: Scene[Erp]) -> None:
        request = CLIENT.model_copy(update={"subsidiary": "99"})

        with pytest.raises(Rejected, match="subsidiary"):
            await scene.adapter.provision_client(CLIENT_KEY, request)

    async def test_a_missing_client_is_none_and_what_is_no_id_makes_no_call(
        self, scene: Scene[Erp]
    ) -> None:
        assert await scene.adapter.get_client(facts(scene).absent_id) is None
        await scene.calls()

        for bad in facts(scene).bad_ids:
            broken = reference(scene, "client", bad)
            with pytest.raises(Invalid):
                await scene.adapter.get_client(bad)
            with pytest.raises(Invalid):
                await scene.adapter.has_client_currency(broken, "USD")
            with pytest.raises(Invalid):
                await scene.adapter.find_client_entity(ENTITY_KEY, broken, "2")
            with pytest.raises(Invalid):
                await scene.adapter.write_psa_link(broken, "77")
        with pytest.raises(Invalid):
            await scene.adapter.find_client(ExternalId("a/../../job"))
        assert await scene.calls() == []


class TestSearch:
    async def test_nobody_is_found_where_nobody_fits(self, scene: Scene[Erp]) -> None:
        assert await candidates(scene) == []

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            # by tax id, spelt as it stands or otherwise
            ({"tax_id": "98-7654321"}, ["Contoso Marine Ltd"]),
            ({"tax_id": "CHE-123.456.788 MWST"}, ["Alpen Pharma AG"]),
            # by the first word of the name, in any case
            ({"name": "baltic sawmill"}, ["Baltic Timber"]),
            ({"name": "Meridian Group"}, ["Meridian Group", "Meridian Group"]),
            # wildcards are text, and so are quotes
            ({"name": "%"}, []),
            ({"name": "' OR 1=1 --"}, []),
            ({"name": ""}, []),
        ],
    )
    async def test_all_who_might_be_the_client_are_found(
        self, scene: Scene[Erp], changes: dict[str, str], names: list[str]
    ) -> None:
        found = await candidates(scene, **{"name": "Nobody", **changes})

        assert [each.name for each in found] == names

    async def test_a_candidate_comes_with_what_matching_needs(self, scene: Scene[Erp]) -> None:
        (found,) = await candidates(scene, name="Alpen Pharma")

        assert found.model_copy(update={"record": reference(scene, "client", "1")}) == ErpClient(
            record=reference(scene, "client", "1"),
            name="Alpen Pharma AG",
            tax_id="CHE123456788MWST",
            country="CH",
            subsidiaries=("3",),
            currencies=("EUR",),
            payment_terms="NET30",
        )
        assert await scene.adapter.get_client(found.record.id) == found

    async def test_ours_is_found_by_key_alone_with_all_it_is_open_to(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        await with_entity(scene)
        await with_currency(scene)

        (found,) = await candidates(scene, name="Renamed since")

        assert (found.record, found.external_id) == (record, CLIENT_KEY)
        assert (found.subsidiaries, found.currencies) == (("2", "3"), ("EUR", "USD"))

    async def test_an_inactive_client_is_a_candidate_that_says_so(self, scene: Scene[Erp]) -> None:
        record = await client(scene)
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).client, record.id, {"isInactive": True}
        )

        (found,) = await candidates(scene)

        assert not found.active

    async def test_a_common_first_word_does_not_push_the_right_one_out(
        self, scene: Scene[Erp]
    ) -> None:
        for number in range(60):
            await scene.put(
                facts(scene).client,
                {facts(scene).name_field: f"Northwind {number}", "subsidiary": "2"},
            )
        record = await client(scene)

        found = await candidates(scene, name="Northwind robotics")

        assert len(found) == 50
        assert found[0].record == record


class TestClientEntities:
    async def test_a_client_is_opened_to_a_further_entity_and_closed_again(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        before = await scene.state()
        assert await scene.adapter.find_client_entity(ENTITY_KEY, record, "3") is None

        opened = await scene.adapter.add_client_entity(ENTITY_KEY, record, "3")

        assert opened.type == "client_entity"
        found = await scene.adapter.find_client_entity(ENTITY_KEY, record, "3")
        assert found is not None
        assert (found.record, found.outcome) == (opened, WriteOutcome.CREATED)
        assert await scene.adapter.add_client_entity(ENTITY_KEY, record, "3") == opened
        results = [
            (await scene.adapter.remove_client_entity(ENTITY_KEY, opened)).result for _ in range(2)
        ]
        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.state() == before

    async def test_what_was_open_before_is_existing(self, scene: Scene[Erp]) -> None:
        record = await client(scene)

        found = await scene.adapter.find_client_entity(ENTITY_KEY, record, "2")

        assert found is not None
        assert found.outcome is WriteOutcome.EXISTING

    async def test_an_entity_in_use_is_not_closed(self, scene: Scene[Erp]) -> None:
        record = await client(scene)
        await with_entity(scene)
        await use_client(scene, record, subsidiary="3")
        before = await scene.state()

        with pytest.raises(UndoRefused):
            await scene.adapter.remove_client_entity(ENTITY_KEY, None)
        assert await scene.state() == before


class TestClientCurrencies:
    async def test_a_currency_is_added_once_and_taken_off_again(self, scene: Scene[Erp]) -> None:
        record = await client(scene)
        assert await scene.adapter.has_client_currency(record, "USD")
        assert not await scene.adapter.has_client_currency(record, "EUR")
        before = await scene.state()

        added = await scene.adapter.add_client_currency(record, "EUR")
        once = await scene.state()
        assert await scene.adapter.add_client_currency(record, "EUR") == added
        assert await scene.state() == once
        assert added == reference(scene, "client_currency", "EUR")
        assert await scene.adapter.has_client_currency(record, "EUR")

        results = [
            (await scene.adapter.remove_client_currency(record, "EUR")).result for _ in range(2)
        ]
        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.state() == before

    async def test_a_currency_added_by_someone_else_stays_when_ours_goes(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        await scene.adapter.add_client_currency(record, "GBP")
        await scene.adapter.add_client_currency(record, "EUR")

        await scene.adapter.remove_client_currency(record, "EUR")

        assert await scene.adapter.has_client_currency(record, "GBP")
        assert await scene.adapter.has_client_currency(record, "USD")

    async def test_a_currency_in_use_or_the_client_s_own_is_not_taken_off(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        await with_currency(scene)
        await use_client(scene, record, currency="2")

        for currency in ("EUR", "USD"):
            with pytest.raises(UndoRefused):
                await scene.adapter.remove_client_currency(record, currency)
        assert await scene.adapter.has_client_currency(record, "EUR")

    async def test_a_client_that_is_gone_has_no_currency_to_take_off(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        await scene.adapter.remove_client(CLIENT_KEY, record)

        gone = await scene.adapter.remove_client_currency(record, "EUR")

        assert gone.result is UndoResult.ABSENT


class TestProjects:
    async def test_a_project_has_all_that_the_plan_says(self, scene: Scene[Erp]) -> None:
        assert await scene.adapter.find_project(PROJECT_KEY) is None

        record = await project(scene)

        assert record == reference(scene, "project", record.id)
        assert await scene.adapter.find_project(PROJECT_KEY) == record
        stored = await scene.record(facts(scene).project, record.id)
        assert stored["key"] == PROJECT_KEY
        labels = facts(scene).label_of
        for name, id_ in PROJECT.dimensions.model_dump().items():
            assert stored["fields"][labels[name]] == {"id": id_}
        text = repr(stored["fields"])
        for value in ("180000.5", "2026-12-01", "2027-05-31", PROJECT.code):
            assert value in text

    async def test_provisioning_twice_makes_one_project(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        once = await scene.state()
        request = PROJECT.model_copy(update={"client": await client(scene)})

        assert await scene.adapter.provision_project(PROJECT_KEY, request) == record
        assert await scene.state() == once

    @pytest.mark.parametrize("billing", BillingType)
    async def test_every_billing_type_is_understood(
        self, scene: Scene[Erp], billing: BillingType
    ) -> None:
        known = await client(scene)
        request = PROJECT.model_copy(update={"client": known, "billing_type": billing, "end": None})

        assert await scene.adapter.provision_project(PROJECT_KEY, request)

    @pytest.mark.parametrize("name", HOSTILE, ids=["quotes", "rtl", "long", "injection"])
    async def test_hostile_names_are_kept_or_shortened(self, scene: Scene[Erp], name: str) -> None:
        request = PROJECT.model_copy(update={"client": await client(scene), "name": name})

        record = await scene.adapter.provision_project(PROJECT_KEY, request)

        fields = (await scene.record(facts(scene).project, record.id))["fields"]
        shown = str(fields[facts(scene).name_field])
        assert len(shown) <= facts(scene).name_length_max
        assert shown.startswith(PROJECT.code)

    async def test_a_project_is_removed_once_and_then_absent(self, scene: Scene[Erp]) -> None:
        await client(scene)
        before = await scene.state()
        record = await project(scene)

        results = [
            (await scene.adapter.remove_project(PROJECT_KEY, record)).result for _ in range(2)
        ]

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_project(PROJECT_KEY) is None
        assert await scene.state() == before

    async def test_a_project_in_use_is_closed_and_said_so(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        await book_on(scene, record)

        first = await scene.adapter.remove_project(PROJECT_KEY, record)
        second = await scene.adapter.remove_project(PROJECT_KEY, None)

        assert first.result is second.result is UndoResult.DEACTIVATED
        assert first.residue
        stored = (await scene.record(facts(scene).project, record.id))["fields"]
        assert stored["isInactive"] is True
        assert stored["entityStatus"] == {"id": "1"}

    async def test_a_currency_that_the_client_has_not_is_rejected(self, scene: Scene[Erp]) -> None:
        price = Money(amount=Decimal(1), currency="JPY")
        request = PROJECT.model_copy(update={"client": await client(scene), "price": price})

        with pytest.raises(Rejected, match="currency"):
            await scene.adapter.provision_project(PROJECT_KEY, request)

    async def test_the_psa_project_is_noted_and_cleared(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        before = await scene.state()
        assert await scene.adapter.read_psa_link(record) == ""

        for value in ("77", "77", ""):
            assert await scene.adapter.write_psa_link(record, value) == record
            assert await scene.adapter.read_psa_link(record) == value
        assert len(await scene.state()) == len(before)


class TestCalls:
    @EACH_ACT
    async def test_each_write_takes_no_more_calls_than_it_needs(
        self, scene: Scene[Erp], act: Act[Erp]
    ) -> None:
        await act.prepare(scene)
        await scene.calls()

        await act.perform(scene)

        assert len(await scene.calls()) == act.calls

    async def test_each_look_is_one_call(self, scene: Scene[Erp]) -> None:
        erp, record = scene.adapter, await project(scene)
        known = await client(scene)
        await scene.calls()

        await erp.search_clients(match(name="Meridian"), CLIENT_KEY)
        await erp.get_client(known.id)
        await erp.find_client(CLIENT_KEY)
        await erp.find_client_entity(ENTITY_KEY, known, "2")
        await erp.has_client_currency(known, "USD")
        await erp.find_project(PROJECT_KEY)
        await erp.read_psa_link(record)

        assert len(await scene.calls()) == 7


class TestFaults:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @EACH_ACT
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Erp], act: Act[Erp], kind: FaultKind
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        fault = await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await act.perform(scene)

        expected = {**WRITE_FAULTS, **facts(scene).write_faults}[kind]
        undone_refused = act.name in {"remove_client_entity", "remove_client_currency"}
        if kind is FaultKind.REJECT and undone_refused:
            expected = UndoRefused
        assert isinstance(caught.value, expected)
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await act.landed(scene) is not stood) is (kind in WITH_EFFECT)

        await act.perform(scene)
        repeated = await scene.state()
        assert await act.landed(scene) is not stood
        await act.perform(scene)
        assert await scene.state() == repeated

    @EACH_ACT
    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Erp], act: Act[Erp]
    ) -> None:
        await act.prepare(scene)
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        fault = await scene.fault(FaultKind.HOLD, write=True)

        with pytest.raises(OutcomeUnknown):
            await act.perform(scene)

        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await act.perform(scene)
        settled = await scene.state()
        await act.perform(scene)
        assert await scene.state() == settled

    @pytest.mark.parametrize("kind", ["token_based", "client_credentials"])
    @EACH_ACT
    async def test_an_expired_session_is_renewed_once_where_that_helps(
        self, scene: Scene[Erp], act: Act[Erp], kind: str
    ) -> None:
        if kind not in facts(scene).sign_ins:
            pytest.skip("not a way to sign in to this vendor")
        await act.prepare(scene)
        stood = await act.landed(scene)
        scene.adapter = await scene.another(kind=kind)
        await act.landed(scene)  # signs in
        await scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        if kind == "client_credentials":
            await act.perform(scene)
        else:  # each call is signed anew: nothing is there to renew
            with pytest.raises(Rejected):
                await act.perform(scene)

        assert (await act.landed(scene) is not stood) is (kind == "client_credentials")

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[Erp], kind: FaultKind
    ) -> None:
        erp, known = scene.adapter, await client(scene)
        record = await project(scene)
        looks = (
            lambda: erp.search_clients(match(), CLIENT_KEY),
            lambda: erp.get_client(known.id),
            lambda: erp.find_client(CLIENT_KEY),
            lambda: erp.find_client_entity(ENTITY_KEY, known, "2"),
            lambda: erp.has_client_currency(known, "USD"),
            lambda: erp.find_project(PROJECT_KEY),
            lambda: erp.read_psa_link(record),
        )
        for look in looks:
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_look_that_takes_too_long_is_tried_again(self, scene: Scene[Erp]) -> None:
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.find_client(CLIENT_KEY)

    async def test_what_a_search_misses_is_still_found_by_key_and_not_made_twice(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        opened = await scene.adapter.add_client_entity(ENTITY_KEY, record, "3")
        before = await scene.state()
        await scene.control.add_fault(scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH)

        assert await scene.adapter.find_client(CLIENT_KEY) == record
        assert await scene.adapter.provision_client(CLIENT_KEY, CLIENT) == record
        assert await scene.adapter.add_client_entity(ENTITY_KEY, record, "3") == opened

        assert len(await scene.state()) == len(before)

    async def test_every_way_to_sign_in_works(self, scene: Scene[Erp]) -> None:
        for kind in facts(scene).sign_ins:
            adapter = await scene.another(kind=kind)
            assert await adapter.find_client(CLIENT_KEY) is None
