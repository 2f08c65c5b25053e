"""What happens to drafts in the store: assembled, acted upon, escalated. Run beside the workflows.

Acts are judged by a pure policy while the drafts are locked; taken or refused, they are answered
once for each id, and are in the audit trail.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from activities.failures import final
from activities.registration import implements
from canonical import activities as ref
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
from policies.drafting import Group, draft_of, groups_of, is_due
from policies.preflight import Standing
from policies.queue import judge
from policies.queue_case import ENGINE, Actor, Case, Judged
from store import Store
from store.draft_change import Change, LockedDrafts
from store.errors import Conflict, NotFound, StoreError

BILLABLES_MAX = 5_000
"""Amounts that one pass of assembling looks at."""
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

    @implements(ref.ASSEMBLE_DRAFTS)
    async def assemble_drafts(self, wanted: AssembleDrafts) -> Assembled:
        """Make drafts of what was handed over and is due, group by group.

        Idempotent: what is on a draft is not drafted again; a group of which something was taken
        meanwhile waits for the next pass, whole.
        """
        free = await self.store.drafts.billables(
            psa=wanted.psa,
            project_id=wanted.project_id,
            client_id=wanted.client_id,
            limit=BILLABLES_MAX,
        )
        now = self.now()
        due = [
            each for each in free if wanted.everything or is_due(each, self.bundle(each.erp), now)
        ]
        drafts = [
            await self._draft(group, bundle, now)
            for bundle, billables in self._by_bundle(due)
            for group in groups_of(billables, bundle)
        ]
        opened = await self.store.drafts.open(drafts)
        return Assembled(drafts=opened, more=len(free) >= BILLABLES_MAX and bool(opened))

    def _by_bundle(self, billables: list[Billable]) -> list[tuple[Bundle, list[Billable]]]:
        by_erp: dict[str, list[Billable]] = {}
        for each in billables:
            by_erp.setdefault(each.erp, []).append(each)
        return [(self.bundle(erp), mine) for erp, mine in sorted(by_erp.items())]

    async def _draft(self, group: Group, bundle: Bundle, now: datetime) -> Draft:
        number = await self.store.drafts.next_number(group.prefix)
        zone = ZoneInfo(bundle.zone(group.billables[0].legal_entity))
        return draft_of(group, number, bundle, now.astimezone(zone).date(), now)

    @implements(ref.READ_DRAFT)
    async def read_draft(self, wanted: DraftInput) -> DraftStanding:
        """Return where a draft stands. Changes nothing."""
        try:
            draft = await self.store.drafts.get(wanted.draft)
        except NotFound as error:
            raise final(_impossible(error)) from error
        return await self._standing(draft)

    @implements(ref.ACT_ON_DRAFT)
    async def act_on_draft(self, wanted: ActOnDraft) -> DraftAnswer:
        """Take an act or refuse it with all reasons. Key: its id; the same again is answered so."""
        act = wanted.act
        ids = [wanted.draft, *([act.other] if isinstance(act, Merge) else [])]
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
        """Let finance review too, once, and tell them. Key: draft and version."""

        def decide(locked: LockedDrafts) -> Change:
            draft = locked.drafts[0]
            late = draft.model_copy(update={"escalated": True, "review_until": None})
            waits = draft.state is DraftState.IN_REVIEW
            changed = waits and not draft.escalated
            answer = _answer(late if changed else draft, taken=changed)
            return Change(
                answer=answer,
                act="escalate",
                by=ENGINE,
                drafts=(late,) if changed else (),
                data={"reviewer": draft.reviewer, "delegate": draft.delegate},
            )

        await self.store.drafts.change((wanted.draft,), decide, act_id=f"{wanted.draft}/escalate")
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
            siblings=tuple(
                each
                for each in locked.family
                if each.family == draft.family and each.id != draft.id
            ),
            po=locked.pos.get(draft.client_po),
            client_holds=locked.client_holds,
            held=locked.held,
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
            review_until=draft.review_until,
            posting=draft.posting,
            content_hash=draft.content_hash,
            invoice=invoice,
            summary=_summary(draft),
        )


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
