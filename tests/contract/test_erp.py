"""What every adapter in the role of the ERP does, on its vendor's simulator."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from adapters.errors import (
    Invalid,
    MissingMapping,
    Rejected,
    UndoRefused,
)
from adapters.ports import Erp
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.provisioning import (
    BillingType,
    ErpClient,
)
from canonical.records import UndoResult, WriteOutcome
from simulators.kit.control import Control
from tests.contract.erp_role import (
    CLIENT,
    CLIENT_KEY,
    EACH_NAME,
    ENTITY_KEY,
    ERPS,
    PROJECT,
    PROJECT_KEY,
    book_on,
    candidates,
    client,
    facts,
    project,
    reference,
    use_client,
    with_currency,
    with_entity,
)
from tests.contract.suite import (
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture(loop_scope="session", params=ERPS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Erp]]:
    async with open_scene(control, request.param) as opened:
        yield opened


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

    @EACH_NAME
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

    @EACH_NAME
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
