"""The command `trace`: everything that was done for a saga or an entry, and what came of it."""

import json

from operations.billing import ENTRY_PATTERN, parse_entry
from operations.cli.billing import show_entry
from operations.cli.options import Config, Json, Saga
from operations.cli.output import command, fail, say, show_json, show_table
from operations.composition import open_office
from operations.story import told
from store.sagas import CrossReference


@command
async def trace(saga: Saga, config: Config = None, as_json: Json = False) -> None:
    """Tell from the audit trail what was done for a saga, and by whom; list its records.

    A time entry or expense (4711, expense:4711) shows its versions, parts, cost and moves.

    Exit code 1 says that the trail's chain of hashes is broken: someone changed it.
    """
    async with open_office(config) as office:
        if ENTRY_PATTERN.fullmatch(saga):
            traced = await office.store.subledger.trace(office.psa, parse_entry(saga))
            if traced.versions:
                show_json(traced) if as_json else show_entry(traced)
                return
            if ":" in saga:
                fail(f"Nothing is known of {traced.ref}.")
        workflow_id = office.sagas.workflow_id(saga)
        entries = await office.store.audit.trail(workflow_id)
        if not entries:
            fail(f"Nothing is known of {workflow_id}, nor of an entry of this id.")
        records = (await office.store.sagas.trace(workflow_id)).references
        broken = await office.store.audit.verify(workflow_id)
    if as_json:
        acts = [
            {**entry.model_dump(mode="json", exclude={"data_json"})}
            | {"data": json.loads(entry.data_json), "told": told(entry)}
            for entry in entries
        ]
        show_json(
            {"workflow_id": workflow_id, "acts": acts, "records": records, "broken_at": broken}
        )
    else:
        acts_rows = ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, told(e)) for e in entries)
        show_table(workflow_id, ("at (UTC)", "who", "what"), acts_rows)
        show_table("Records", ("system", "type", "id", "how", "by step"), map(_record, records))
        if broken is None:
            say("The trail is intact.")
    if broken is not None:
        fail(f"THE TRAIL IS BROKEN at entry {broken}: someone changed it.")


def _record(reference: CrossReference) -> tuple[str, ...]:
    record = reference.record
    how = f"{reference.outcome}, then undone" if reference.undone_at else reference.outcome
    return record.system, record.type, record.id, how, reference.step
