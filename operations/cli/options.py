"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    str | None,
    typer.Option("--config", help="Path of dealthread.toml.", envvar="DEALTHREAD_CONFIG"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="A work item, a saga's workflow id, or an opportunity id.")]
Saga = Annotated[str, typer.Argument(help="An opportunity id, or a saga's workflow id.")]
Dir = Annotated[Path, typer.Option("--dir", help="Data, logs, secrets and configuration.")]
PortBase = Annotated[int, typer.Option(help="First port; every port moves with it.")]
