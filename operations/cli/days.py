"""Days as people type them."""

from datetime import date

from operations.cli.output import fail


def day_of(text: str, option: str = "") -> date:
    """Return the day that somebody typed, or end the command with a sentence."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        where = f"{option}: " if option else ""
        fail(f"{where}{text[:40]!r} is no day: write it as 2026-11-16.")
