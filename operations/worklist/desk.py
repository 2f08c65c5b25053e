"""One list of all that waits for people, and what they put down about it (DESIGN 3.6)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from canonical.model import CanonicalModel
from canonical.saga import WorkItemKind
from canonical.worklist import (
    COMMENT_MAX,
    STUCK_ID,
    Cluster,
    Comment,
    Work,
    WorkFilter,
    WorkSort,
)
from operations.people import ADMIN, FINANCE, OPERATOR, Refused, check_role, short
from operations.worklist.actions import actions
from policies.stuck import StuckRules
from store import Store

CONTROLLER: Final = "controller"
MAY_SEE_TO: Final = {OPERATOR, FINANCE, CONTROLLER, ADMIN}
"""Roles that own, comment on and acknowledge work: all but those that only look."""
LISTED_MAX: Final = 1_000


class NoSuchWork(Refused):
    """There is no such open work: it is closed, its cause is gone, or it never was."""


class Listed(CanonicalModel):
    """A piece of work with where to look and what to do."""

    work: Work
    link: str
    """Its page in the Web UI; empty where no workflow is behind it."""
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Worklist:
    """Reads the list, and takes down who sees to what."""

    store: Store
    people: Mapping[str, frozenset[str]]
    """Roles by name, from `dealthread.toml`."""
    link: Callable[[str], str]
    """Returns a workflow's page in the Web UI."""
    rules: Callable[[], StuckRules]

    # Looking.

    async def list(
        self,
        wanted: WorkFilter,
        *,
        sort: WorkSort = WorkSort.URGENCY,
        limit: int = 50,
        offset: int = 0,
        as_: str = "NAME",
    ) -> tuple[Listed, ...]:
        """Return open work, each with its link and the commands that help."""
        rules = self.rules()
        found = await self.store.worklist.list(
            wanted,
            hold_seconds=rules.hold_seconds,
            respond_seconds=rules.respond_seconds,
            sort=sort,
            limit=min(limit, LISTED_MAX + 1),
            offset=offset,
        )
        return tuple(self._listed(work, as_) for work in found)

    async def show(self, work_id: str, as_: str = "NAME") -> tuple[Listed, tuple[Comment, ...]]:
        """Return one piece of open work with its comments.

        Raises:
            NoSuchWork: there is none, or it is closed.
        """
        work = await self.work(work_id)
        return self._listed(work, as_), await self.store.worklist.comments(work.id)

    async def work(self, work_id: str) -> Work:
        """Return one piece of open work.

        Raises:
            NoSuchWork: there is none, or it is closed.
        """
        rules = self.rules()
        if work_id and "\x00" not in work_id:
            found = await self.store.worklist.get(
                work_id, hold_seconds=rules.hold_seconds, respond_seconds=rules.respond_seconds
            )
            if found is not None:
                return found
            stored = await self.store.work_items.get(work_id)
            if stored is not None:
                raise NoSuchWork(f"{work_id} is closed: {stored.how or 'nobody said how'}.")
        raise NoSuchWork(
            f"There is no open work {short(work_id)}: its cause may be gone. "
            "`starter.py work list` shows what there is."
        )

    async def clusters(self, wanted: WorkFilter) -> tuple[Cluster, ...]:
        """Return open work by cause, the largest cluster first, with the money at risk."""
        rules = self.rules()
        return await self.store.worklist.clusters(
            wanted, hold_seconds=rules.hold_seconds, respond_seconds=rules.respond_seconds
        )

    # Seeing to it.

    async def assign(self, work_id: str, owner: str, *, by: str) -> Work:
        """Let a person see to it, oneself or somebody else; the trail keeps who did.

        Raises:
            Refused: there is no such work, or one of the two may not.
        """
        check_role(self.people, by, MAY_SEE_TO, "assigning work")
        check_role(self.people, owner, MAY_SEE_TO, "seeing to work")
        work = await self.work(work_id)
        await self.store.worklist.assign(work, owner, by=by)
        return work.model_copy(update={"owner": owner})

    async def comment(self, work_id: str, text: str, *, by: str) -> Work:
        """Add a comment; it stays as it is.

        Raises:
            Refused: there is no such work, the person may not, or the text is no comment.
            Conflict: there are too many already.
        """
        check_role(self.people, by, MAY_SEE_TO, "commenting")
        text = text.strip()
        if not text or len(text) > COMMENT_MAX or "\x00" in text:
            raise Refused(f"A comment has 1 to {COMMENT_MAX} characters; this has {len(text)}.")
        work = await self.work(work_id)
        await self.store.worklist.comment(work, text, by=by)
        return work.model_copy(update={"comments": work.comments + 1})

    async def acknowledge(self, work_id: str, *, by: str, because: str) -> Work:
        """Put down that residue was seen to, and how; with that it leaves the list.

        Raises:
            Refused: it is no residue, the person may not, or no reason is given.
        """
        check_role(self.people, by, MAY_SEE_TO, "acknowledging residue")
        work = await self.work(work_id)
        if work.kind is not WorkItemKind.RESIDUE:
            raise Refused(f"{work.id} is no residue, and leaves the list {_how(work)}.")
        if not because.strip() or "\x00" in because:
            raise Refused(
                'Say what became of it: add --because "removed by hand in the ERP", for example.'
            )
        await self.store.worklist.acknowledge(work, by=by, because=because.strip())
        return work

    def _listed(self, work: Work, as_: str) -> Listed:
        # What is held is no workflow, and an aged hold is about what is held.
        has_page = bool(work.workflow_id) and work.reason != "hold_aged"
        link = self.link(work.workflow_id) if has_page else ""
        return Listed(work=work, link=link, actions=actions(work, as_))


def _how(work: Work) -> str:
    if work.verbs:
        return f"by a decision: starter.py resolve {work.id} VERB"
    if work.id.startswith(STUCK_ID) or work.kind is WorkItemKind.HELD:
        return "by itself once its cause is gone"
    return f"by {actions(work)[0]}"
