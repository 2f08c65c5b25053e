"""What an entry as read does to what the subledger holds of it: decided here, written elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from canonical.entries import Entry, EntryRef

LIVE: Final = frozenset({"approved", "claimed", "rated", "placed"})
UNAPPROVED: Final = "unapproved"
SUPERSEDED: Final = "superseded"
VANISHED: Final = "vanished"

CHANGED_AFTER_BILLING: Final = "changed_after_billing"
"""The PSA refuses that: somebody forced it."""
BILLED_OUTSIDE: Final = "billed_outside"
RECREATED_AFTER_BILLING: Final = "recreated_after_billing"


@dataclass(frozen=True)
class Known:
    """One version of an entry as the subledger has it."""

    id: int
    version: str
    state: str
    handed_over: bool
    changed: str | None
    project_id: str
    vanished_at: datetime | None = None


@dataclass
class Decisions:
    """What to write for a batch of entries."""

    insert: list[tuple[Entry, str]] = field(default_factory=list)
    """New versions and the state they begin in."""
    readmit: list[tuple[int, Entry, str]] = field(default_factory=list)
    """Versions that are back, or moved to another project, and the state they go to."""
    withdraw: dict[int, str] = field(default_factory=dict)
    flag: dict[int, str | None] = field(default_factory=dict)
    """Versions inside an open run: what changed, or None where all is as claimed again."""
    changed_after: dict[EntryRef, str] = field(default_factory=dict)
    as_billed: list[EntryRef] = field(default_factory=list)
    rejudge: list[EntryRef] = field(default_factory=list)
    """A newer version came: what rating held against the older one counts no more."""
    outside: dict[EntryRef, str] = field(default_factory=dict)
    free: list[EntryRef] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    approved: int = 0
    withdrawn: int = 0
    superseded: int = 0
    unchanged: int = 0

    def take(
        self,
        entry: Entry,
        versions: Sequence[Known],
        ours: frozenset[str],
        renamed: frozenset[EntryRef] = frozenset(),
    ) -> None:
        """Decide on one entry as read.

        `ours` are reservations that Dealthread made. `renamed` are entries whose person has another
        e-mail address than before: the same version, but rated by what it says now.
        """
        live = _first(version for version in versions if version.state in LIVE)
        in_run = live is not None and live.state != "approved" and not live.handed_over
        if not in_run:
            self._reservation(entry, ours)
        if not entry.approved:
            self.gone(entry.ref, versions, UNAPPROVED)
        elif live is not None and live.handed_over:
            self._billed(entry, live)
        elif live is not None and in_run:
            self._claimed(entry, live, versions)
        else:
            self._free(entry, live, versions, renamed=entry.ref in renamed)

    def gone(self, ref: EntryRef, versions: Sequence[Known], why: str) -> None:
        """Decide on an entry that is no longer approved, or no longer there."""
        live = _first(version for version in versions if version.state in LIVE)
        if live is None:
            self.unchanged += 1
        elif live.handed_over:
            self.changed_after[ref] = f"{why} in the PSA after it was billed"
        elif live.state == "approved":
            self.withdraw[live.id] = why
            self.withdrawn += 1
        else:
            self._withdraw_waiting(versions, why)
            self.flag[live.id] = why
            self.withdrawn += 1

    def _billed(self, entry: Entry, live: Known) -> None:
        if entry.version == live.version:
            self.as_billed.append(entry.ref)
            self._came_back(live)
            self.unchanged += 1
        else:
            self.changed_after[entry.ref] = "changed in the PSA after it was billed"

    def _claimed(self, entry: Entry, live: Known, versions: Sequence[Known]) -> None:
        """A run holds the entry: it learns of a change, and the newer version waits for its end."""
        same = _first(version for version in versions if version.version == entry.version)
        if same is not None and same.state == "waiting":
            self.unchanged += 1
            return
        self._withdraw_waiting(versions, SUPERSEDED)
        if same is live and entry.project_id == live.project_id:
            self.flag[live.id] = None
            self._came_back(live)
            self.unchanged += 1
        elif same is live:
            # Its project's next run takes it in again, once this one has let it go.
            self.flag[live.id] = UNAPPROVED
            self.withdrawn += 1
        else:
            self._admit(entry, same, "waiting")
            self.flag[live.id] = SUPERSEDED
            self.superseded += 1

    def _free(
        self, entry: Entry, live: Known | None, versions: Sequence[Known], *, renamed: bool
    ) -> None:
        same = _first(version for version in versions if version.version == entry.version)
        if live is not None and same is live:
            if renamed or live.project_id != entry.project_id:
                self.readmit.append((live.id, entry, "approved"))
            if renamed:
                self.rejudge.append(entry.ref)
            self._came_back(live)
            self.unchanged += 1
            return
        if live is not None:
            self.withdraw[live.id] = SUPERSEDED
            self.superseded += 1
        if live is not None or (versions and same is None):
            self.rejudge.append(entry.ref)
        self._admit(entry, same, "approved")
        self.approved += 1

    def _admit(self, entry: Entry, same: Known | None, state: str) -> None:
        if same is None:
            self.insert.append((entry, state))
        else:
            self.readmit.append((same.id, entry, state))

    def _withdraw_waiting(self, versions: Iterable[Known], why: str) -> None:
        for version in versions:
            if version.state == "waiting":
                self.withdraw[version.id] = why

    def _came_back(self, live: Known) -> None:
        if live.vanished_at is not None:
            self.back.append(live.id)

    def _reservation(self, entry: Entry, ours: frozenset[str]) -> None:
        if entry.reservation_id and entry.reservation_id not in ours:
            self.outside[entry.ref] = f"on the PSA's invoice {entry.reservation_id}"
        else:
            self.free.append(entry.ref)


def live_project(versions: Iterable[Known]) -> str:
    """Return the project of the live version; empty where there is none."""
    live = _first(version for version in versions if version.state in LIVE)
    return "" if live is None else live.project_id


def _first(versions: Iterable[Known]) -> Known | None:
    return next(iter(versions), None)
