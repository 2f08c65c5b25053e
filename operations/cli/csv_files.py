"""CSV files for spreadsheets, as every command with `--csv` writes them."""

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.cli.output import fail

Csv = Annotated[Path | None, typer.Option("--csv", help="Write them to this file.", dir_okay=False)]
FORMULA: Final = frozenset("=+@-\t\r")
"""How a cell begins that a spreadsheet would work out."""


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows; text that a spreadsheet would take for a formula is quoted, figures are not."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([_cell(cell) for cell in row] for row in rows)
    except OSError as error:
        fail(f"{path} can't be written: {error.strerror}.")


def _cell(cell: object) -> object:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell
