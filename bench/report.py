"""What a bench found out: kept as JSON, shown as a table."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

MACHINE = f"{os.cpu_count()} cores, Python {platform.python_version()}"


@dataclass(frozen=True)
class Result:
    """One number with what it was measured under."""

    name: str
    value: float
    unit: str
    conditions: str
    goal: str = ""
    met: bool | None = None
    """Whether the goal was met; None where there is none."""


def at_least(limit: float, name: str, value: float, unit: str, conditions: str) -> Result:
    """Return a result that should not fall below a limit."""
    return Result(name, round(value, 3), unit, conditions, f"≥ {limit:g}", value >= limit)


def at_most(limit: float, name: str, value: float, unit: str, conditions: str) -> Result:
    """Return a result that should not rise above a limit."""
    return Result(name, round(value, 3), unit, conditions, f"≤ {limit:g}", value <= limit)


def plain(name: str, value: float, unit: str, conditions: str) -> Result:
    """Return a result without a goal."""
    return Result(name, round(value, 3), unit, conditions)


def write(results: list[Result], path: Path) -> None:
    """Write results; what an earlier run measured under other names stays."""
    names = {result.name for result in results}
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = [
        {key: value for key, value in asdict(result).items() if value not in ("", None)}
        | {"conditions": f"{result.conditions}; {MACHINE}"}
        for result in results
    ]
    rows = [row for row in before if row["name"] not in names] + rows
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def show(results: list[Result]) -> None:
    """Print the table."""
    table = Table("what", "value", "unit", "goal", "", title="Dealthread")
    for result in results:
        mark = {True: "met", False: "missed", None: ""}[result.met]
        table.add_row(result.name, f"{result.value:g}", result.unit, result.goal, mark)
    Console(width=120).print(table)
