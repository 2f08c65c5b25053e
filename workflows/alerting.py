"""Alerts, by a Schedule: service levels are judged, and people are told."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.activities import JUDGE_RULES, SEND_ALERTS
    from canonical.alerts import AlertsSent, JudgeRules, RulesJudged, SendAlerts

from datetime import timedelta

from temporalio.common import RetryPolicy

ROUND_TIME = timedelta(minutes=4)
"""Above the time that a round sends to a channel, below the lease of what it took."""
ROUND_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
"""The next round comes by itself."""


@workflow.defn
class JudgeServiceLevels:
    """One measurement of what is due; runs never overlap."""

    @workflow.run
    async def run(self, judge: JudgeRules) -> RulesJudged:
        """Raise and clear alerts; they go to the outbox."""
        judged: RulesJudged = await workflow.execute_activity(
            JUDGE_RULES.name,
            judge,
            result_type=JUDGE_RULES.result,
            start_to_close_timeout=ROUND_TIME,
            retry_policy=ROUND_RETRY,
            summary="Measure service levels",
        )
        return judged


@workflow.defn
class TellPeople:
    """One round over the outbox; runs never overlap."""

    @workflow.run
    async def run(self, send: SendAlerts) -> AlertsSent:
        """Hand the outbox to the channels."""
        sent: AlertsSent = await workflow.execute_activity(
            SEND_ALERTS.name,
            send,
            result_type=SEND_ALERTS.result,
            start_to_close_timeout=ROUND_TIME,
            retry_policy=ROUND_RETRY,
            summary="Tell people what waits",
        )
        return sent
