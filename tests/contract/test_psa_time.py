"""What every PSA does with time and expenses: read them whole, tell changes, reserve and free."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    Forbidden,
    Invalid,
    OutcomeUnknown,
    UndoRefused,
    Unsupported,
)
from adapters.psa_port import Psa
from canonical.billing import PsaChange, Reservation, ReserveEntries
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.ids import external_id
from canonical.money import Money
from canonical.records import RecordRef, UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.faults import Look, LookFaults, WriteFaults
from tests.contract.suite import (
    READ_FAULTS,
    Act,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

Fields = dict[str, JsonValue]


@dataclass(frozen=True)
class TimeFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    time: str
    """Record type of time entries; likewise the others."""
    expense: str
    adjustment: str
    sheet: str
    report: str
    reservation: str
    payment: str
    project: str
    projects: tuple[str, ...]
    """Of the scenario, in its order: USD, EUR, GBP, JPY."""
    archived: str
    user: str
    manager: Fields
    """What makes a user one who approves everywhere."""
    no_feed: Fields
    """Options of the fault `reject` by which the vendor says that there is no feed."""


PSAS: Final = {
    "kantata": TimeFacts(
        time="time_entries",
        expense="expenses",
        adjustment="time_adjustments",
        sheet="timesheet_submissions",
        report="expense_report_submissions",
        reservation="invoices",
        payment="external_payments",
        project="workspaces",
        projects=("5001", "5002", "5003", "5004"),
        archived="archived",
        user="users",
        manager={"full_name": "Cara", "account_permission": "Administrator"},
        no_feed={"status": 403, "type": "system", "message": "Not in your plan"},
    )
}
KEY = external_id("billing-run/psa/5001/2026-11/1/1:reserve_entries")
DAY = date(2026, 11, 30)
APPROVER: Final = "maya.chen@example.com"
"""Who approved everything that is seeded."""
PERSON: Final = "4"
"""Somebody who records time and approves nothing."""
MANAGER: Final = "Cara.Controller@Example.com"


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param) as opened:
        await control.seed("time-small", account=opened.name, vendor=opened.vendor, count=4)
        yield opened


def facts(scene: Scene[Psa]) -> TimeFacts:
    return PSAS[scene.vendor]


def project(scene: Scene[Psa]) -> RecordRef:
    return RecordRef(system=scene.connection, type="project", id=facts(scene).projects[0])


async def entries(scene: Scene[Psa], number: int = 0) -> tuple[Entry, ...]:
    pages = scene.adapter.list_entries(facts(scene).projects[number])
    return tuple([entry async for page in pages for entry in page])


async def refs(scene: Scene[Psa]) -> tuple[EntryRef, ...]:
    return tuple(entry.ref for entry in await entries(scene))


async def read(scene: Scene[Psa], kind: EntryKind, id_: str) -> Entry:
    (entry,) = await scene.adapter.read_entries((EntryRef(kind=kind, id=id_),))
    return entry


async def reserve(scene: Scene[Psa], chosen: tuple[EntryRef, ...]) -> Reservation:
    request = ReserveEntries(
        connection="psa", project=project(scene), entries=chosen, on=DAY, title="Billing run 1"
    )
    return await scene.adapter.reserve_entries(KEY, request)


async def log(scene: Scene[Psa], **changes: JsonValue) -> str:
    """Let a person log an hour that nobody has approved yet."""
    fields: Fields = {
        "workspace_id": facts(scene).projects[0],
        "user_id": "3",
        "story_id": "100000",
        "date_performed": "2026-11-19",
        "time_in_minutes": 60,
    }
    return await scene.put(facts(scene).time, {**fields, **changes})


async def adjust(scene: Scene[Psa], entry: Entry, minutes: int) -> str:
    """Let a person correct time that is locked or billed."""
    fields: Fields = {
        "workspace_id": entry.project_id,
        "user_id": entry.person_id,
        "story_id": entry.task_id,
        "original_date": entry.service_date.isoformat(),
        "posted_on_date": "2026-12-01",
        "time": minutes,
        "bill_rate_in_cents": 25000,
        "billable": True,
    }
    return await scene.put(facts(scene).adjustment, fields)


async def manager(scene: Scene[Psa]) -> str:
    """Let somebody in who approves and records nothing; return the user."""
    fields: Fields = {"email_address": MANAGER, "acting_user_id": "2"}
    return await scene.put(facts(scene).user, {**fields, **facts(scene).manager})


async def approved_by(scene: Scene[Psa], user: str) -> tuple[EntryRef, EntryRef]:
    """Let somebody record an hour and an expense, and another approve both."""
    of: Fields = {"workspace_id": facts(scene).projects[0], "user_id": PERSON}
    hour = await log(scene, user_id=PERSON)
    spent = await scene.put(
        facts(scene).expense,
        {**of, "date": "2026-11-18", "category": "Lodging", "amount_in_cents": 9_900},
    )
    for id_, sheet in ((hour, facts(scene).sheet), (spent, facts(scene).report)):
        made = await scene.put(sheet, {**of, "line_item_ids": [id_]})
        await scene.control.patch_record(
            scene.vendor, scene.name, sheet, made, {"status": "approved", "acting_user_id": user}
        )
    return (
        EntryRef(kind=EntryKind.TIME, id=hour),
        EntryRef(kind=EntryKind.EXPENSE, id=spent),
    )


async def approvers(scene: Scene[Psa], refs: tuple[EntryRef, ...]) -> list[str]:
    return [entry.approved_by for entry in await scene.adapter.read_entries(refs)]


async def changes(scene: Scene[Psa]) -> list[PsaChange]:
    now = datetime.now(UTC)
    rows = scene.adapter.read_changes(now - timedelta(days=400), now + timedelta(days=400))
    return [row async for row in rows]


class TestReading:
    async def test_an_entry_has_all_that_rating_needs(self, scene: Scene[Psa]) -> None:
        for entry in await entries(scene):
            expense = entry.kind is EntryKind.EXPENSE
            type_ = facts(scene).expense if expense else facts(scene).time
            stored = (await scene.record(type_, entry.id))["fields"]
            assert entry.source == scene.connection
            assert entry.project_id == str(stored["workspace_id"])
            assert entry.task_id == str(stored["story_id"])
            assert entry.person_id == str(stored["user_id"])
            assert entry.person_email.endswith("@example.com")
            assert entry.currency == "USD"
            assert entry.approved
            assert entry.approved_by == APPROVER
            assert entry.approved_at is not None
            assert entry.submission_id
            assert entry.reservation_id == ""
            assert entry.updated_at is not None
            if expense:
                assert entry.amount is not None
                assert entry.amount.minor_units == stored["amount_in_cents"]
                assert entry.category == stored["category"]
                assert entry.service_date.isoformat() == stored["date"]
            else:
                assert entry.minutes == stored["time_in_minutes"]
                assert entry.role
                assert entry.psa_rate is not None
                assert entry.service_date.isoformat() == stored["date_performed"]
                assert entry.billable is stored["billable"]

    @pytest.mark.parametrize(
        ("number", "currency", "rates"),
        [
            (0, "USD", {"250", "200", "180", "120"}),
            (1, "EUR", {"230", "185", "165", "110"}),
            (3, "JPY", {"30000", "24000", "22000", "15000"}),
        ],
    )
    async def test_rates_and_amounts_are_in_the_currency_s_own_minor_units(
        self, scene: Scene[Psa], number: int, currency: str, rates: set[str]
    ) -> None:
        found = await entries(scene, number)

        assert {entry.currency for entry in found} == {currency}
        seen = {entry.psa_rate for entry in found if entry.psa_rate is not None}
        assert seen
        assert seen <= set(map(Decimal, rates))
        assert all(entry.amount.currency == currency for entry in found if entry.amount)

    async def test_entries_come_in_the_order_asked_for_and_those_gone_are_absent(
        self, scene: Scene[Psa]
    ) -> None:
        wanted = await refs(scene)
        lost = await log(scene)
        await scene.control.delete_record(scene.vendor, scene.name, facts(scene).time, lost)
        absent = EntryRef(kind=EntryKind.TIME, id=lost)

        found = await scene.adapter.read_entries((absent, *reversed(wanted), absent))

        assert [entry.ref for entry in found] == list(reversed(wanted))
        assert await scene.adapter.read_entries(()) == ()

    async def test_what_is_no_id_makes_no_call(self, scene: Scene[Psa]) -> None:
        await scene.calls()
        for bad in ("", "1,2", "../users/2"):
            with pytest.raises(Invalid):
                await scene.adapter.read_entries((EntryRef(kind=EntryKind.TIME, id=bad),))
            with pytest.raises(Invalid):
                await anext(aiter(scene.adapter.list_entries(bad)))
            with pytest.raises(Invalid):
                await scene.adapter.entries_of_submission("timesheet", bad)
        assert await scene.calls() == []

    async def test_an_archived_project_hides_nothing(self, scene: Scene[Psa]) -> None:
        before = await entries(scene)
        await scene.control.patch_record(
            scene.vendor,
            scene.name,
            facts(scene).project,
            facts(scene).projects[0],
            {facts(scene).archived: True},
        )

        assert [entry.ref for entry in await entries(scene)] == [entry.ref for entry in before]
        assert len(await scene.adapter.read_entries(tuple(e.ref for e in before))) == len(before)

    async def test_what_is_not_approved_says_so_and_so_does_what_is_un_approved(
        self, scene: Scene[Psa]
    ) -> None:
        fresh = await read(scene, EntryKind.TIME, await log(scene))
        assert not fresh.approved
        assert fresh.approved_by == ""
        time, expense = [
            next(entry for entry in await entries(scene) if entry.kind is kind)
            for kind in (EntryKind.TIME, EntryKind.EXPENSE)
        ]
        for entry, sheet in ((time, facts(scene).sheet), (expense, facts(scene).report)):
            await scene.control.patch_record(
                scene.vendor, scene.name, sheet, entry.submission_id, {"status": "rejected"}
            )
            now = await read(scene, entry.kind, entry.id)
            assert not now.approved
            assert now.version == entry.version

    async def test_an_expense_is_worth_what_was_paid_in_its_own_currency(
        self, scene: Scene[Psa]
    ) -> None:
        id_ = await scene.put(
            facts(scene).expense,
            {
                "workspace_id": facts(scene).projects[0],
                "user_id": "3",
                "date": "2026-11-18",
                "category": "Lodging",
                "amount_in_cents": 1,
                "foreign_exchange_amount": {"source_value": 210.5, "source_currency": "EUR"},
            },
        )

        entry = await read(scene, EntryKind.EXPENSE, id_)

        assert entry.amount == Money(amount=Decimal("210.5"), currency="EUR")
        assert entry.currency == "EUR"

    async def test_an_adjustment_names_the_entry_that_it_corrects(self, scene: Scene[Psa]) -> None:
        entry = await read(scene, EntryKind.TIME, await log(scene, date_performed="2026-11-26"))
        id_ = await adjust(scene, entry, -30)

        found = await read(scene, EntryKind.ADJUSTMENT, id_)

        assert found.adjusts == entry.id
        assert (found.minutes, found.service_date) == (-30, entry.service_date)
        assert found.psa_rate == Decimal(250)
        assert found.person_email == entry.person_email
        assert found.ref in await refs(scene)

    async def test_of_several_entries_the_same_one_is_named_whatever_is_billed(
        self, scene: Scene[Psa]
    ) -> None:
        small = await log(scene, time_in_minutes=10, date_performed="2026-11-26")
        large = await log(scene, time_in_minutes=90, date_performed="2026-11-26")
        await log(scene, time_in_minutes=120, date_performed="2026-11-26")
        id_ = await adjust(scene, await read(scene, EntryKind.TIME, small), -30)

        assert (await read(scene, EntryKind.ADJUSTMENT, id_)).adjusts == large
        sheet = {"workspace_id": facts(scene).projects[0], "user_id": "3"}
        made = await scene.put(facts(scene).sheet, {**sheet, "line_item_ids": [small]})
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).sheet, made, {"status": "approved"}
        )
        await reserve(scene, (EntryRef(kind=EntryKind.TIME, id=small),))
        assert (await read(scene, EntryKind.ADJUSTMENT, id_)).adjusts == large

    async def test_more_entries_than_one_call_takes_are_all_read(self, control: Control) -> None:
        for vendor in PSAS:
            async with open_scene(control, vendor, "empty") as scene:
                await control.seed("time", account=scene.name, vendor=vendor, count=1)
                everything = await refs(scene)
                assert len(set(everything)) == len(everything) == 500
                await scene.calls()

                assert len(await scene.adapter.read_entries(everything)) == 500
                assert len(await scene.calls()) == 4

    async def test_only_what_changed_since_is_listed_approvals_too(self, scene: Scene[Psa]) -> None:
        known = await entries(scene)
        await scene.control.clock(scene.name, advance_seconds=3600)
        now = datetime.fromisoformat(await scene.control.clock(scene.name))
        since = now - timedelta(seconds=60)
        assert [p async for p in scene.adapter.list_entries(known[0].project_id, since)] == []
        fresh = await log(scene)
        sheet = next(e.submission_id for e in known if e.kind is EntryKind.TIME)
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).sheet, sheet, {"status": "rejected"}
        )

        pages = [p async for p in scene.adapter.list_entries(known[0].project_id, since)]

        seen = [entry.id for page in pages for entry in page]
        on_sheet = {e.id for e in known if e.submission_id == sheet}
        assert set(seen) == {fresh, *on_sheet}
        assert len(seen) == len(set(seen))


class TestApprovers:
    async def test_an_approver_is_an_address_wherever_an_entry_is_read(
        self, scene: Scene[Psa]
    ) -> None:
        own = await approved_by(scene, await manager(scene))

        assert await approvers(scene, own) == [MANAGER.lower()] * 2
        listed = {entry.ref: entry for entry in await entries(scene)}
        assert {listed[ref].approved_by for ref in own} == {MANAGER.lower()}
        assert {e.approved_by for ref, e in listed.items() if ref not in own} == {APPROVER}
        sheet = listed[own[0]].submission_id
        (found,) = await scene.adapter.entries_of_submission("timesheet", sheet)
        assert found.approved_by == MANAGER.lower()

    async def test_it_costs_one_call_however_often_it_is_read(self, scene: Scene[Psa]) -> None:
        own = await approved_by(scene, await manager(scene))
        await scene.calls()

        for _ in range(3):
            await scene.adapter.read_entries(own)

        paths = [path for _, path in await scene.calls()]
        assert sum(path.endswith(facts(scene).user) for path in paths) == 1
        assert len(paths) == 3 * len(own) + 1

    async def test_a_deleted_user_stays_an_id_that_is_nobody_s_address(
        self, scene: Scene[Psa]
    ) -> None:
        user = await manager(scene)
        own = await approved_by(scene, user)
        await scene.control.delete_record(scene.vendor, scene.name, facts(scene).user, user)

        assert await approvers(scene, own) == [user, user]

    async def test_an_adjustment_names_nobody(self, scene: Scene[Psa]) -> None:
        entry = next(e for e in await entries(scene) if e.kind is EntryKind.TIME)
        id_ = await adjust(scene, entry, -30)

        assert (await read(scene, EntryKind.ADJUSTMENT, id_)).approved_by == ""

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_up_fails_the_read_and_never_hides_who_approved(
        self, scene: Scene[Psa], kind: FaultKind
    ) -> None:
        own = await approved_by(scene, await manager(scene))
        fault = await scene.control.add_fault(
            scene.vendor, scene.name, {"path": facts(scene).user}, kind
        )

        with pytest.raises(READ_FAULTS[kind]):
            await scene.adapter.read_entries(own)

        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert await approvers(scene, own) == [MANAGER.lower()] * 2


class TestChanges:
    async def test_the_entries_of_a_submission_are_those_on_it_whatever_became_of_it(
        self, scene: Scene[Psa]
    ) -> None:
        known = await entries(scene)
        for kind, name in ((EntryKind.TIME, "timesheet"), (EntryKind.EXPENSE, "expense_report")):
            sheet = next(e.submission_id for e in known if e.kind is kind)
            expected = {e.ref for e in known if e.submission_id == sheet}
            found = await scene.adapter.entries_of_submission(name, sheet)
            assert {e.ref for e in found} == expected
            await scene.control.patch_record(
                scene.vendor,
                scene.name,
                facts(scene).sheet if name == "timesheet" else facts(scene).report,
                sheet,
                {"status": "rejected"},
            )
            found = await scene.adapter.entries_of_submission(name, sheet)
            assert {e.ref for e in found} == expected
            assert not any(e.approved for e in found)
        assert await scene.adapter.entries_of_submission("timesheet", "999999999") == ()
        assert await scene.adapter.entries_of_submission("invoice", "1") == ()

    async def test_the_feed_tells_what_people_do_and_marks_our_own_echo(
        self, scene: Scene[Psa]
    ) -> None:
        before = {change.event_id for change in await changes(scene)}
        entry = await log(scene)
        await reserve(scene, (await refs(scene))[:2])

        fresh = [change for change in await changes(scene) if change.event_id not in before]

        assert ("time_entry", entry, "created", False) in {
            (c.subject_type, c.subject_id, c.action, c.own) for c in fresh
        }
        assert {c.own for c in fresh if c.subject_type == "invoice"} == {True}
        assert all(c.occurred_at.tzinfo for c in fresh)

    async def test_rows_may_come_twice_and_in_any_order_with_the_same_ids(
        self, scene: Scene[Psa]
    ) -> None:
        before = {change.event_id for change in await changes(scene)}
        await scene.control.emit(
            scene.vendor, scene.name, {"what": "feed", "duplicate": 1, "shuffle": True}
        )
        logged = [await log(scene) for _ in range(3)]

        seen = [change for change in await changes(scene) if change.event_id not in before]

        assert {c.subject_id for c in seen if c.subject_type == "time_entry"} == set(logged)

    async def test_an_account_without_a_feed_says_so(self, scene: Scene[Psa]) -> None:
        await changes(scene)
        for again in (scene.adapter, await scene.another()):
            scene.adapter = again
            await scene.control.add_fault(
                scene.vendor,
                scene.name,
                {"path": "subscribed_events"},
                FaultKind.REJECT,
                options=facts(scene).no_feed,
            )
            with pytest.raises(Unsupported):
                await changes(scene)

    async def test_a_void_token_is_no_missing_feed(self, scene: Scene[Psa]) -> None:
        await scene.fault(FaultKind.EXPIRE_AUTH)
        with pytest.raises(Forbidden):
            await changes(scene)


class TestReservations:
    async def test_reserved_entries_say_so_and_are_found_by_key(self, scene: Scene[Psa]) -> None:
        chosen = await refs(scene)
        assert await scene.adapter.find_reservation(KEY) is None
        await scene.calls()

        made = await reserve(scene, chosen)

        assert [method for method, _ in await scene.calls()] == ["POST"]
        assert made.record.type == "reservation"
        assert made.draft
        found = await scene.adapter.find_reservation(KEY)
        assert found is not None
        assert (found.record, found.amount) == (made.record, made.amount)
        assert set(found.entries) == set(made.entries) == set(chosen)
        read_again = await scene.adapter.read_entries(chosen)
        assert {e.kind for e in read_again} == {EntryKind.TIME, EntryKind.EXPENSE}
        assert {e.reservation_id for e in read_again} == {made.record.id}
        assert all(e.approved for e in read_again)

    async def test_versions_do_not_change_by_reserving(self, scene: Scene[Psa]) -> None:
        before = await entries(scene)
        await reserve(scene, tuple(e.ref for e in before))

        assert [e.version for e in await entries(scene)] == [e.version for e in before]

    async def test_an_entry_that_is_reserved_elsewhere_is_refused_and_none_is_taken(
        self, scene: Scene[Psa]
    ) -> None:
        chosen = await refs(scene)
        by_hand = await scene.put(
            facts(scene).reservation,
            {
                "workspace_id": facts(scene).projects[0],
                "payment_schedule": 30,
                "time_entry_ids": [next(r.id for r in chosen if r.kind is EntryKind.TIME)],
                "draft": False,
            },
        )

        with pytest.raises(Invalid):
            await reserve(scene, chosen)

        assert await scene.adapter.find_reservation(KEY) is None
        ids = [e.reservation_id for e in await scene.adapter.read_entries(chosen)]
        assert sorted(set(ids)) == ["", by_hand]
        assert ids.count(by_hand) == 1

    async def test_nothing_and_unknown_entries_are_refused(self, scene: Scene[Psa]) -> None:
        for chosen in ((), (EntryRef(kind=EntryKind.TIME, id="999999999"),)):
            with pytest.raises(Invalid):
                await reserve(scene, chosen)
        assert await scene.adapter.find_reservation(KEY) is None

    async def test_a_reservation_is_removed_once_and_then_absent(self, scene: Scene[Psa]) -> None:
        chosen = await refs(scene)
        before = {e.ref: e.reservation_id for e in await entries(scene)}
        await reserve(scene, chosen)

        results = [(await scene.adapter.remove_reservation(KEY, None)).result for _ in range(2)]

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_reservation(KEY) is None
        assert {e.ref: e.reservation_id for e in await entries(scene)} == before
        assert (await reserve(scene, chosen)).draft

    async def test_one_that_a_person_issued_is_cancelled(self, scene: Scene[Psa]) -> None:
        made = await reserve(scene, await refs(scene))
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).reservation, made.record.id, {"draft": False}
        )
        issued = await scene.adapter.find_reservation(KEY)
        assert issued is not None
        assert not issued.draft

        undone = await scene.adapter.remove_reservation(KEY, made.record)

        assert undone.result is UndoResult.REVERSED
        assert await scene.adapter.find_reservation(KEY) is None
        assert {e.reservation_id for e in await entries(scene)} == {""}
        again = await scene.adapter.remove_reservation(KEY, made.record)
        assert again.result is UndoResult.ABSENT

    async def test_one_that_was_paid_stays(self, scene: Scene[Psa]) -> None:
        made = await reserve(scene, await refs(scene))
        assert made.amount is not None
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).reservation, made.record.id, {"draft": False}
        )
        payment: Fields = {
            "invoice_id": made.record.id,
            "workspace_id": facts(scene).projects[0],
            "amount_in_cents": made.amount.minor_units,
            "message": "paid by hand",
        }
        await scene.put(facts(scene).payment, payment)

        await scene.calls()

        with pytest.raises(UndoRefused, match="was paid"):
            await scene.adapter.remove_reservation(KEY, made.record)
        assert {method for method, _ in await scene.calls()} == {"GET"}
        assert await scene.adapter.find_reservation(KEY) is not None

    async def test_an_adjustment_is_reserved_too(self, scene: Scene[Psa]) -> None:
        entry = next(e for e in await entries(scene) if e.kind is EntryKind.TIME)
        id_ = await adjust(scene, entry, 30)
        ref = EntryRef(kind=EntryKind.ADJUSTMENT, id=id_)

        made = await reserve(scene, (entry.ref, ref))

        found = await scene.adapter.find_reservation(KEY)
        assert found is not None
        assert set(found.entries) == {entry.ref, ref}
        assert (await read(scene, ref.kind, id_)).reservation_id == made.record.id


async def is_reserved(scene: Scene[Psa]) -> bool:
    return await scene.adapter.find_reservation(KEY) is not None


async def chosen(scene: Scene[Psa]) -> None:
    scene.kept["entries"] = await refs(scene)


async def reserved(scene: Scene[Psa]) -> None:
    await chosen(scene)
    await reserve_chosen(scene)


async def reserve_chosen(scene: Scene[Psa]) -> object:
    return await reserve(scene, scene.kept["entries"])


async def remove_reservation(scene: Scene[Psa]) -> object:
    return await scene.adapter.remove_reservation(KEY, None)


class TestFaults(WriteFaults[Psa], LookFaults[Psa]):
    ACTS = (
        Act("reserve_entries", reserve_chosen, is_reserved, chosen),
        Act("remove_reservation", remove_reservation, is_reserved, reserved, calls=2, undo=True),
    )
    SIGN_INS = {"": Forbidden}

    async def again(self, scene: Scene[Psa], act: Act[Psa]) -> None:
        """What is there is not made a second time."""
        if act.name == "reserve_entries" and await act.landed(scene):
            return
        await act.perform(scene)

    async def looks(self, scene: Scene[Psa]) -> tuple[Look, ...]:
        await reserved(scene)
        entries = scene.kept["entries"]
        known = await scene.adapter.read_entries(entries[:1])
        return (
            lambda: scene.adapter.read_entries(entries),
            lambda: refs(scene),
            lambda: scene.adapter.entries_of_submission("timesheet", known[0].submission_id),
            lambda: changes(scene),
            lambda: scene.adapter.find_reservation(KEY),
        )


class TestWhatElseFails:
    async def test_one_of_ours_that_a_look_missed_is_looked_for_again(
        self, scene: Scene[Psa]
    ) -> None:
        await reserved(scene)
        before = await scene.state()

        with pytest.raises(OutcomeUnknown):
            await reserve_chosen(scene)

        assert await scene.state() == before
