"""Listings that are paged by `id > last`, found once and kept while nothing changes.

Each page is a query of its own: found anew, a listing would cost the square of its length.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from weakref import WeakKeyDictionary

from simulators.kit import Account, RecordStore
from simulators.netsuite.cells import Env
from simulators.netsuite.lookups import conjuncts
from simulators.netsuite.statement import AllOf, Column, Compare, Condition, Literal, Statement

KEPT_MAX = 4
"""Listings that are kept of one account: as many as are read side by side."""
SHORT = 1_000
"""What is no longer than a page is not worth keeping."""

Resolve = Callable[[Column], tuple[str, str]]
"""Tells the table and the name of a column."""
Run = Callable[[Statement], list[tuple[int, Env]]]


@dataclass(frozen=True)
class Keyset:
    """A statement that asks for the page after an id, as the whole listing and that id."""

    whole: Statement
    after: Decimal
    own_id: Column


@dataclass(frozen=True)
class Listing:
    """A whole listing in the order of ids."""

    ids: Sequence[int]
    envs: Sequence[Env]

    def after(self, last: Decimal) -> Sequence[Env]:
        """Return what comes after an id."""
        return self.envs[bisect_right(self.ids, last) :]


@dataclass
class _Kept:
    """The listings of one account, as of one state of its records."""

    changes: int = -1
    listings: dict[Statement, Listing] = field(default_factory=dict)


_kept: WeakKeyDictionary[RecordStore, _Kept] = WeakKeyDictionary()


def keyset_of(statement: Statement, resolve: Resolve) -> Keyset | None:
    """Return a statement as a page of a listing by id, or None where it is none."""
    own = (statement.source.alias, "id")
    order = statement.order
    if len(order) != 1 or order[0].descending or not isinstance(order[0].operand, Column):
        return None
    if resolve(order[0].operand) != own:
        return None
    parts = conjuncts(statement.where)
    for place, part in enumerate(parts):
        match part:
            case Compare(Column() as column, ">", Literal(Decimal() as after)):
                if resolve(column) == own:
                    rest = parts[:place] + parts[place + 1 :]
                    return Keyset(replace(statement, where=_all(rest)), after, column)
    return None


def listing_of(account: Account, whole: Statement, run: Run) -> Listing:
    """Return a whole listing, kept from an earlier page where nothing has changed since."""
    store = account.store
    kept = _kept.setdefault(store, _Kept())
    if kept.changes != store.changes or store.veils:
        kept.changes = store.changes
        kept.listings.clear()
    if whole in kept.listings:
        return kept.listings[whole]
    rows = run(whole)
    listing = Listing([id_ for id_, _ in rows], [env for _, env in rows])
    if len(rows) > SHORT and not store.veils:
        while len(kept.listings) >= KEPT_MAX:
            del kept.listings[next(iter(kept.listings))]
        kept.listings[whole] = listing
    return listing


def _all(parts: list[Condition]) -> Condition | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))
