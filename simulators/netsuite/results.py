"""What a SuiteQL statement found, and the rows that are shown of it."""

from collections.abc import Callable, Sequence

from pydantic import JsonValue

from simulators.netsuite.cells import Env, Eval, cell_text
from simulators.netsuite.state import Fields


class Found:
    """The result of a statement; only the rows that are shown are made."""

    def __init__(
        self,
        envs: Sequence[Env],
        columns: Sequence[tuple[str, Eval]],
        joined: Callable[[Env], Env] = lambda env: env,
    ) -> None:
        """Keep what each row is made of; `joined` adds what was not joined yet."""
        self._envs = envs
        self._columns = columns
        self._joined = joined

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._envs)

    def rows(self, offset: int = 0, limit: int | None = None) -> list[Fields]:
        """Return rows: values are texts, empty columns are left out."""
        end = None if limit is None else offset + limit
        return [_row(self._columns, self._joined(env)) for env in self._envs[offset:end]]


class Made(Found):
    """A result whose rows were made at once: counted, or each but once."""

    def __init__(self, rows: list[Fields]) -> None:
        super().__init__((), ())
        self._rows = rows

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def rows(self, offset: int = 0, limit: int | None = None) -> list[Fields]:
        """Return rows."""
        return self._rows[offset : None if limit is None else offset + limit]


def _row(columns: Sequence[tuple[str, Eval]], env: Env) -> Fields:
    row: Fields = {"links": []}
    for name, value_of in columns:
        value = value_of(env)
        if value is not None:
            row[name] = cell_text(value)
    return row


def distinct(rows: list[Fields]) -> list[Fields]:
    """Return each row but once."""
    seen: dict[tuple[tuple[str, JsonValue], ...], Fields] = {}
    for row in rows:
        seen.setdefault(tuple((k, v) for k, v in row.items() if k != "links"), row)
    return list(seen.values())
