"""What can go wrong in the store, and the one place where driver errors become that.

    StoreError
      StoreUnavailable   transient: the connection, a lock, a shutdown; try again
      Conflict           final: the store holds something that contradicts the request
        GenerationClosed final: the saga's generation sends nothing any more (DESIGN 3.2)
        DecisionRefused  final: the decision may not be acted on; `reason` says why
        SamePerson       final: who proposed a decision cannot be the second person
      NotFound           final: there is no such thing

Messages name ids and constraints, never values: no personal data leaves through an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

VALUE_REFUSED: Final = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


class StoreError(Exception):
    """Something went wrong in the store; `final` tells whether trying again is pointless."""

    final = True


class StoreUnavailable(StoreError):
    """The store cannot answer now: try again."""

    final = False


class Conflict(StoreError):
    """The store holds something that contradicts the request, or refuses a value of it."""


class GenerationClosed(Conflict):
    """The saga's generation is closed or was never begun: it must not send anything."""


class DecisionRefused(Conflict):
    """A decision may not be acted on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SamePerson(Conflict):
    """A second person is needed, and this is the first one again."""


class NotFound(StoreError):
    """There is no such thing in the store."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into the errors of this module.

    Raises:
        Conflict: a constraint or a type refused a value.
        StoreUnavailable: anything else, as it may be gone at the next try.
    """
    try:
        yield
    except (IntegrityError, DataError) as error:
        raise Conflict(_first_line(error)) from error
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if _is_about_a_value(error):
            raise Conflict(_first_line(error)) from error
        raise StoreUnavailable(_first_line(error)) from error


def _is_about_a_value(error: Exception) -> bool:
    """Whether the server refused a value: SQLAlchemy has no class for some, as for NUL in text."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "").startswith(VALUE_REFUSED)


def _first_line(error: Exception) -> str:
    """Return the message alone: its second line, the detail, holds values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).splitlines() or [type(cause).__name__]
    return lines[0][:500]
