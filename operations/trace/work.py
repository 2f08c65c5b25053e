"""The middle of a thread: entries, timesheets, milestones, occurrences, runs and charges."""

from collections.abc import Mapping

from operations.trace.contracts import sagas_of
from operations.trace.graph import NodeKind, TraceAmount, Web, amount, node_id
from store.thread_models import ThreadEntry, ThreadFee, ThreadPart
from store.threads import Facts


def add_work(web: Web, facts: Facts) -> None:
    """Add what was done and fell due, and which run took it."""
    _runs(web, facts)
    _charges(web, facts)
    parts: dict[int, list[ThreadPart]] = {}
    for part in facts.parts:
        parts.setdefault(part.entry, []).append(part)
    for entry in facts.entries:
        _entry(web, entry, parts.get(entry.id, []))
    for fee in facts.fees:
        _fee(web, facts, fee)
    for charge in facts.charges:
        # Of what was rolled back no part tells any more.
        node = node_id(NodeKind.CHARGE, charge.external_id)
        if not any(target == node for _, target in web.edges):
            web.link(node_id(NodeKind.RUN, charge.run_key), node, "posted")


def _runs(web: Web, facts: Facts) -> None:
    for run in facts.runs:
        node = web.add(
            NodeKind.RUN,
            run.run_key,
            title=f"billing run {run.period}/{run.number}",
            state=run.state,
            facts={"entries": str(run.entries)}
            | ({"reservation": run.reservation} if run.reservation else {}),
            sagas=sagas_of(facts.sagas, run.run_key),
        )
        project = web.add(NodeKind.PROJECT, run.psa, run.project_id)
        web.link(project, node, "is billed by")


def _charges(web: Web, facts: Facts) -> None:
    for charge in facts.charges:
        web.add(
            NodeKind.CHARGE,
            charge.external_id,
            state=charge.state,
            amounts=(amount("amount", charge.amount, charge.currency),),
            facts={"in": charge.connection} if charge.connection else {},
        )


def _entry(web: Web, entry: ThreadEntry, parts: list[ThreadPart]) -> None:
    kind = NodeKind(entry.kind)
    node = web.add(
        kind,
        entry.source,
        entry.entry_id,
        title=_done(entry),
        state=f"{entry.state}, held" if entry.held else entry.state,
        on=entry.service_date,
        amounts=_amounts(entry, parts),
        facts=_facts(entry, parts),
    )
    project = web.add(NodeKind.PROJECT, entry.source, entry.project_id)
    if entry.submission_id:
        timesheet = web.add(NodeKind.TIMESHEET, entry.source, entry.submission_id)
        web.link(project, timesheet, "has")
        web.link(timesheet, node, "has")
    else:
        web.link(project, node, "has")
    runs = dict.fromkeys((*([entry.run_key] if entry.run_key else []), *_of(parts, "run_key")))
    for run in runs:
        web.link(node, node_id(NodeKind.RUN, run), "was taken by")
    for charge in _of(parts, "charge"):
        web.link(node, node_id(NodeKind.CHARGE, charge), "was posted as")
    for draft in _of(parts, "draft"):
        web.link(node, node_id(NodeKind.DRAFT, draft), "is billed on")


def _of(parts: list[ThreadPart], name: str) -> list[str]:
    return list(dict.fromkeys(found for part in parts if (found := getattr(part, name))))


def _done(entry: ThreadEntry) -> str:
    who = entry.person or (f"user {entry.person_id}" if entry.person_id else "")
    what = f"{entry.minutes} min" if entry.minutes is not None else ""
    return " · ".join(filter(None, (who, what)))


def _amounts(entry: ThreadEntry, parts: list[ThreadPart]) -> tuple[TraceAmount, ...]:
    """Return what became of it in its first billing cycle; unrated, what was recorded."""
    sums: dict[tuple[str, str], TraceAmount] = {}
    for part in parts:
        if part.cycle == 1:
            key = (part.disposition, part.currency)
            more = amount(part.disposition, part.amount, part.currency)
            known = sums.get(key)
            sums[key] = (
                more
                if known is None
                else more.model_copy(update={"money": known.money + more.money})
            )
    if not sums and entry.amount is not None:
        return (amount("recorded", entry.amount, entry.currency),)
    return tuple(sums.values())


def _facts(entry: ThreadEntry, parts: list[ThreadPart]) -> dict[str, str]:
    cycles = max((part.cycle for part in parts), default=1)
    facts: Mapping[str, str | None] = {
        "contract line": entry.line,
        "held": entry.held.replace("_", " "),
        "approved by": entry.approved_by,
        "billing cycles": str(cycles) if cycles > 1 else "",
    }
    return {name: value for name, value in facts.items() if value}


def _fee(web: Web, facts: Facts, fee: ThreadFee) -> None:
    kind = NodeKind(fee.source)
    id_ = node_id(kind, fee.item)
    web.nodes.pop(id_, None) if fee.cycle == 1 else None  # it tells more than its plan
    node = web.add(
        kind,
        fee.item,
        title=fee.narrative,
        state=f"{fee.state}, held" if fee.held else fee.state,
        amounts=(amount("amount", fee.amount, fee.currency),),
        facts={"period": fee.period} | ({"held": fee.held} if fee.held else {}),
    )
    project = web.add(NodeKind.PROJECT, fee.psa, fee.project_id)
    line = node_id(NodeKind.LINE, fee.engagement, fee.line)
    web.link(line if line in web.nodes else project, node, "makes due")
    if fee.run:
        run = web.add(
            NodeKind.RUN,
            fee.run,
            title=fee.run.partition("/")[0].replace("-", " "),
            state=facts.sagas[fee.run].outcome or "running" if fee.run in facts.sagas else "",
            sagas=sagas_of(facts.sagas, fee.run),
        )
        web.link(project, run, "is billed by")
        web.link(node, run, "was taken by")
    if fee.draft:
        web.link(node, node_id(NodeKind.DRAFT, fee.draft), "is billed on")
