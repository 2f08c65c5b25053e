"""The engine's own activities: saga generations, work items, decisions. Store only."""

from collections.abc import Callable
from dataclasses import dataclass

from activities.failures import final
from activities.registration import implements
from canonical import activities as ref
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.saga import (
    Begin,
    Begun,
    CloseGeneration,
    CloseWorkItem,
    Decision,
    EscalateWorkItem,
    Finish,
    OpenWorkItem,
    Route,
    SealAudit,
    Sealed,
    TakeDecision,
)
from policies.corrections import check_corrections
from store import Store
from store.errors import DecisionRefused


@dataclass(frozen=True)
class EngineActivities:
    """What every saga needs of the store; quick, idempotent, retried for ever."""

    store: Store
    planning_route: Callable[[str], Route]
    """How a connection is read before there is a plan."""

    @implements(ref.BEGIN)
    async def begin(self, request: Begin) -> Begun:
        """Return the generation to run as, or the result of a completed one."""
        begun = await self.store.sagas.begin(request)
        return begun.model_copy(update={"route": self.planning_route(request.connection)})

    @implements(ref.FINISH)
    async def finish(self, request: Finish) -> None:
        """Record how the generation ended."""
        await self.store.sagas.finish(request.result)

    @implements(ref.CLOSE_GENERATION)
    async def close_generation(self, request: CloseGeneration) -> None:
        """Refuse every later claim of this generation."""
        await self.store.sagas.close_generation(
            request.workflow_id, request.generation, request.reason
        )

    @implements(ref.OPEN_WORK_ITEM)
    async def open_work_item(self, request: OpenWorkItem) -> None:
        """Put a parked step before people, with an alert."""
        await self.store.work_items.open(request)

    @implements(ref.CLOSE_WORK_ITEM)
    async def close_work_item(self, request: CloseWorkItem) -> None:
        """Take a work item off the list."""
        await self.store.work_items.close(request)

    @implements(ref.ESCALATE_WORK_ITEM)
    async def escalate_work_item(self, request: EscalateWorkItem) -> None:
        """Say that nobody answered in time."""
        await self.store.work_items.escalate(request)

    @implements(ref.SEAL_AUDIT)
    async def seal_audit(self, _request: SealAudit) -> Sealed:
        """Seal the newest entry of every subject that changed; again without changes seals none."""
        seal = await self.store.audit.seal_heads()
        return Sealed(subjects=seal.subjects, digest=seal.digest)

    @implements(ref.TAKE_DECISION)
    async def take_decision(self, request: TakeDecision) -> Decision:
        """Return the stored decision, once it may be acted on.

        A decision that is not in the store, not approved, or for another park is refused: an
        update sent past the CLI decides nothing.
        """
        try:
            decision = await self.store.decisions.take(request)
            check_corrections(decision.corrections)
        except StepFailed as error:
            raise final(error.detail) from error
        except DecisionRefused as error:
            raise final(
                FailureDetail(
                    kind=FailureKind.REJECTED, reason="decision_refused", message=str(error)
                )
            ) from error
        return decision
