"""A worker process for the reconciliation of one account, which a test can kill.

python -m tests.support.reconciling_worker   (what it works with comes as JSON on its input)
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, SecretStr
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

import adapters.netsuite.extracts
import adapters.netsuite.records
from activities.extracting import ExtractActivities
from activities.reconciling import Healer, HealingRefused, ReconcileActivities
from activities.registration import implementations
from canonical.entries import EntryRef
from canonical.ids import Role
from canonical.saga import Route
from operations.workers import workflow_runner
from policies.bundle import load_bundle
from store import Store
from store.database import Database
from tests.support.world import VENDORS, CasePorts, case_bundle, vendor_of
from workflows.reconcile import Reconcile

PAGE: Final = 2
"""Rows that the ERP gives at a time, so that a kind is listed in many steps."""


class Workplace(BaseModel):
    """What the process works with."""

    temporal: str
    store: str
    queue: str
    urls: dict[str, str]
    credentials: dict[str, dict[str, str]]


async def work(at: Workplace) -> None:
    """Serve a queue until killed."""
    for module in (adapters.netsuite.extracts, adapters.netsuite.records):
        vars(module)["ROWS_MAX"] = PAGE
    client = await Client.connect(at.temporal, data_converter=pydantic_data_converter)
    store, bundle = Store(Database(SecretStr(at.store))), load_bundle(None)
    ports = CasePorts(urls=at.urls, credentials=at.credentials)

    def route(name: str) -> Route:
        ours = case_bundle(bundle, name).route(Role(VENDORS[vendor_of(name)]), name)
        return ours.model_copy(update={"queue": at.queue})

    reconciling = ReconcileActivities(
        store,
        lambda name: case_bundle(bundle, name),
        route,
        lambda: datetime.now(UTC),
        Healer(tell=_refuse_to_tell, look=_refuse_to_look),
    )
    worker = Worker(
        client,
        task_queue=at.queue,
        workflows=[Reconcile],
        activities=list(implementations([reconciling, ExtractActivities(store, ports)]).values()),
        workflow_runner=workflow_runner(),
    )
    await worker.run()


async def _refuse_to_tell(_psa: str, _project: str, _entries: Sequence[EntryRef]) -> None:
    raise HealingRefused("this worker only compares")


async def _refuse_to_look(_system: str, _invoice: str) -> None:
    raise HealingRefused("this worker only compares")


if __name__ == "__main__":
    asyncio.run(work(Workplace.model_validate_json(sys.stdin.read())))
