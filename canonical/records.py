"""What a write leaves behind, and what an undo does to it."""

from enum import StrEnum

from canonical.model import CanonicalModel


class RecordRef(CanonicalModel):
    """One record in a connected system."""

    system: str
    """Name of the connection."""
    type: str
    """The record's type in the canonical vocabulary: client, project, task_list, ..."""
    id: str


class WriteOutcome(StrEnum):
    """What `do` did to the record that its receipt names."""

    CREATED = "created"
    UPDATED = "updated"
    EXISTING = "existing"
    SKIPPED = "skipped"
    """The step is not needed, as a person decided or the systems show; none was changed."""


class Receipt(CanonicalModel):
    """Proof that a step is done: which record, and what became of it."""

    record: RecordRef
    outcome: WriteOutcome
    parts: tuple[RecordRef, ...] = ()
    """The further records of one atomic write, in the order of the request."""


class UndoResult(StrEnum):
    """What an undo came to (DESIGN 3.4)."""

    REMOVED = "removed"
    DEACTIVATED = "deactivated"
    REVERSED = "reversed"
    RESTORED = "restored"
    ABSENT = "absent"
    KEPT = "kept"


class UndoReceipt(CanonicalModel):
    """Proof of an undo; `residue` says what it could not remove, in words for a person."""

    result: UndoResult
    record: RecordRef | None = None
    residue: str = ""
    look_again: bool = False
    """The write's outcome was unknown and nothing was found: a late write may still land."""
