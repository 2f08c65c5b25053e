"""Every step under every class of failure and every decision: all there or none there.

The number of cases is printed. `make soak` runs the full product.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from canonical.saga import Outcome, SagaResult, Verb, WorkItemKind
from tests.sagas.matrix import (
    FAULTS,
    Answer,
    Case,
    Clean,
    FaultClass,
    Snapshot,
    assert_undone_in_reverse,
    assert_untouched,
    correlation,
    created,
    do_cases,
    effects,
    full_cases,
    observe,
    saga_named,
    undo_cases,
)
from tests.sagas.subjects import BY_STRIPE, SUBJECTS, OpportunitySubject, Subject
from tests.support.world import World
from workflows.step import Step

pytestmark = [pytest.mark.fault_matrix]

OWN_FIELDS = set(OpportunitySubject.own_fields)
IN_FLIGHT = 6
"""More make each case slower and the whole no faster: two processors do the work."""
_clean: dict[str, Clean] = {}
_slots = asyncio.Semaphore(IN_FLIGHT)


async def clean_run_of(world: World, subject: Subject) -> Clean:
    """Return the observation of a subject's clean run."""
    if subject.name not in _clean:
        _clean[subject.name] = await observe(world, subject)
    return _clean[subject.name]


async def clean_run_with(world: World, step: str, of: str = "") -> Clean:
    """Return the observation of the first subject, or the one named, whose run has the step."""
    for subject in SUBJECTS:
        if of not in {"", subject.name}:
            continue
        if step not in {each.name for each in subject.saga.STEPS}:
            continue
        clean = await clean_run_of(world, subject)
        if step in clean.steps:
            return clean
    raise AssertionError(f"no subject goes through {step}: add one to SUBJECTS")


async def arm(world: World, account: str, clean: Clean, case: Case) -> tuple[str, str]:
    """Set the case's fault at its step; return vendor and fault id."""
    vendor = clean.steps[case.step]
    match: dict[str, Any] = {"correlation": correlation(case.step, undo=case.undo)}
    if not step_named(case).reads_only:
        match["write"] = True
    fault = dict(FAULTS[case.fault])
    kind = str(fault.pop("kind"))
    return vendor, await world.control.add_fault(vendor, account, match, kind, **fault)


def step_named(case: Case) -> Step[Any, Any]:
    """Return the case's step."""
    return next(step for step in saga_named(case.saga).STEPS if step.name == case.step)


async def answer(world: World, handle: WorkflowHandle[Any, SagaResult], case: Case) -> SagaResult:
    """Decide about whatever parks, as the case says, until the saga has ended."""
    ended = asyncio.create_task(world.result(handle))
    cancelled = False
    while not ended.done():
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            item = stored.item
            if item.kind is WorkItemKind.GATE:
                await world.decide(item, Verb.APPROVE, by="fiona")
            elif item.kind is WorkItemKind.UNDO or case.answer is Answer.RETRY:
                await world.decide(item, Verb.RETRY)
            elif case.answer is Answer.CANCEL and not cancelled:
                cancelled = True
                await handle.cancel()
            elif case.answer is Answer.ROLL_BACK and Verb.ROLL_BACK in item.verbs:
                await world.decide(item, Verb.ROLL_BACK)
            elif case.answer is Answer.ROLL_BACK or Verb.ROLL_BACK not in item.verbs:
                await world.decide(item, Verb.RETRY)  # past the pivot there is only forward
        await asyncio.wait({ended}, timeout=0.05)
    return await ended


async def run_case(world: World, case: Case) -> None:
    """Run one case and let the simulators' records decide."""
    async with _slots:
        clean = await clean_run_with(world, case.step, case.subject)
        account = await clean.subject.account(world)
        before = await world.live(account)
        vendor, fault_id = await arm(world, account, clean, case)
        if case.undo:
            stop: dict[str, JsonValue] = {
                "write": True,
                "correlation": correlation(clean.subject.stop_at),
            }
            where = clean.steps[clean.subject.stop_at]
            await world.control.add_fault(where, account, stop, "fail_after")
        handle = await clean.subject.start(world, account)
        forward = Case(case.saga, case.step, case.fault, Answer.ROLL_BACK) if case.undo else case
        result = await answer(world, handle, forward)
        faults = {each["id"]: each for each in await world.control.faults(vendor, account)}
        assert faults[fault_id]["hits"] == 1, f"the fault never met {case.step}"
        await assert_all_or_none(world, account, clean, before, result)


async def assert_all_or_none(
    world: World, account: str, clean: Clean, before: Snapshot, result: SagaResult
) -> None:
    """The oracle: everything or nothing, nothing twice, what was there as before."""
    after = await world.live(account)
    log = await effects(world, account)
    if result.outcome is Outcome.COMPLETED:
        assert created(before, after) == clean.created
        assert_untouched(before, after, but=set(clean.subject.own_fields | clean.changed))
        await clean.subject.assert_books(world, account, done=True)
    else:
        assert result.outcome is Outcome.ROLLED_BACK, result
        assert created(before, after) == {}
        assert_untouched(before, after, but=set())
        assert_undone_in_reverse(clean.subject, log)
        await clean.subject.assert_books(world, account, done=False)


async def run_cases(world: World, cases: list[Case]) -> None:
    """Run cases side by side and report every one that failed."""
    ended = await asyncio.gather(*(run_case(world, case) for case in cases), return_exceptions=True)
    failed = [
        f"{case}: {type(end).__name__}: {end}"
        for case, end in zip(cases, ended, strict=True)
        if end is not None
    ]
    assert not failed, f"{len(failed)} of {len(cases)} cases:\n" + "\n".join(failed)


@pytest.mark.parametrize("fault", FaultClass)
async def test_every_step_meets_every_class_and_every_decision(
    world: World, fault: FaultClass
) -> None:
    await run_cases(world, [case for case in do_cases() if case.fault is fault])


@pytest.mark.parametrize("fault", FaultClass)
async def test_every_undo_meets_every_class(world: World, fault: FaultClass) -> None:
    await run_cases(world, [case for case in undo_cases() if case.fault is fault])


@pytest.mark.parametrize("fault", FaultClass)
async def test_what_the_billing_engine_issues_meets_every_class(
    world: World, fault: FaultClass
) -> None:
    clean = await clean_run_of(world, next(each for each in SUBJECTS if each.name == BY_STRIPE))
    cases = [
        replace(case, subject=BY_STRIPE)
        for case in (*do_cases(), *undo_cases())
        if case.fault is fault and clean.steps.get(case.step) == "stripe"
    ]
    assert len(cases) > 2
    await run_cases(world, cases)


@pytest.mark.soak
@pytest.mark.parametrize("fault", FaultClass)
async def test_the_full_product(world: World, fault: FaultClass) -> None:
    await run_cases(world, [case for case in full_cases() if case.fault is fault])
