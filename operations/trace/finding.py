"""Which thread an id means: one, none, or several, with the name that means each alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from operations.mistakes import Mistake
from operations.people import short
from operations.trace.graph import NodeKind, node_id
from store import Store
from store.thread_ids import LOOKUPS, Meaning

NAMED_MAX: Final = 255
CHOICES_MAX: Final = 10
_WORKS_AT: Final = {
    "opportunity-to-project": NodeKind.DEAL,
    "milestone-to-invoice": NodeKind.MILESTONE,
    "invoice": NodeKind.INVOICE,
}
_IS_ITSELF: Final = {
    "billing-run": NodeKind.RUN,
    "invoice-draft": NodeKind.DRAFT,
    "credit": NodeKind.CREDIT,
}


class NothingCalled(Mistake):
    """Nothing has this id."""


class Ambiguous(Mistake):
    """Several things have this id."""

    def __init__(self, asked: str, choices: tuple[str, ...]) -> None:
        shown = choices[:CHOICES_MAX]
        more = f" ({len(choices) - len(shown)} more)" if len(choices) > len(shown) else ""
        self.named = f"{', '.join(shown[:-1])} or {shown[-1]}{more}"
        """What it may mean, each as it means itself alone."""
        super().__init__(f"{short(asked)} may mean {self.named}: write one of these.")


@dataclass(frozen=True)
class Found:
    """What an id means, and the contracts whose thread it is in."""

    focus: str
    """Id of its node: asked for as it stands, it means this and nothing else."""
    engagements: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    """Whose work no contract bills."""

    @property
    def kind(self) -> NodeKind:
        """What it is."""
        return NodeKind(self.focus.partition(":")[0])

    @property
    def name(self) -> str:
        """The node's id without its kind."""
        return self.focus.partition(":")[2]


@dataclass(frozen=True)
class Finder:
    """Finds what is called so in one store."""

    store: Store
    full_ids: Callable[[str], tuple[str, ...]] = lambda id_: (id_,)
    """Every way to write the id of a deal."""
    crms: tuple[str, ...] = ()

    async def find(self, asked: str) -> Found:
        """Return the one thing of this id.

        It is an id of any system, `<connection>/<id>`, `<kind>:<id>`,
        `<kind>:<connection>/<id>`, or the id of a workflow.

        Raises:
            Mistake: no id looks like this.
            NothingCalled: nothing has it.
            Ambiguous: several have; each is named.
        """
        if not asked or len(asked) > NAMED_MAX or not asked.isprintable():
            raise Mistake(f"{short(asked)} cannot be the name of anything that can be traced.")
        found = await self._found(asked)
        if not found:
            raise NothingCalled(f"Nothing is known of {short(asked)}: nothing has this id.")
        if len(found) > 1:
            raise Ambiguous(asked, tuple(each.focus for each in found))
        return await self._widened(found[0])

    async def _found(self, asked: str) -> list[Found]:
        kind, colon, rest = asked.partition(":")
        if colon and kind in LOOKUPS:
            found = merged(await self._called(rest, kind))
            return [each for each in found if each.focus == asked] or found
        subject = subject_of(asked)
        if subject is not None:
            return merged(await self._named(*subject))
        return merged(await self._called(asked))

    async def _called(self, word: str, kind: str = "") -> list[Meaning]:
        """Return what is called so, followed to what has a place in a thread."""
        given = await self._ask(word, "", kind)
        connection, slash, id_ = word.partition("/")
        if slash and connection and id_:
            given += await self._ask(id_, connection, kind)
        found: list[Meaning] = []
        sagas = [each for each in given if each.kind == "saga"]
        for meaning in given:
            if meaning.kind == "work_item":
                found += await self._waiting(meaning)
            elif meaning.kind != "saga":
                found.append(meaning)
        for saga in sagas:
            # Of several sagas with one correlation id, the first began the others.
            behind = await self._subject(saga.workflow_id)
            if behind:
                return found + [each for each in behind if each not in found]
        return found

    async def _ask(self, id_: str, system: str, kind: str) -> list[Meaning]:
        called = await self.store.thread_ids.called(
            id_, system=system, kind=kind, full_ids=self.full_ids(id_), crms=self.crms
        )
        return list(called)

    async def _waiting(self, item: Meaning) -> list[Meaning]:
        """Return a work item with the thread of what it stopped, or else of its client."""
        behind = await self._subject(item.workflow_id)
        if not behind:
            return [item]
        return [each.model_copy(update={"kind": item.kind, "id": item.id}) for each in behind]

    async def _subject(self, workflow_id: str) -> list[Meaning]:
        subject = subject_of(workflow_id)
        return [] if subject is None else await self._named(*subject)

    async def _named(self, kind: NodeKind, name: str) -> list[Meaning]:
        """Return the thing of this kind and this whole name."""
        connection, _, id_ = name.partition("/")
        found = await self._ask(name, "", kind)
        if not any((each.kind, each.id) == (kind, name) for each in found):
            found = await self._ask(id_, connection, kind)
        return [each for each in found if (each.kind, each.id) == (kind, name)]

    async def _widened(self, found: Found) -> Found:
        """Return a client with all its contracts, by whichever of its ids it was found."""
        if found.kind is not NodeKind.CLIENT:
            return found
        more = [
            each.engagement
            for each in await self._ask(found.name, "", found.kind)
            if (each.kind, each.id) == (found.kind, found.name)
        ]
        return Found(found.focus, tuple(dict.fromkeys((*found.engagements, *more))))


def subject_of(workflow_id: str) -> tuple[NodeKind, str] | None:
    """Return the node, as kind and name, at which a workflow works; None: at none."""
    head, _, rest = workflow_id.partition("/")
    if head == "time-to-billing":
        return NodeKind.PROJECT, rest.rpartition("/")[0]
    if head == "invoice-posting":
        return NodeKind.DRAFT, f"invoice-draft/{rest.rpartition('/')[0]}"
    if head == "invoice-look":
        return NodeKind.INVOICE, rest.rpartition("/")[0]
    if head in _IS_ITSELF:
        return _IS_ITSELF[head], workflow_id
    return (_WORKS_AT[head], rest) if head in _WORKS_AT else None


def merged(meanings: Iterable[Meaning]) -> list[Found]:
    """Return each thing once, with all contracts that it is of."""
    known: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for meaning in meanings:
        engagements, projects = known.setdefault(
            node_id(NodeKind(meaning.kind), meaning.id), ({}, {})
        )
        if meaning.engagement:
            engagements[meaning.engagement] = None
        elif meaning.project:
            projects[meaning.project] = None
    return [Found(focus, tuple(own), tuple(loose)) for focus, (own, loose) in known.items()]
