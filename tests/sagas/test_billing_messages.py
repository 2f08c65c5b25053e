"""Messages to a billing period in every order, and approvals that change while a run bills them.

Decisions 0008 and 0009: a message names what changed, the run reads what is true, and compares
again once the PSA has locked it.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from temporalio.api.enums.v1 import EventType

import workflows.time_to_billing
from canonical.entries import EntryRef
from canonical.ids import billing_run_id, time_to_billing_id
from canonical.saga import Outcome, SagaResult, Verb
from canonical.time_to_billing import EntriesChanged, RunEnded, RunNow, TimeToBillingInput
from operations.billing import Handle
from operations.sagas import SAGA_QUEUE
from tests.sagas.billing_scenes import (
    Act,
    People,
    Worked,
    assert_books,
    period_of,
    runs_of,
    settled,
    work_item_of_runs,
)
from tests.support.billing import (
    AT_PROJECT,
    PERIOD,
    assert_billed,
    billed_account,
    entries_of,
)
from tests.support.billing import period_of as project_period
from tests.support.world import World
from workflows.billing_run import BillingRun
from workflows.time_to_billing import ApprovedTimeToBilling

pytestmark = [pytest.mark.fault_matrix]

SEED = 20_261_121
JITTER_SECONDS = 0.3
"""Acts are spread over the steps of a run, which takes about a second."""


async def result_of(world: World, account: str, number: int) -> SagaResult:
    """Return the result of a billing run."""
    id_ = billing_run_id(f"kantata@{account}", AT_PROJECT, PERIOD, number)
    handle = world.env.client.get_workflow_handle_for(BillingRun.run, id_)
    return await world.result(handle)


async def outcomes(world: World, account: str) -> list[str]:
    """Return how the project's runs ended, in their order."""
    last = await runs_of(world, account)
    return [(await result_of(world, account, number)).outcome for number in range(1, last + 1)]


async def held_at(world: World, account: str, vendor: str, step: str, **more: object) -> str:
    """Arm a hold at the first request of a step."""
    match = {"correlation": rf":{step}(:[^#]*)?$", **more}
    return await world.control.add_fault(vendor, account, match, "hold")  # type: ignore[arg-type]


# Messages.


async def test_messages_twice_in_pieces_and_in_any_order_bill_once(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    refs = list(await entries_of(world, account))
    dice = random.Random(SEED)
    pieces = [refs[first : first + 3] for first in range(0, len(refs), 3)] * 2
    dice.shuffle(pieces)
    await asyncio.gather(*(people.tell(piece) for piece in pieces))
    await settled(world, account)
    await assert_billed(world, account)
    await people.tell(refs)
    await settled(world, account)
    await assert_billed(world, account)
    assert set(await outcomes(world, account)) == {Outcome.COMPLETED}


async def test_run_now_twice_bills_once_and_needs_no_message(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    await asyncio.gather(people.ask_for_a_run(), people.ask_for_a_run())
    await settled(world, account)
    await assert_billed(world, account)


async def test_what_arrives_while_a_run_is_under_way_is_billed_by_the_next(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    late = await people.work(0)
    fault = await held_at(world, account, "netsuite", "post_charges", write=True)
    await people.ask_for_a_run()
    await world.control.wait_for_fault("netsuite", account, fault)
    await people.tell([late.ref])
    await people.tell([late.ref])
    await people.ask_for_a_run()
    assert await runs_of(world, account) == 1, "a second run began beside the first"
    await world.control.release("netsuite", account)
    await settled(world, account)
    assert await outcomes(world, account) == [Outcome.COMPLETED, Outcome.COMPLETED]
    books = await assert_books(world, account)
    assert all(books.traces[ref].parts for ref in books.psa)
    assert books.traces[late.ref].versions[0].run_key == billing_run_id(
        f"kantata@{account}", AT_PROJECT, PERIOD, 2
    )


async def test_messages_while_the_run_is_being_opened_are_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await billed_account(world)
    people = People(world, account)
    more = [await people.work(place) for place in range(3)]
    runs = type(world.store.runs)
    opened, go_on = asyncio.Event(), asyncio.Event()
    real = runs.open

    async def slowly(self: object, psa: str, *args: object) -> int:
        if psa == f"kantata@{account}" and not opened.is_set():
            opened.set()
            await go_on.wait()
        return await real(self, psa, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "open", slowly)
    await people.ask_for_a_run()
    async with asyncio.timeout(10):
        await opened.wait()
    await people.tell(each.ref for each in more)
    await arrived(world, account, 2)
    go_on.set()
    await settled(world, account)
    books = await assert_books(world, account)
    assert all(books.traces[each.ref].parts for each in more)


async def arrived(world: World, account: str, messages: int) -> None:
    """Wait until so many signals stand in the history of the period's run."""
    handle = period_of(world, account)

    async def look() -> bool:
        events = (await handle.fetch_history()).events
        kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        return sum(event.event_type == kind for event in events) >= messages

    await world.eventually(look, f"{messages} messages at {handle.id}")


async def test_a_run_that_another_period_ended_is_ignored(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    fault = await held_at(world, account, "netsuite", "post_charges", write=True)
    await people.ask_for_a_run()
    await world.control.wait_for_fault("netsuite", account, fault)
    stray = RunEnded(number=7, outcome="completed", again=True)
    await period_of(world, account).signal(ApprovedTimeToBilling.run_ended, stray)
    view = await period_of(world, account).query(ApprovedTimeToBilling.view)
    assert (view.open_run, view.next_run_at) == (1, None)
    await world.control.release("netsuite", account)
    await settled(world, account)
    await assert_billed(world, account)


# Past the cutoff.


async def test_entries_told_of_after_the_cutoff_go_to_the_open_period_flagged_late(
    world: World,
) -> None:
    account = await billed_account(world)
    people = People(world, account)
    entry = await people.work(12)
    of = project_period(account).model_copy(update={"period": "2026-12"})
    refs = await entries_of(world, account)
    handle = await signalled(world, of.period, account, EntriesChanged(entries=refs))
    await settled(world, account, period=of.period)
    await handle.terminate("a test: its cutoff is weeks away")
    await assert_books(world, account)
    rated = await world.store.runs.rated(billing_run_id(of.psa, of.project_id, of.period, 1))
    assert len(rated) == len(refs)
    assert all("late" in each.flags for each in rated)
    (version,) = (await world.store.subledger.trace(of.psa, entry.ref)).versions
    assert version.service_date.isoformat() == entry.day
    days = {
        record["fields"]["tranDate"]
        for record in await world.control.records("netsuite", account, type="timeBill")
    }
    assert entry.day in days, "the service date was not kept"


async def test_a_period_past_its_cutoff_ends_and_a_message_wakes_it(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    refs = await entries_of(world, account)
    past = "2020-01"
    handle = await signalled(world, past, account, EntriesChanged(entries=refs[:5]))
    async with asyncio.timeout(30):
        assert (await handle.result()).runs == 1
    entry = await people.work(0)
    handle = await signalled(world, past, account, EntriesChanged(entries=(entry.ref,)))
    async with asyncio.timeout(30):
        await handle.result()
    await assert_books(world, account)


async def signalled(
    world: World, period: str, account: str, message: EntriesChanged | RunNow
) -> Handle:
    """Signal a period by name, starting it where it does not run."""
    of = project_period(account).model_copy(update={"period": period})
    return await world.billing._signal(
        of, "changed" if isinstance(message, EntriesChanged) else "run_now", message, ""
    )


# Continue-as-new.


async def test_continue_as_new_loses_no_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflows.time_to_billing, "MESSAGES_MAX", 5)
    account = await billed_account(world)
    people = People(world, account)
    more = [await people.work(place) for place in range(40)]
    refs = [each.ref for each in more] + list(await entries_of(world, account))
    fault = await held_at(world, account, "netsuite", "post_charges", write=True)
    first = await first_run_of_period(world, account, people, refs[:1])
    await world.control.wait_for_fault("netsuite", account, fault)
    await asyncio.gather(*(people.tell([ref]) for ref in refs))
    await world.control.release("netsuite", account)
    await asyncio.gather(*(people.tell([ref]) for ref in refs[::-1]))
    await settled(world, account)
    again = (await period_of(world, account).describe()).run_id
    assert again != first, "the workflow never continued as new"
    books = await assert_books(world, account)
    assert all(books.traces[ref].parts for ref in refs)


async def first_run_of_period(
    world: World, account: str, people: People, refs: Sequence[EntryRef]
) -> str:
    await people.tell(refs)
    await people.ask_for_a_run()
    return str((await period_of(world, account).describe()).run_id)


async def test_what_a_continued_run_takes_over_is_all_that_waited(world: World) -> None:
    account = await billed_account(world)
    refs = await entries_of(world, account)
    of = project_period(account)
    await world.env.client.start_workflow(
        ApprovedTimeToBilling.run,
        TimeToBillingInput(of=of, waiting=refs, run_asked=True, messages_before=2_000),
        id=time_to_billing_id(of.psa, of.project_id, of.period),
        task_queue=SAGA_QUEUE,
    )
    await settled(world, account)
    await assert_billed(world, account)


# Approvals that change under the run.


def sequences(length: int) -> Iterator[tuple[Act, ...]]:
    """Return every order of acts up to a length."""
    for each in range(1, length + 1):
        yield from itertools.product(Act, repeat=each)


def chosen() -> list[tuple[Act, ...]]:
    """Return every order of two acts, and of the longer ones a selection in which all pairs meet.

    The soak runs the whole product.
    """
    dice = random.Random(SEED)
    short = list(sequences(2))
    long = [tuple(dice.choices(list(Act), k=length)) for length in (3, 4, 5, 6) for _ in range(15)]
    return [*short, *long]


async def change(people: People, entry: Worked, acts: Sequence[Act], dice: random.Random) -> None:
    """Do acts one after another, beside whatever run is under way, and tell of each."""
    told: list[tuple[EntryRef, ...]] = []
    for act in acts:
        await asyncio.sleep(dice.uniform(0, JITTER_SECONDS))  # spread over the steps of a run
        await people.act(entry, act)
        told.append(entry.refs)
    told += dice.sample(told, k=len(told) // 2)
    dice.shuffle(told)
    for refs in told:
        await people.tell(refs)


async def race(world: World, sequences_: Sequence[tuple[Act, ...]], seed: int) -> None:
    """Let each sequence change an entry of one project while its runs bill them all."""
    account = await billed_account(world)
    people = People(world, account)
    entries = [await people.work(place) for place in range(len(sequences_))]
    await people.tell(entry.ref for entry in entries)
    await people.ask_for_a_run()
    dice = random.Random(seed)
    await asyncio.gather(
        *(
            change(people, entry, acts, random.Random(dice.random()))
            for entry, acts in zip(entries, sequences_, strict=True)
        )
    )
    await settled_without_park(world, account)
    logs = {entry.id: "".join(entry.log) for entry in entries}
    await assert_books(world, account, what=f"{logs}")


async def settled_without_park(world: World, account: str) -> None:
    """Wait until the project is quiet; a run that waits for a person is a failure.

    But for one: an entry un-approved when it is reserved, and approved again before the run looks
    why it was refused, leaves nothing to see. Whoever retries that gets it done.
    """
    quiet = asyncio.create_task(settled(world, account))
    retried = 0
    while not quiet.done():
        item = await work_item_of_runs(world, account)
        if item is not None:
            retried += 1
            if "not approved" not in str(item.failure) or retried > 1:
                quiet.cancel()
                raise AssertionError(f"a change parked a run: {item.step} {item.failure}")
            await world.decide(item, Verb.RETRY)
        await asyncio.wait({quiet}, timeout=0.2)
    await quiet


async def race_all(world: World, all_: Sequence[tuple[Act, ...]], size: int) -> None:
    chunks = [all_[first : first + size] for first in range(0, len(all_), size)]
    slots = asyncio.Semaphore(8)

    async def one(number: int, chunk: Sequence[tuple[Act, ...]]) -> None:
        async with slots:
            await race(world, chunk, SEED + number)

    ended = await asyncio.gather(
        *(one(number, chunk) for number, chunk in enumerate(chunks)), return_exceptions=True
    )
    failed = [f"{type(end).__name__}: {end}" for end in ended if end is not None]
    assert not failed, f"{len(failed)} of {len(chunks)} projects:\n" + "\n".join(failed)


async def test_acts_in_any_order_racing_with_a_run_leave_each_entry_billed_held_or_withdrawn(
    world: World,
) -> None:
    all_ = chosen()
    random.Random(SEED).shuffle(all_)
    await race_all(world, all_, 18)


@pytest.mark.soak
async def test_every_order_of_six_acts_racing_with_a_run(world: World) -> None:
    await race_all(world, list(sequences(6)), 60)
