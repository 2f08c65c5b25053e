"""The command `trace`: the way back from an invoice, a draft, an entry or a saga."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from canonical.drafts import DraftState
from canonical.lifecycle import TrackedInvoice
from operations.billing import ENTRY_PATTERN, parse_entry
from operations.cli.billing import show_entry
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, say, show_json, show_table
from operations.cli.way_tree import show_way, show_way_json
from operations.composition import Office, open_office
from operations.invoice_files import invoices_of
from operations.people import Refused, short
from operations.queue import PREFIX
from operations.story import told
from operations.way_back import WayBack, WayFinder, subject_of
from store.audit import AuditEntry
from store.errors import NotFound
from store.sagas import CrossReference
from store.subledger import EntryTrace

NAMED_MAX: Final = 255

What = Annotated[
    str,
    typer.Argument(
        help="An invoice (number or <connection>/<id>), a draft, an entry (4711, expense:4711), "
        "an opportunity id or a saga's workflow id."
    ),
]


@dataclass
class Found:
    """What a word may mean, with the word that would say so and nothing else."""

    invoices: tuple[TrackedInvoice, ...] = ()
    drafts: tuple[str, ...] = ()
    entry: EntryTrace | None = None
    saga: str = ""
    """Workflow id."""
    acts: tuple[AuditEntry, ...] = field(default=())

    @property
    def choices(self) -> tuple[str, ...]:
        """The unambiguous name of each meaning."""
        names = [f"{subject_of(each)} (an invoice)" for each in self.invoices]
        names += [f"{each} (a draft)" for each in self.drafts]
        if self.entry is not None:
            names.append(f"{self.entry.ref} (an entry)")
        names += [f"{self.saga} (a saga)"] * bool(self.saga)
        return tuple(names)


@command
async def trace(
    what: What,
    everything: Annotated[
        bool, typer.Option("--all", help="Every entry, line and call, not the first 20 of each.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell where an invoice comes from, or what was done for an entry or a saga.

    An invoice or a draft shows its lines down to people, approvals, rates, deals and charges. A
    time entry or expense shows its versions, parts, cost and moves. A saga shows its audit trail
    and its records; exit code 1 says that the trail's chain of hashes is broken: someone changed
    it.
    """
    async with open_office(config) as office:
        found = await _found(office, what)
        if len(found.choices) > 1:
            fail(f"{short(what)} may mean {_or(found.choices)}: write one of these.")
        if found.invoices or found.drafts:
            way = await _way(office, found)
            show_way_json(way) if as_json else show_way(way, everything=everything)
        elif found.entry is not None:
            show_json(found.entry) if as_json else show_entry(found.entry)
        elif found.saga:
            await _tell_saga(office, found, as_json=as_json)
        else:
            fail(
                f"Nothing is known of {short(what)}: no invoice, draft, entry or saga is called so."
            )


async def _found(office: Office, what: str) -> Found:
    if len(what) > NAMED_MAX or not what.isprintable():
        raise Refused(f"{short(what)} cannot be the name of anything that can be traced.")
    found = Found(drafts=await _draft(office, what))
    if found.drafts:
        return found
    if ENTRY_PATTERN.fullmatch(what):
        traced = await office.store.subledger.trace(office.psa, parse_entry(what))
        found.entry = traced if traced.versions else None
        if ":" in what:
            return found
    found.saga, found.acts = await _saga(office, what)
    if found.saga == what:
        return found
    found.invoices = await invoices_of(office.store, what)
    if not found.choices and "/" in what:
        # Its id's ending is how the billing queue names a draft.
        drafts = await office.queue.list(tuple(DraftState))
        found.drafts = tuple(each.id for each in drafts if each.id.endswith(f"/{what}"))
    return found


async def _draft(office: Office, what: str) -> tuple[str, ...]:
    for candidate in (what, f"{PREFIX}{what}"):
        try:
            return ((await office.store.drafts.get(candidate)).id,)
        except NotFound:
            continue
    return ()


async def _saga(office: Office, what: str) -> tuple[str, tuple[AuditEntry, ...]]:
    """Return the saga that began under a name; invoices and drafts have trails and are none."""
    try:
        workflow_id = office.sagas.workflow_id(what)
    except Refused:
        return "", ()
    if await office.store.sagas.state(workflow_id) is None:
        return "", ()
    return workflow_id, await office.store.audit.trail(workflow_id)


async def _way(office: Office, found: Found) -> WayBack:
    finder = WayFinder(office.store)
    if found.drafts:
        return await finder.of_draft(found.drafts[0])
    record = found.invoices[0].record
    return await finder.of_invoice(record.system, record.id)


async def _tell_saga(office: Office, found: Found, *, as_json: bool) -> None:
    records = (await office.store.sagas.trace(found.saga)).references
    broken = await office.store.audit.verify(found.saga)
    if as_json:
        acts: list[dict[str, Any]] = [
            {**entry.model_dump(mode="json", exclude={"data_json"})}
            | {"data": json.loads(entry.data_json), "told": told(entry)}
            for entry in found.acts
        ]
        show_json(
            {"workflow_id": found.saga, "acts": acts, "records": records, "broken_at": broken}
        )
    else:
        acts_rows = ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, told(e)) for e in found.acts)
        show_table(found.saga, ("at (UTC)", "who", "what"), acts_rows)
        show_table("Records", ("system", "type", "id", "how", "by step"), map(_record, records))
        if broken is None:
            say("The trail is intact.")
    if broken is not None:
        fail(f"THE TRAIL IS BROKEN at entry {broken}: someone changed it.")


def _record(reference: CrossReference) -> tuple[str, ...]:
    record = reference.record
    how = f"{reference.outcome}, then undone" if reference.undone_at else reference.outcome
    return record.system, record.type, record.id, how, reference.step


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
