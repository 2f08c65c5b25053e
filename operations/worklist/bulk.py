"""One decision over all work that matches a filter: a bad one never stops the others."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from canonical.failures import StepFailed
from canonical.model import CanonicalModel
from canonical.saga import Verb, WorkItem, WorkItemKind
from canonical.worklist import Work, WorkFilter
from operations.people import Refused, check_role
from operations.sagas import SagaDesk
from operations.worklist.desk import MAY_SEE_TO, Worklist
from store.errors import StoreError

BULK_MAX: Final = 1_000
AT_ONCE: Final = 10
BULK_VERBS: Final = frozenset({Verb.RETRY, Verb.HOLD, Verb.ROLL_BACK})
"""What makes sense for many at once: what needs a record or evidence of each does not."""
SAGA_KINDS: Final = frozenset({WorkItemKind.STEP, WorkItemKind.GATE, WorkItemKind.UNDO})


class BulkState(StrEnum):
    """What became of one piece of work."""

    TAKEN = "taken"
    SECOND_PERSON = "second_person"
    """The decision is stored, and a second person has to approve it."""
    WOULD = "would"
    """Dry run: it would be decided."""
    REFUSED = "refused"


class Bulk(CanonicalModel):
    """Which work, and what is decided about each of it."""

    wanted: WorkFilter
    verb: Verb = Verb.RETRY
    because: str = ""
    limit: int = 100
    dry_run: bool = False


class BulkResult(CanonicalModel):
    """What became of one piece of work."""

    id: str
    title: str
    state: BulkState
    message: str
    """Why it was refused, or what it would do."""
    decision: str = ""


async def bulk(
    worklist: Worklist, desk: SagaDesk, asked: Bulk, *, by: str
) -> tuple[BulkResult, ...]:
    """Decide the same about each that matches, the most urgent first; one result for each.

    Who may decide on what, and what needs a second person, is as for a single decision.

    Raises:
        Refused: the verb makes no sense for many, or the person may not decide at all.
    """
    if asked.verb not in BULK_VERBS:
        allowed = ", ".join(sorted(BULK_VERBS))
        raise Refused(f"{asked.verb} is decided one by one; for many at once: {allowed}.")
    check_role(worklist.people, by, MAY_SEE_TO, f"{asked.verb} of many")
    limit = min(max(asked.limit, 1), BULK_MAX)
    listed = await worklist.list(asked.wanted, limit=limit)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(work: Work) -> BulkResult:
        async with gate:
            return await _decide(desk, work, asked, by)

    return tuple(await asyncio.gather(*(one(each.work) for each in listed)))


async def _decide(desk: SagaDesk, work: Work, asked: Bulk, by: str) -> BulkResult:
    try:
        item = await _item(desk, work)
        if asked.dry_run:
            return _told(work, BulkState.WOULD, await _would(desk, item, asked.verb))
        proposal = await desk.resolve(
            item, asked.verb, by=by, corrections={}, because=asked.because
        )
    except (Refused, StepFailed, StoreError, RPCError) as error:
        return _told(work, BulkState.REFUSED, str(error))
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        return _told(work, BulkState.REFUSED, f"The saga does not answer: {error}")
    decision = proposal.decision.id
    if proposal.taken is None:
        said = f"a second person has to approve {decision}"
        return _told(work, BulkState.SECOND_PERSON, said, decision)
    return _told(work, BulkState.TAKEN, f"{asked.verb}: the saga has taken it", decision)


async def _item(desk: SagaDesk, work: Work) -> WorkItem:
    """Return the work item behind it.

    Raises:
        Refused: no saga waits for a decision on it.
    """
    if work.kind not in SAGA_KINDS:
        raise Refused(f"{work.id} ({work.kind}) waits for no decision: see `work show {work.id}`.")
    return await desk.work_item(work.id, work.park)


async def _would(desk: SagaDesk, item: WorkItem, verb: Verb) -> str:
    effects = await desk.effects(item, verb)
    outside: Sequence[str] = [f"{each.act} {each.step} in {each.system}" for each in effects]
    return f"{verb} would " + ("; ".join(outside) if outside else "touch no system by itself")


def _told(work: Work, state: BulkState, message: str, decision: str = "") -> BulkResult:
    title = work.title or work.workflow_id
    return BulkResult(id=work.id, title=title, state=state, message=message, decision=decision)
