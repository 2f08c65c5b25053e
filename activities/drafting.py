"""What happens to drafts in the store: assembled, acted upon, escalated. Run beside the workflows.

Acts are judged by a pure policy while the drafts are locked; taken or refused, they are answered
once for each id, and are in the audit trail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from activities.failures import final
from activities.registration import implements
from canonical import activities as ref
from canonical.alerts import Alert, Severity, Waiting
from canonical.draft_acts import ActOnDraft, DraftAnswer, Merge
from canonical.draft_to_invoice import (
    Assembled,
    AssembleDrafts,
    DraftInput,
    DraftStanding,
    EscalateReview,
)
from canonical.drafts import Billable, Draft, DraftState
from canonical.failures import FailureDetail, FailureKind
from canonical.invoice_lifecycle import OpenLook
from canonical.time_to_billing import OpenedRun
from policies.bundle import Bundle
from policies.drafting import Group, LinesMax, draft_of, groups_of, is_due, unlimited
from policies.preflight import Standing
from policies.queue import judge, looked_over
from policies.queue_case import ENGINE, OPEN, Actor, Case, Judged
from policies.queue_lines import proposals
from policies.reviewing import reviewer_of
from store import Store
from store.draft_change import Change, LockedDrafts
from store.errors import Conflict, NotFound, StoreError

BILLABLES_MAX = 5_000
"""Amounts of one pass, unless a single client has more."""
OF_CLIENTS_MAX = 100_000
"""Of which no client has more that wait: they would be a hundred invoices."""
LATE_REVIEW = "review_escalated"
"""What people are told under; no rule of alerts.yaml, since it tells of a single draft."""
LINES_SHOWN = 50
"""Lines of a draft that the Web UI shows."""


@dataclass(frozen=True)
class DraftActivities:
    """The store's side of drafts."""

    store: Store
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    people: Mapping[str, Actor]
    """Who may act, by name."""
    now: Callable[[], datetime]
    lines_max: LinesMax = unlimited
    """By issuing connection."""

    @implements(ref.ASSEMBLE_DRAFTS)
    async def assemble_drafts(self, wanted: AssembleDrafts) -> Assembled:
        """Make drafts of what was handed over and is due, group by group.

        Idempotent: what is on a draft is not drafted again; a group of which something was taken
        meanwhile waits for the next pass, whole. A pass takes whole clients, so that none of their
        groups is cut in two.
        """
        waiting = await self.store.drafts.clients_to_bill(
            psa=wanted.psa,
            project_id=wanted.project_id,
            client_id=wanted.client_id,
            after=wanted.after,
        )
        clients = _of_one_pass(waiting)
        free = await self.store.drafts.billables(
            psa=wanted.psa, project_id=wanted.project_id, clients=clients, limit=OF_CLIENTS_MAX
        )
        now = self.now()
        due = [
            each for each in free if wanted.everything or is_due(each, self.bundle(each.erp), now)
        ]
        drafts = [
            await self._draft(group, bundle, now)
            for bundle, billables in self._by_bundle(due)
            for group in groups_of(billables, bundle, self.lines_max)
        ]
        opened = await self.store.drafts.open(drafts)
        return Assembled(
            drafts=opened,
            more=len(clients) < len(waiting),
            after=clients[-1] if clients else wanted.after,
        )

    def _by_bundle(self, billables: list[Billable]) -> list[tuple[Bundle, list[Billable]]]:
        by_erp: dict[str, list[Billable]] = {}
        for each in billables:
            by_erp.setdefault(each.erp, []).append(each)
        return [(self.bundle(erp), mine) for erp, mine in sorted(by_erp.items())]

    async def _draft(self, group: Group, bundle: Bundle, now: datetime) -> Draft:
        number = await self.store.drafts.next_number(group.prefix)
        zone = ZoneInfo(bundle.zone(group.billables[0].legal_entity))
        reviewer = reviewer_of(group, bundle, tuple(self.people.values()))
        return draft_of(group, number, bundle, now.astimezone(zone).date(), now, reviewer)

    @implements(ref.READ_DRAFT)
    async def read_draft(self, wanted: DraftInput) -> DraftStanding:
        """Return where a draft stands; the first time, look what would keep it from release."""
        try:
            draft = await self.store.drafts.get(wanted.draft)
            if draft.version == 1 and draft.state in OPEN:
                await self._first_look(draft)
                draft = await self.store.drafts.get(wanted.draft)
        except NotFound as error:
            raise final(_impossible(error)) from error
        return await self._standing(draft)

    async def _first_look(self, draft: Draft) -> None:
        """Put down what blocks a draft that nobody changed yet. Key: the draft."""

        def decide(locked: LockedDrafts) -> Change:
            current = locked.drafts[0]
            bundle = self.bundle(current.erp)
            standing = self._judged_by(current, locked, bundle)
            case = Case(Actor(ENGINE), standing, bundle.policies.invoicing)
            seen = looked_over(current, case)
            answer = _answer(seen, taken=True)
            return Change(answer=answer, act="preflight", by=ENGINE, drafts=(seen,))

        await self.store.drafts.change((draft.id,), decide, act_id=f"{draft.id}/preflight")

    @implements(ref.ACT_ON_DRAFT)
    async def act_on_draft(self, wanted: ActOnDraft) -> DraftAnswer:
        """Take an act or refuse it with all reasons. Key: its id; the same again is answered so."""
        act = wanted.act
        # A draft that is to be merged with itself is there once: the policy refuses it.
        ids = dict.fromkeys([wanted.draft, *([act.other] if isinstance(act, Merge) else [])])
        actor = self._actor(act.by)

        def decide(locked: LockedDrafts) -> Change:
            draft = locked.drafts[0]
            if actor is None:
                return _refused(draft, wanted, (_stranger(act.by, self.people),))
            other = locked.drafts[1] if len(locked.drafts) > 1 else None
            bundle = self.bundle(draft.erp)
            standing = self._judged_by(draft, locked, bundle)
            case = Case(actor, standing, bundle.policies.invoicing, other)
            judged = judge(draft, act, case)
            if judged.refused or judged.draft is None:
                return _refused(draft, wanted, judged.refused)
            return _taken(judged, wanted)

        try:
            return await self.store.drafts.change(tuple(ids), decide, act_id=wanted.id)
        except (NotFound, Conflict) as error:
            raise final(_impossible(error)) from error

    @implements(ref.ESCALATE_REVIEW)
    async def escalate_review(self, wanted: EscalateReview) -> DraftStanding:
        """Let finance review too, once, and tell them. Key: draft and version.

        A version that has changed since may have another deadline: the workflow reads it again.
        """

        def decide(locked: LockedDrafts) -> Change:
            draft = locked.drafts[0]
            late = draft.model_copy(update={"escalated": True, "review_until": None})
            waits = draft.state is DraftState.IN_REVIEW
            same = wanted.version in {0, draft.version}
            changed = waits and same and not draft.escalated
            answer = _answer(late if changed else draft, taken=changed)
            return Change(
                answer=answer,
                act="escalate",
                by=ENGINE,
                drafts=(late,) if changed else (),
                data={"reviewer": draft.reviewer, "delegate": draft.delegate},
                tells=(_late_review(draft, self.now()),) if changed else (),
            )

        key = f"{wanted.draft}/escalate/{wanted.version}"
        await self.store.drafts.change((wanted.draft,), decide, act_id=key)
        return await self.read_draft(DraftInput(draft=wanted.draft))

    @implements(ref.OPEN_LOOK)
    async def open_look(self, wanted: OpenLook) -> OpenedRun:
        """Return the number of the next look at an invoice; a retry may leave a gap."""
        of = wanted.of
        number = await self.store.drafts.next_number(
            f"invoice-look/{of.connection}/{of.invoice_id}"
        )
        return OpenedRun(number=number)

    def _actor(self, name: str) -> Actor | None:
        return Actor(ENGINE) if name == ENGINE else self.people.get(name)

    def _judged_by(self, draft: Draft, locked: LockedDrafts, bundle: Bundle) -> Standing:
        now = self.now()
        zone = ZoneInfo(bundle.zone(draft.legal_entity))
        return Standing(
            today=now.astimezone(zone).date(),
            now=now,
            siblings=tuple(each for each in locked.siblings if each.id != draft.id),
            kin=tuple(each for each in locked.kin if each.id != draft.id),
            vouchers=locked.vouchers,
            warnings=locked.warnings,
            closed=tuple(
                each.name
                for each in locked.closed
                if each.subsidiary == bundle.policies.legal_entities[draft.legal_entity].subsidiary
            ),
            po=locked.pos.get(draft.client_po),
            client_holds=locked.client_holds,
            held=locked.held,
            lines_max=self.lines_max(draft.connection),
        )

    async def _standing(self, draft: Draft) -> DraftStanding:
        # Draft and invoice change in one transaction: no other state has an invoice to look for.
        issued = draft.state is DraftState.INVOICED
        invoice = await self.store.draft_sources.invoice_of(draft.id) if issued else None
        return DraftStanding(
            state=draft.state,
            title=draft.title,
            client_id=draft.client_id,
            legal_entity=draft.legal_entity,
            project_codes=tuple(sorted({line.project_id for line in draft.lines})),
            connection=draft.connection,
            # Whoever was told once is not waited for again.
            review_until=None if draft.escalated else draft.review_until,
            version=draft.version,
            posting=draft.posting,
            content_hash=draft.content_hash,
            invoice=invoice,
            summary=_summary(draft),
        )


def _of_one_pass(waiting: Sequence[tuple[str, int]]) -> list[str]:
    """Return the first clients that have no more than one pass takes; one of them at least."""
    clients: list[str] = []
    amounts = 0
    for client, count in waiting:
        amounts += count
        if clients and amounts > BILLABLES_MAX:
            break
        clients.append(client)
    return clients


def _taken(judged: Judged, wanted: ActOnDraft) -> Change:
    draft = judged.draft
    if draft is None:
        raise ValueError("a refused act was taken")
    others = (judged.other,) if judged.other is not None else ()
    answer = _answer(draft, taken=True).model_copy(
        update={"ended": tuple(each.id for each in others)}
    )
    return Change(
        answer=answer,
        act=wanted.act.act,
        by=wanted.act.by,
        drafts=(draft, *others),
        made=(judged.made,) if judged.made is not None else (),
        data=wanted.act.model_dump(mode="json", exclude={"by", "act"}),
    )


def _refused(draft: Draft, wanted: ActOnDraft, reasons: tuple[str, ...]) -> Change:
    answer = _answer(draft, taken=False).model_copy(update={"reasons": reasons})
    data = wanted.act.model_dump(mode="json", exclude={"by", "act"})
    return Change(answer=answer, act=wanted.act.act, by=wanted.act.by, data=data)


def _answer(draft: Draft, *, taken: bool) -> DraftAnswer:
    return DraftAnswer(
        taken=taken,
        state=draft.state,
        content_hash=draft.content_hash,
        posting=draft.posting,
    )


def _impossible(error: StoreError) -> FailureDetail:
    return FailureDetail(kind=FailureKind.REJECTED, reason="draft_refused", message=str(error))


def _stranger(name: str, people: Mapping[str, Actor]) -> str:
    known = ", ".join(sorted(people)) or "nobody"
    return f"{name[:80]!a} is not in dealthread.toml under [people]; known: {known}"


def _late_review(draft: Draft, now: datetime) -> Alert:
    """Return what people are told of a review whose deadline has passed."""
    waits = Waiting(
        subject=draft.id,
        entity=draft.legal_entity,
        title=draft.title,
        workflow_id=draft.id,
        since=draft.review_until or now,
        amount=draft.gross,
    )
    who = draft.delegate or "anybody of finance"
    return Alert(
        rule=LATE_REVIEW,
        entity=draft.legal_entity,
        title=f"A draft's review is late: {who} may review it",
        command=f"starter.py queue show {draft.id}",
        severity=Severity.WARNING,
        count=1,
        since=waits.since,
        money=(draft.gross,),
        examples=(waits,),
        at=now,
    )


def _summary(draft: Draft) -> str:
    """Return a draft as the Web UI shows it to whoever looks for what waits for them."""
    waits = {
        DraftState.IN_REVIEW: f"waits for review by {draft.reviewer or 'the project manager'}",
        DraftState.QUEUED: "waits in the billing queue for finance to release it",
        DraftState.RELEASED: f"released by {draft.released_by}, on its way into the ledger",
    }
    lines = [
        f"**{draft.title}** · net {draft.net} · {waits.get(draft.state, draft.state)}",
        "",
        *(f"**Blocked:** {problem}" for problem in draft.problems),
        *([f"**Returned:** {draft.returned}"] if draft.returned else []),
        *(f"**Know:** {warning}" for warning in draft.warnings),
        *(f"**Proposed:** {proposal}" for proposal in proposals(draft)),
        "",
        f"`starter.py queue show {draft.id}`",
        "",
        "| line | what | net | |",
        "| --- | --- | --- | --- |",
        *(
            f"| {line.number} | {line.narrative[:80]} | {line.amount} | {line.state} |"
            for line in draft.lines[:LINES_SHOWN]
        ),
    ]
    if len(draft.lines) > LINES_SHOWN:
        lines.append(f"| … | {len(draft.lines) - LINES_SHOWN} more | | |")
    return "\n".join(lines)
