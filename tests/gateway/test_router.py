"""The router: deals start their saga, entries go to their project, strangers are buried."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from canonical.entries import EntryKind, EntryRef
from canonical.time_to_billing import EntriesChanged, TimeToBillingInput
from gateway.drain import Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.router import EventRouter
from gateway.routing import Refused, Routed, Target, Verdict
from gateway.signals import NotSent, ServerAway, TemporalSender
from operations.people import Refused as Unknown
from store import Store
from store.inbox import EventState, Inbox
from tests.gateway.scene import Gateway, binary, cloudevent, salesforce, stripe, structured


async def open_period(psa: str, project: str) -> str:
    if project == "404":
        raise Unknown(f"No engagement has a project {project} in {psa}.")
    return "2026-11"


ROUTER = EventRouter(open_period, lambda _crm, id_: id_[:15] + "XYZ")


async def routed(inbox: Inbox) -> Sequence[Routed | Refused]:
    async with inbox.batch(100) as batch:
        return await ROUTER.route(batch.taken)


async def test_each_kind_goes_where_it_belongs(gateway: Gateway) -> None:
    entries = {"project": "48213", "entries": ["7", "expense:8"]}
    for request in (
        salesforce(),
        structured(cloudevent(data=entries, correlationid="c-9")),
        binary(entries | {"period": "2026-10"}),
        structured(cloudevent(id="e-3", data=entries | {"project": "404"})),
        structured(cloudevent(id="e-4", type="com.example.lunch", data="soup")),
        stripe(),
    ):
        assert (await gateway.send(request)).is_success
    # The second and the third have one id: the binary one is taken for a copy.
    deal, changed, unknown, lunch, paid = await routed(gateway.inbox)

    assert isinstance(deal, Routed)
    assert deal.target.workflow == "OpportunityToProject"
    assert deal.target.workflow_id == "opportunity-to-project/salesforce/006000000000001XYZ"
    assert deal.target.signal == ""
    assert isinstance(changed, Routed)
    target = changed.target
    assert target.workflow_id == "time-to-billing/kantata/48213/2026-11"
    assert (target.workflow, target.signal) == ("ApprovedTimeToBilling", "changed")
    assert target.message is not None
    assert target.message(changed.ids, "c-9") == EntriesChanged(
        entries=(
            EntryRef(kind=EntryKind.TIME, id="7"),
            EntryRef(kind=EntryKind.EXPENSE, id="8"),
        ),
        correlation_id="c-9",
    )
    assert isinstance(unknown, Refused)
    assert (unknown.verdict, unknown.reason) == (Verdict.DEAD, "unknown_project")
    for ignored in (lunch, paid):
        assert isinstance(ignored, Refused)
        assert ignored.verdict is Verdict.IGNORED


async def test_on_a_real_server_a_signal_starts_its_workflow_and_the_next_finds_it(
    gateway: Gateway, store: Store, temporal: WorkflowEnvironment
) -> None:
    project = f"p{datetime.now(UTC).timestamp():.0f}"
    sender = TemporalSender(temporal.client)
    drain = Drain(gateway.inbox, ROUTER, sender, GatewayMetrics(), Rules())
    for n in range(2):
        data = {"project": project, "entries": [f"time:{n}"]}
        await gateway.send(structured(cloudevent(id=f"e-{n}", data=data)))
        assert await drain.tick() == 1
    events = await gateway.events()
    assert {event.state for event in events} == {EventState.DELIVERED}
    handle = temporal.client.get_workflow_handle(events[0].workflow_id)
    # What the server keeps, whether or not a worker of this process has taken it meanwhile.
    kept = [event async for event in handle.fetch_history_events()]
    told = [
        EntriesChanged.model_validate_json(payload.data)
        for event in kept
        for payload in event.workflow_execution_signaled_event_attributes.input.payloads
    ]
    assert [entry.id for message in told for entry in message.entries] == ["0", "1"]
    await handle.terminate("seen")
    assert await store.work_items.list() == ()


async def test_a_server_that_is_away_is_told_from_one_that_refuses(
    temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def target(workflow_id: str) -> Target:
        of = TimeToBillingInput.model_validate(
            {"of": {"psa": "kantata", "project_id": "1", "period": "2026-11"}}
        )
        return Target("ApprovedTimeToBilling", workflow_id, "sagas", start=of)

    with pytest.raises(NotSent):
        await TemporalSender(temporal.client).send(target("x" * 2000), (), "")

    async def unavailable(*_: object, **__: object) -> None:
        raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    monkeypatch.setattr(Client, "start_workflow", unavailable)
    with pytest.raises(ServerAway):
        await TemporalSender(temporal.client).send(target("x"), (), "")
