"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

Config = Annotated[
    str | None,
    typer.Option("--config", help="Path of dealthread.toml.", envvar="DEALTHREAD_CONFIG"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LISTED_MAX: Final = 500
"""Most rows of one list; what follows them has an offset."""
Limit = Annotated[int, typer.Option(min=1, max=LISTED_MAX, help="At most so many.")]
Offset = Annotated[int, typer.Option(min=0, help="How many to leave out.")]
Id = Annotated[str, typer.Argument(help="A work item, a saga's workflow id, or an opportunity id.")]
Saga = Annotated[str, typer.Argument(help="An opportunity id, or a saga's workflow id.")]
Dir = Annotated[Path, typer.Option("--dir", help="Data, logs, secrets and configuration.")]
PortBase = Annotated[int, typer.Option(help="First port; every port moves with it.")]
