"""What engine, activities and operators say to one another about a saga (DESIGN 3)."""

from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from canonical.failures import FailureDetail
from canonical.model import CanonicalModel
from canonical.records import Receipt, RecordRef, UndoReceipt

R = TypeVar("R", bound=CanonicalModel)


class Outcome(StrEnum):
    """How a saga ended (DESIGN 3.10)."""

    COMPLETED = "completed"
    COMPLETED_WITH_RESIDUE = "completed_with_residue"
    ROLLED_BACK = "rolled_back"
    ROLLED_BACK_WITH_RESIDUE = "rolled_back_with_residue"
    ABANDONED = "abandoned"


class SagaState(StrEnum):
    """Where a running saga stands; the outcomes of `Outcome` follow it (DESIGN 11)."""

    RUNNING = "running"
    WAITING = "waiting"
    NEEDS_ATTENTION = "needs_attention"
    ROLLING_BACK = "rolling_back"
    ROLLBACK_BLOCKED = "rollback_blocked"


class StepState(StrEnum):
    """Where one step stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"
    SKIPPED = "skipped"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_BLOCKED = "undo_blocked"
    RESIDUE = "residue"


class Route(CanonicalModel):
    """How calls to one connection are made: pinned by the plan, so a saga never changes course."""

    connection: str
    queue: str
    budget_seconds: float = 300.0
    """Time that real attempts may take together, back-off included, before the step parks."""
    attempt_seconds: float = 60.0
    """Start-to-close of one attempt; the HTTP deadline ends well before."""
    retry_seconds: float = 1.0
    """First back-off; doubled at each attempt, at most a minute."""
    settle_seconds: float = 10.0
    """How long after an unanswered write its effect may still appear."""
    slow_retry_seconds: float = 900.0
    """How often a step that parked for a transient cause is tried again by itself."""
    respond_seconds: float = 86_400.0
    """Time a person has before a parked step escalates."""
    roll_back_when_overdue: bool = False


class SagaPlan(CanonicalModel):
    """What every plan tells the engine, beside the saga's own requests."""

    bundle: str
    """Hash of the policy bundle that it was made with."""
    title: str
    """The deal in business words, for summaries and work items."""
    client_id: str = ""
    project_code: str = ""
    legal_entities: tuple[str, ...] = ()
    amount: str = ""
    """Money at stake, formatted, for work items."""
    routes: dict[str, Route] = {}
    """By connection name; the engine's own calls use none."""
    request_hashes: dict[str, str] = {}
    """By `<step>[:<item>]`: tells which steps a correction would change."""


class StepCall(CanonicalModel, Generic[R]):
    """The request of one step in the envelope that makes it repeatable."""

    key: str
    workflow_id: str
    generation: int
    step: str
    round: int = 0
    """Counts a person's decisions on this step; each gives it a new budget."""
    route: Route
    request: R
    adopt: RecordRef | None = None
    """An existing record that a person decided to use instead of a new one."""


class UndoCall(CanonicalModel, Generic[R]):
    """What an undo gets: enough to work from the key alone, receipt or not."""

    key: str
    workflow_id: str
    generation: int
    step: str
    round: int = 0
    route: Route
    request: R
    receipt: Receipt | None = None
    outcome_unknown: bool = False
    """No answer came for the write: what is not found now may land later."""


class Verb(StrEnum):
    """What a person can decide about a work item (DESIGN 3.6)."""

    RETRY = "retry"
    ADOPT = "adopt"
    SKIP = "skip"
    HOLD = "hold"
    APPROVE = "approve"
    """Only at a gate: go on."""
    ROLL_BACK = "roll_back"
    FINISH_FORWARD = "finish_forward"
    ACCEPT_RESIDUE = "accept_residue"
    ABANDON = "abandon"


class WorkItemKind(StrEnum):
    """What waits for a person."""

    STEP = "step"
    GATE = "gate"
    UNDO = "undo"
    DEAD_LETTER = "dead_letter"
    """An event that can't be handled: replayed once its cause is gone, not resolved."""
    NATIVE_CREDIT = "native_credit"
    """A credit that somebody made in the issuing system: its reason is told, not resolved."""
    DELIVERY = "delivery"
    """An invoice that did not reach the client: sent again, not resolved."""
    HELD = "held"
    """Entries that were held, by project and reason: corrected, released or written off."""
    RESIDUE = "residue"
    """What a rollback could not remove: removed by a person there, then acknowledged."""
    STUCK = "stuck"
    """A run that makes no progress and waits for nobody: the detector opens and closes it."""
    SCHEDULE = "schedule"
    """A contract line whose schedule can't be billed: closed by the run that can."""
    FINDING = "finding"
    """Systems that do not agree, as reconciliation found them."""
    DIFFERENCE = "difference"
    """An amount that the issuing system made otherwise than expected: tax beyond tolerance."""


class WorkItem(CanonicalModel):
    """Something a person must decide, with the context to decide it."""

    id: str
    workflow_id: str
    generation: int
    step: str
    key: str
    park: int
    """Grows with each park of the saga: an answer to an earlier one is stale."""
    kind: WorkItemKind
    failure: FailureDetail
    title: str = ""
    client_id: str = ""
    project_code: str = ""
    legal_entities: tuple[str, ...] = ()
    amount: str = ""
    connection: str = ""
    verbs: tuple[Verb, ...] = ()
    opened_at: datetime
    respond_by: datetime


class Resolve(CanonicalModel):
    """The update by which a stored decision reaches its saga; its id is the update's id."""

    decision_id: str
    work_item_id: str
    park: int
    verb: Verb


class Decision(CanonicalModel):
    """A person's decision as stored, before the saga hears of it."""

    id: str
    work_item_id: str
    park: int
    verb: Verb
    corrections: dict[str, str] = {}
    record_id: str = ""
    because: str = ""
    decided_by: str
    approved_by: str = ""


class Resolved(CanonicalModel):
    """The saga's answer to a decision that it took."""

    work_item_id: str
    verb: Verb
    replanned: tuple[str, ...] = ()
    """Steps whose request changes by the correction."""


class Preview(CanonicalModel):
    """Asks a saga what a decision would do, without deciding it."""

    work_item_id: str
    verb: Verb


class StepReport(CanonicalModel):
    """One row of the saga's account of itself."""

    step: str
    key: str
    state: StepState
    system: str = ""
    receipt: Receipt | None = None
    undo: UndoReceipt | None = None
    note: str = ""


class SagaResult(CanonicalModel):
    """How a saga ended, step by step."""

    workflow_id: str
    generation: int
    outcome: Outcome
    reason: str = ""
    steps: tuple[StepReport, ...] = ()


class SagaView(CanonicalModel):
    """A running saga's answer to the query `view`."""

    workflow_id: str
    generation: int
    state: str
    title: str = ""
    pivot_passed: bool = False
    steps: tuple[StepReport, ...] = ()
    work_items: tuple[WorkItem, ...] = ()


class Effect(CanonicalModel):
    """One external effect that a decision would have, for its dry run."""

    act: str
    """`do`, `undo` or `none`."""
    step: str
    system: str
    what: str


class SweepMode(StrEnum):
    """What a saga that was terminated is started again for (DESIGN 3.9)."""

    ROLL_BACK = "roll_back"
    FORWARD = "forward"


class Begin(CanonicalModel):
    """Asks the store whether this saga may begin, and as which generation."""

    workflow_id: str
    run_id: str
    saga: str
    business_key: str
    correlation_id: str = ""
    connection: str = ""
    """Where the saga reads its source record: its route is part of the answer."""
    input_json: str = ""
    """The saga's input, so that the sweep can start it again."""
    sweep: SweepMode | None = None


class LedgerEntry(CanonicalModel):
    """What the ledger knows of a step of an unfinished generation."""

    key: str
    step: str
    receipt: Receipt | None = None
    outcome_unknown: bool = False
    request_json: str = ""
    """The step's request as sent, so that an undo needs no history."""
    connection: str = ""


class Begun(CanonicalModel):
    """The store's answer: the generation to run as, or the result that stands."""

    generation: int
    completed: SagaResult | None = None
    closed: bool = False
    """An earlier run of this generation had begun to roll back: there is only that way on."""
    because: str = ""
    """Why it was closed."""
    open_steps: tuple[LedgerEntry, ...] = ()
    """Steps that an earlier, terminated run of this generation had begun."""
    plan_json: str = ""
    """The plan of that run."""
    route: Route | None = None
    """How the source record is read, before there is a plan."""


class UnfinishedSaga(CanonicalModel):
    """A saga whose generation is open, as the sweep sees it."""

    workflow_id: str
    generation: int
    saga: str
    """Workflow type."""
    input_json: str
    settled_steps: tuple[str, ...] = ()
    """Names of the steps that are done or whose outcome is unknown."""


class Sweep(CanonicalModel):
    """Asks for a sweep over terminated sagas."""

    limit: int = 500


class Swept(CanonicalModel):
    """What a sweep started again, by workflow id."""

    rolled_back: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()


class SealAudit(CanonicalModel):
    """Asks for a seal over the audit trail."""


class Sealed(CanonicalModel):
    """The seal: a digest over the newest entry of every subject that changed since the last."""

    subjects: int
    digest: str
    """Shown in the workflow's result: kept outside the database, it proves what was in it."""


class Finish(CanonicalModel):
    """Records how a generation ended; the same call twice writes once."""

    result: SagaResult


class CloseGeneration(CanonicalModel):
    """From now on this generation sends nothing but undos."""

    workflow_id: str
    generation: int
    reason: str


class OpenWorkItem(CanonicalModel):
    """Puts a parked step before people."""

    item: WorkItem


class CloseWorkItem(CanonicalModel):
    """Takes a work item off the list: decided, or its cause went away."""

    work_item_id: str
    park: int
    how: str
    decision_id: str = ""


class EscalateWorkItem(CanonicalModel):
    """The deadline of a work item has passed."""

    work_item_id: str
    park: int
    because: str


class TakeDecision(CanonicalModel):
    """Asks the store for a decision, and whether it may be acted on."""

    resolve: Resolve
    workflow_id: str
