"""A billing run's row under lock, and the checks that every act on a run begins with."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import AnyRow
from store.errors import Conflict, GenerationClosed, NotFound
from store.subledger_session import begin_act

_PROJECT = text("SELECT psa, project_id FROM billing_runs WHERE run_key = :run_key")
_RUN = text("SELECT * FROM billing_runs WHERE run_key = :run_key FOR UPDATE")
_STATE = text("""
    UPDATE billing_runs SET state = :state,
        ended_at = CASE WHEN :state IN ('handed_over', 'released') THEN now() END
    WHERE run_key = :run_key
""")


async def locked_run(session: AsyncConnection, act: str, run_key: str) -> AnyRow | None:
    """Begin an act on a run: its project's lock first, then the run's row."""
    project = (await session.execute(_PROJECT, {"run_key": run_key})).first()
    if project is None:
        return None
    await begin_act(session, act, project.psa, project.project_id)
    return (await session.execute(_RUN, {"run_key": run_key})).one()


async def active_run(session: AsyncConnection, act: str, run_key: str) -> AnyRow:
    """Begin an act on a run that may still do something.

    Raises:
        NotFound: there is no such run.
        GenerationClosed: it was released.
    """
    run = await locked_run(session, act, run_key)
    if run is None:
        raise NotFound(f"{run_key} was never opened")
    if run.state == "released":
        raise GenerationClosed(f"{run_key} was released: its entries are free")
    return run


def require(run: AnyRow, act: str, *states: str) -> None:
    """Refuse an act that this run is not ready for, or has left behind.

    Raises:
        Conflict: the run is in none of `states`.
    """
    if run.state not in states:
        raise Conflict(f"{run.run_key} is {run.state}: {act} takes one that is {states[0]}")


async def set_state(session: AsyncConnection, run_key: str, state: str) -> None:
    """Move the run's row; the end of a run gets its time."""
    await session.execute(_STATE, {"run_key": run_key, "state": state})
