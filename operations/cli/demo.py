"""The demo: the whole story of the first saga, on the embedded stack, in half a minute.

Three deals go through; one is rejected for a missing mapping, corrected and resumed; one loses its
ERP connection after the write and still ends with one customer; one is rolled back.
"""

import asyncio
import time
from contextlib import suppress
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from canonical.saga import SagaResult, Verb, WorkItem
from embedded.configuration import ACCOUNT
from embedded.options import DIRECTORY, StackInfo, StackOptions
from embedded.ports import PORT_BASE
from embedded.stack import down, load, up_detached
from operations.cli.output import OUT, command, show_json, show_table
from operations.cli.stack import Dir, PortBase
from operations.composition import Office, open_office
from simulators.kit.control import Control

GOOD = ("tm-us", "fixed-de", "retainer-gb")
CORRECTED, INTERRUPTED, ROLLED_BACK = "missing-mapping", "mixed-jp", "two-entity"
WAIT_SECONDS = 60.0
SHOWN = {
    "salesforce": ("Opportunity",),
    "netsuite": ("customer", "job"),
    "kantata": ("workspace_groups", "workspaces", "stories", "billing_milestones"),
}


@command
async def demo(
    directory: Dir = DIRECTORY / "demo",
    port_base: PortBase = PORT_BASE + 100,
    keep: Annotated[bool, typer.Option(help="Leave the stack running afterwards.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcomes as JSON.")] = False,
) -> None:
    """Run the whole story and print what happened and where to look.

    Example: starter.py demo --keep
    """
    started = time.monotonic()
    info = load(directory)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True
    ) as progress:
        task = progress.add_task("starting the stack", total=None)

        def tell(text: str) -> None:
            progress.update(task, description=text)

        if info is None:
            info = await up_detached(
                StackOptions(directory=directory, port_base=port_base, progress=tell)
            )
        try:
            story = await _story(info, tell)
        finally:
            if not keep:
                tell("stopping the stack")
                with suppress(OSError):
                    await down(directory)
    if as_json:
        show_json(story)
        return
    show_table("Deals", ("deal", "what happened", "outcome"), story["deals"])
    show_table("Records", ("system", "type", "live"), story["records"])
    OUT.print(f"Done in {time.monotonic() - started:.0f} s.")
    if keep:
        OUT.print(f"Web UI: {info.addresses['temporal_ui']}", markup=False)
        OUT.print(f"Stop it with: starter.py down --dir {directory}", markup=False)


async def _story(info: StackInfo, tell: object) -> dict[str, list[tuple[object, ...]]]:
    say = tell if callable(tell) else print
    async with (
        open_office(str(info.config)) as office,
        Control(info.addresses["simulators"]) as control,
    ):
        await control.reset(ACCOUNT)
        await control.seed("standard", account=ACCOUNT)
        return await _Story(office, control, say).tell()


class _Story:
    """The acts of the demo; each deal runs beside the others."""

    def __init__(self, office: Office, control: Control, say: object) -> None:
        self._office = office
        self._control = control
        self._say = say
        self._ids: dict[str, str] = {}

    async def tell(self) -> dict[str, list[tuple[object, ...]]]:
        """Play all acts and return two tables: deals and records."""
        for record in await self._control.records("salesforce", ACCOUNT, type="Opportunity"):
            self._ids[str(record["fields"].get("Seed_Slug__c"))] = record["id"]
        ended = await asyncio.gather(
            *(self._plain(slug) for slug in GOOD),
            self._corrected(),
            self._interrupted(),
            self._rolled_back(),
        )
        return {"deals": list(ended), "records": await self._records()}

    async def _run(self, slug: str) -> "asyncio.Task[SagaResult]":
        handle = await self._office.sagas.start_opportunity(self._ids[slug])
        return asyncio.create_task(handle.result())  # type: ignore[arg-type]

    async def _plain(self, slug: str) -> tuple[object, ...]:
        result = await (await self._run(slug))
        return slug, "went through", result.outcome

    async def _corrected(self) -> tuple[object, ...]:
        running = await self._run(CORRECTED)
        item = await self._item(CORRECTED)
        await self._office.sagas.resolve(
            item, Verb.RETRY, by="olivia", corrections={"template": "implementation"}
        )
        why = f"stuck: {item.failure.reason} ({item.failure.field}); corrected, resumed"
        return CORRECTED, why, (await running).outcome

    async def _interrupted(self) -> tuple[object, ...]:
        await self._control.add_fault(
            "netsuite",
            ACCOUNT,
            {"write": True, "correlation": f"{self._ids[INTERRUPTED]}.*:provision_client"},
            "drop_after",
        )
        result = await (await self._run(INTERRUPTED))
        return (
            INTERRUPTED,
            "ERP connection lost after the write; looked up, one customer",
            (result.outcome),
        )

    async def _rolled_back(self) -> tuple[object, ...]:
        await self._control.add_fault(
            "kantata",
            ACCOUNT,
            {"write": True, "correlation": f"{self._ids[ROLLED_BACK]}.*:provision_milestones"},
            "reject",
        )
        running = await self._run(ROLLED_BACK)
        item = await self._item(ROLLED_BACK)
        await self._office.sagas.resolve(item, Verb.ROLL_BACK, by="olivia", corrections={})
        return (
            ROLLED_BACK,
            f"refused at {item.step}; rolled back by olivia",
            ((await running).outcome),
        )

    async def _item(self, slug: str) -> WorkItem:
        workflow_id = self._office.sagas.workflow_id(self._ids[slug])
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for item in await self._office.sagas.stuck():
                    if item.workflow_id == workflow_id:
                        return item
                await asyncio.sleep(0.1)

    async def _records(self) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for vendor, types in SHOWN.items():
            records = await self._control.records(vendor, ACCOUNT)
            for type_ in types:
                live = [r for r in records if r["type"] == type_ and r["live"]]
                rows.append((vendor, type_, len(live)))
        return rows
