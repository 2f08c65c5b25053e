"""A backfill over real processes: the worker is killed under it, calls fail; all is there once."""

import asyncio
import csv
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic import JsonValue

from canonical.backfill import BackfillKind, BackfillState, RecordState
from embedded.configuration import ACCOUNT
from embedded.processes import ROOT
from operations.backfill import PREFIX
from tests.e2e.test_worker_process import (
    WAIT_SECONDS,
    Plant,
    ground,  # noqa: F401 - a fixture
    plant,  # noqa: F401 - a fixture
)
from tests.sagas.backfill_scenes import CLOSED, FAST
from workflows.backfill import Backfill

DEALS = 24
FAULTS = (
    ("kantata", "provision_psa_project", "fail_before", 1),
    ("kantata", "provision_tasks", "drop_after", 2),
    ("netsuite", "provision_client", "fail_after", 1),
    ("netsuite", "provision_erp_project", "drop_after", 2),
    ("netsuite", "link_psa_project", "drop_before", 1),
    ("salesforce", "write_back", "fail_after", 1),
)
"""Some five percent of the writes."""


@pytest.mark.e2e
async def test_a_backfill_survives_its_worker_and_failing_calls(
    plant: Plant,  # noqa: F811
    tmp_path: Path,
) -> None:
    worker = await (await plant.worker()).ready()
    for vendor, step, kind, times in FAULTS:
        match: dict[str, JsonValue] = {"write": True, "correlation": rf"/\d+:{step}"}
        await plant.control.add_fault(vendor, ACCOUNT, match, kind, times=times)
    chosen = plant.ground.deals[:DEALS]
    desk = plant.office.backfills
    where = "Id IN ({})".format(", ".join(f"'{deal}'" for deal in chosen))
    window = desk.window(BackfillKind.OPPORTUNITIES, CLOSED, CLOSED, where)
    id_ = await desk.start(window, rate=FAST, in_flight_max=8)

    async with asyncio.timeout(WAIT_SECONDS):
        while (await desk.find(id_)).view.standing.count(RecordState.COMPLETED) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # what is waited for is in another process
    worker.send(signal.SIGKILL)
    assert await worker.ended() == -signal.SIGKILL
    # Nobody runs: the store still tells how far it has come.
    assert (await desk.find(id_)).view.standing.count() == DEALS
    await (await plant.worker()).ready()

    handle = plant.office.sagas.client.get_workflow_handle_for(Backfill.run, id_)
    async with asyncio.timeout(2 * WAIT_SECONDS):
        assert (await handle.result()).state is BackfillState.FINISHED
    file = tmp_path / "report.csv"
    name = id_.removeprefix(PREFIX)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), "backfill", "report", name),
        *("--csv", str(file), "--config", str(plant.ground.info.config)),
    )
    assert await process.wait() == 0
    with file.open(encoding="utf-8", newline="") as read:
        rows = list(csv.DictReader(read))
    assert Counter(row["state"] for row in rows) == {"completed": DEALS}
    assert {row["record"] for row in rows} == set(chosen)
    for vendor, type_ in (("netsuite", "job"), ("kantata", "workspaces")):
        records = await plant.control.records(vendor, ACCOUNT, type_)
        keys = Counter(str(e["key"]) for e in records if e["live"] and "dt-" in (e["key"] or ""))
        assert len(keys) == DEALS, vendor
        assert set(keys.values()) == {1}, vendor
    again = desk.dry_run(window)
    assert {e.state async for page in again for e in page} == {RecordState.ALREADY_DONE}
