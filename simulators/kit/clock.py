"""The clock of one account: real time with an offset, or frozen.

It drives token expiry, Retry-After and stamps.
"""

from datetime import UTC, datetime, timedelta


class Clock:
    """Aware UTC time which a test can move; one object for an account over all vendors."""

    def __init__(self) -> None:
        """Start at real time."""
        self._offset = timedelta()
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """Return the account's time."""
        return self._frozen or datetime.now(UTC) + self._offset

    @property
    def is_frozen(self) -> bool:
        """Whether time stands still until it is advanced, set or thawed."""
        return self._frozen is not None

    def set(self, moment: datetime) -> None:
        """Jump to an aware moment; a frozen clock stays frozen there."""
        if moment.tzinfo is None:
            raise ValueError("set needs a time zone, for example 2026-01-31T12:00:00Z")
        moment = moment.astimezone(UTC)
        if self._frozen is not None:
            self._frozen = moment
        self._offset = moment - datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Move by so many seconds; negative ones move back."""
        self.set(self.now() + timedelta(seconds=seconds))

    def freeze(self) -> None:
        """Stand still at the present moment."""
        self._frozen = self.now()

    def thaw(self) -> None:
        """Run on from the moment at which the clock stood."""
        if self._frozen is not None:
            self._offset = self._frozen - datetime.now(UTC)
            self._frozen = None

    def reset(self) -> None:
        """Return to real time."""
        self._offset = timedelta()
        self._frozen = None

    def dump(self) -> dict[str, str | float | None]:
        """Return the state for the state file."""
        frozen = self._frozen.isoformat() if self._frozen else None
        return {"offset_seconds": self._offset.total_seconds(), "frozen": frozen}

    def load(self, state: dict[str, str | float | None]) -> None:
        """Take a state which `dump` gave."""
        frozen = state["frozen"]
        self._offset = timedelta(seconds=float(state["offset_seconds"] or 0))
        self._frozen = datetime.fromisoformat(frozen) if isinstance(frozen, str) else None
