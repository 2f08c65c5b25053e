"""Who leads a project: asked of its PSA now and then, since they review its drafts."""

import contextlib
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import Rejected
from adapters.psa_port import Psa
from store import Store

BELIEVED: Final = timedelta(days=1)
"""How long the PSA's word is believed."""


async def note_lead(
    store: Store, psa: Psa, connection: str, project_id: str, now: datetime
) -> None:
    """Keep who leads a project, unless the PSA was asked a short while ago.

    One that refuses to say holds up nothing: the policy says who reviews then.
    """
    read_at = await store.master.lead_read_at(connection, project_id)
    if read_at is not None and now - read_at < BELIEVED:
        return
    with contextlib.suppress(Rejected):
        await store.master.put_lead(connection, project_id, await psa.read_lead(project_id))
