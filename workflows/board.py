"""What the Temporal Web UI and visibility tell about a saga: attributes, details, the view."""

from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from canonical.provisioning import StepRequest
    from canonical.records import Receipt, RecordRef, UndoReceipt
    from canonical.saga import (
        Decision,
        SagaPlan,
        StepReport,
        StepState,
        WorkItem,
    )

from workflows.step import Step

SAGA_STATE = SearchAttributeKey.for_keyword("SagaState")
STUCK_REASON = SearchAttributeKey.for_keyword("StuckReason")
BUSINESS_KEY = SearchAttributeKey.for_keyword("BusinessKey")
CLIENT_ID = SearchAttributeKey.for_keyword("ClientId")
CORRELATION_ID = SearchAttributeKey.for_keyword("CorrelationId")
STUCK_STEP = SearchAttributeKey.for_keyword_list("StuckStep")
PROJECT_CODE = SearchAttributeKey.for_keyword_list("ProjectCode")
LEGAL_ENTITY = SearchAttributeKey.for_keyword_list("LegalEntity")
RESPOND_BY = SearchAttributeKey.for_datetime("RespondBy")

SEARCH_ATTRIBUTES = (
    SAGA_STATE,
    STUCK_REASON,
    BUSINESS_KEY,
    CLIENT_ID,
    CORRELATION_ID,
    STUCK_STEP,
    PROJECT_CODE,
    LEGAL_ENTITY,
    RESPOND_BY,
)
"""All of DESIGN 11, created by worker and embedded stack where they are missing."""


@dataclass(eq=False)
class Row:
    """One step of a running saga, as far as it has come."""

    step: Step  # type: ignore[type-arg]  # rows of all request types live in one list
    request: StepRequest
    key: str
    state: StepState = StepState.PLANNED
    round: int = 0
    receipt: Receipt | None = None
    undo: UndoReceipt | None = None
    adopt: RecordRef | None = None
    outcome_unknown: bool = False
    note: str = ""

    @property
    def label(self) -> str:
        """What the step does, and for which of several: `Create the ERP project (US)`."""
        item = self.request.item
        return (
            f"{self.step.act} ({item})"
            if item not in {"", self.request.connection}
            else self.step.act
        )

    def report(self) -> StepReport:
        """Return the row as others may see it."""
        return StepReport(
            step=self.step.name,
            key=self.key,
            state=self.state,
            system=self.request.connection,
            receipt=self.receipt,
            undo=self.undo,
            note=self.note,
        )


@dataclass
class Parked:
    """A work item that waits, and the decision on it once there is one."""

    item: WorkItem
    row: Row | None
    decision: Decision | None = None
    held: bool = False


@dataclass
class Board:
    """Everything a saga shows of itself; changes reach visibility only when they differ."""

    rows: list[Row] = field(default_factory=list)
    parked: dict[str, Parked] = field(default_factory=dict)
    state: str = ""
    notes: list[str] = field(default_factory=list)
    _shown: dict[str, object] = field(default_factory=dict)

    def publish(self, state: str, plan: SagaPlan | None) -> None:
        """Bring search attributes and current details up to date."""
        self.state = state
        workflow.set_current_details(self.markdown(plan))
        items = [parked.item for parked in self.parked.values()]
        wanted: list[SearchAttributeUpdate[Any]] = []

        def show(update: SearchAttributeUpdate[Any], value: object) -> None:
            if self._shown.get(update.key.name) != value:
                self._shown[update.key.name] = value
                wanted.append(update)

        show(SAGA_STATE.value_set(state), state)
        if plan is not None:
            show(CLIENT_ID.value_set(plan.client_id), plan.client_id)
            show(PROJECT_CODE.value_set([plan.project_code]), plan.project_code)
            show(LEGAL_ENTITY.value_set(list(plan.legal_entities)), plan.legal_entities)
        if items:
            stuck = tuple(item.step for item in items)
            due = min(item.respond_by for item in items)
            show(STUCK_REASON.value_set(items[0].failure.reason), items[0].failure.reason)
            show(STUCK_STEP.value_set(list(stuck)), stuck)
            show(RESPOND_BY.value_set(due), due)
        elif self._shown.get(STUCK_REASON.name) is not None:
            show(STUCK_REASON.value_unset(), None)
            show(STUCK_STEP.value_unset(), None)
            show(RESPOND_BY.value_unset(), None)
        if wanted:
            workflow.upsert_search_attributes(wanted)

    def markdown(self, plan: SagaPlan | None) -> str:
        """Return the saga's story as the Web UI shows it."""
        lines = [f"**{plan.title}** · {plan.amount}" if plan else "_reading the deal_", ""]
        for parked in self.parked.values():
            item = parked.item
            lines += [
                f"**Stuck at `{item.step}`** ({item.failure.reason}): {item.failure.message}",
                f"Respond by **{item.respond_by:%Y-%m-%d %H:%M} UTC** with one of: "
                + ", ".join(item.verbs),
                "",
                f"`starter.py resolve {item.id} VERB --park {item.park} --as NAME`",
                "",
            ]
        lines += ["| step | system | state | record |", "| --- | --- | --- | --- |"]
        for row in self.rows:
            record = row.receipt.record if row.receipt else None
            shown = f"{record.type} {record.id} ({row.receipt.outcome})" if record else ""  # type: ignore[union-attr]
            undone = f" → {row.undo.result} {row.undo.residue}" if row.undo else ""
            lines.append(
                f"| {row.label} | {row.request.connection} | {row.state} "
                f"| {shown}{undone} {row.note} |"
            )
        return "\n".join([*lines, "", *self.notes])
