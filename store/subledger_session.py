"""What every act on the subledger begins with: its name for the trail, and the project's lock.

Acts on one project wait for one another, so that a claim is all that is approved rather than what
happened to be unlocked. Runs of different projects meet only at the rows of a shared cap.
"""

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import EntryRef

_ACT = text("SELECT set_config('dealthread.act', :act, true)")
_LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('subledger:' || project, 0))
    FROM unnest(CAST(:projects AS text[])) AS project
""")


async def begin_act(session: AsyncConnection, act: str, source: str, *projects: str) -> None:
    """Name the act of this transaction, and wait until nobody else acts on these projects."""
    await session.execute(_ACT, {"act": act})
    names = sorted({f"{source}/{project}" for project in projects})
    if names:
        await session.execute(_LOCK, {"projects": names})


def as_rows(values: Iterable[Mapping[str, object]]) -> str:
    """Return `values` as JSON for `jsonb_to_recordset`: many rows as one parameter, exactly."""
    return json.dumps(list(values), default=str)


def ref_rows(refs: Iterable[EntryRef]) -> str:
    """Return references as rows of `kind` and `entry_id`; each once."""
    return as_rows({"kind": ref.kind.value, "entry_id": ref.id} for ref in dict.fromkeys(refs))
