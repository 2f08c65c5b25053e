"""The two workflows of alerts on a real server, in the sandbox that workers use."""

from uuid import uuid4

from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.registration import implementations
from canonical.alerts import JudgeRules, SendAlerts
from operations.schedules import REGULAR
from operations.workers import workflow_runner
from store import Store
from tests.alerts.receivers import hook
from tests.alerts.test_delivery import Desk
from workflows.alerting import JudgeServiceLevels, TellPeople


async def test_an_alert_goes_from_the_measure_to_the_chat(
    temporal: WorkflowEnvironment, store: Store
) -> None:
    queue = f"alerts-{uuid4()}"
    desk = Desk(store)
    await desk.open("WI-1")
    async with hook() as chat:
        desk.add("chat", chat.url)
        async with Worker(
            temporal.client,
            task_queue=queue,
            workflows=[JudgeServiceLevels, TellPeople],
            activities=list(implementations([desk.worker]).values()),
            workflow_runner=workflow_runner(),
        ):
            judged = await temporal.client.execute_workflow(
                JudgeServiceLevels.run, JudgeRules(), id=f"{queue}/judge", task_queue=queue
            )
            sent = await temporal.client.execute_workflow(
                TellPeople.run, SendAlerts(), id=f"{queue}/tell", task_queue=queue
            )
        assert judged.raised == ("alert/late",)
        assert sent.sent == 2
        assert sorted(chat.titles)[0] == "CRITICAL: Work is late (1)"


def test_both_are_on_schedules() -> None:
    assert {JudgeServiceLevels.run, TellPeople.run} <= {each.run for each in REGULAR}
