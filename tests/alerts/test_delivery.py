"""Alerts reach people: once, and again after they cleared; past channels that are down."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import structlog
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from activities.alerting import GIVE_UP_SECONDS, AlertActivities
from canonical.alerts import AlertsSent, JudgeRules, Measure, RulesJudged, SendAlerts, Severity
from canonical.saga import CloseWorkItem, EscalateWorkItem, OpenWorkItem, WorkItemKind
from operations.alerts import channel_of
from operations.config_models import ChannelConfig
from policies.alerting import Alerting, Rule
from policies.bundle import load_bundle
from store import Store
from tests.alerts.receivers import PASSWORD, SECRET, Hook, Mailbox, hook, mailbox
from tests.store.build import work_item

RULES = {
    "late": Rule(measure=Measure.WORK_OVERDUE, title="Work is late", severity=Severity.CRITICAL),
}
FAR = datetime(2030, 1, 1, tzinfo=UTC)
MUTE = "json://127.0.0.1:1/nobody-listens"


@dataclass
class Desk:
    """A store, channels, and a clock."""

    store: Store
    channels: dict[str, ChannelConfig] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=lambda: RULES)
    now: datetime = FAR

    def add(self, name: str, url: str, **values: Any) -> None:
        self.channels[name] = ChannelConfig(url=SecretStr(url), **values)

    @property
    def worker(self) -> AlertActivities:
        bundle = load_bundle()
        policies = bundle.policies.model_copy(update={"alerts": Alerting(rules=self.rules)})
        return AlertActivities(
            self.store,
            lambda _name: replace(bundle, policies=policies),
            {name: channel_of(name, each) for name, each in self.channels.items()},
            lambda id_: f"https://ui.example.com/{id_}",
            lambda: self.now,
        )

    async def judge(self) -> RulesJudged:
        self.now += timedelta(minutes=1)
        return await self.worker.judge_rules(JudgeRules())

    async def send(self) -> AlertsSent:
        return await self.worker.send_alerts(SendAlerts())

    async def open(self, *ids: str, **changes: Any) -> None:
        for id_ in ids:
            item = work_item(id_, workflow_id=f"saga/{id_}").model_copy(update=changes)
            await self.store.work_items.open(OpenWorkItem(item=item))

    async def close(self, *ids: str) -> None:
        for id_ in ids:
            await self.store.work_items.close(CloseWorkItem(work_item_id=id_, park=1, how="done"))

    async def everything_is_due(self) -> None:
        await self.store.database.run(
            text("UPDATE alert_deliveries SET due_at = now() WHERE state = 'waiting'")
        )

    async def states(self) -> dict[str, int]:
        rows = await self.store.database.rows(
            text("SELECT state, count(*) AS number FROM alert_deliveries GROUP BY state")
        )
        return {str(row.state): int(str(row.number)) for row in rows}


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


@pytest_asyncio.fixture
async def chat() -> AsyncIterator[Hook]:
    async with hook() as running:
        yield running


class TestServiceLevels:
    async def test_raised_once_cleared_and_raised_again(self, desk: Desk, chat: Hook) -> None:
        desk.add("chat", chat.url, severity="critical")
        await desk.open("WI-1")
        assert (await desk.judge()).raised == ("alert/late",)
        assert (await desk.judge()).raised == ()
        await desk.send()
        await desk.send()
        assert chat.titles == ["CRITICAL: Work is late (1)"]
        assert "https://ui.example.com/saga/WI-1" in chat.got[0]["message"]

        await desk.close("WI-1")
        assert (await desk.judge()).cleared == ("alert/late",)
        assert (await desk.judge()).cleared == ()
        await desk.open("WI-2")
        await desk.judge()
        await desk.send()
        assert chat.titles[1:] == ["Cleared: Work is late", "CRITICAL: Work is late (1)"]

    async def test_many_workers_raise_once(self, desk: Desk) -> None:
        await desk.open("WI-1")
        await desk.store.outbox.hand_over(lambda _message: ())
        workers = [desk.worker for _ in range(6)]
        await asyncio.gather(*(each.judge_rules(JudgeRules()) for each in workers))
        assert [each.kind for each in await desk.store.outbox.unsent()] == ["alert_raised"]

    async def test_a_rule_is_measured_as_often_as_it_says(self, desk: Desk) -> None:
        desk.rules = {"late": RULES["late"].model_copy(update={"every_seconds": 600.0})}
        assert (await desk.judge()).judged == ("late",)
        assert (await desk.judge()).judged == ()
        desk.now += timedelta(minutes=10)
        assert (await desk.judge()).judged == ("late",)

    async def test_what_is_silenced_is_told_afterwards(self, desk: Desk, chat: Hook) -> None:
        desk.add("chat", chat.url, severity="critical")
        await desk.open("WI-1")
        until = desk.now + timedelta(hours=1)
        await desk.store.alerts.silence("late", "", until=until, by="maya", because="moving")
        assert (await desk.judge()).raised == ()
        (state,) = await desk.store.alerts.states(desk.now)
        assert (state.standing, state.silenced_until) == ("raised", until)
        desk.now = until
        assert (await desk.judge()).raised == ("alert/late",)
        (entry,) = await desk.store.audit.trail("alert/late")
        assert (entry.actor, entry.act) == ("maya", "alert_silenced")

    async def test_a_rule_that_can_not_be_measured_stops_no_other(self, desk: Desk) -> None:
        broken = Rule(measure=Measure.CONSERVATION_BREAK, title="Sums")
        desk.rules = {"broken": broken, "late": RULES["late"]}
        await desk.open("WI-1")
        await desk.store.database.run(text("DROP TABLE reconciliation_findings CASCADE"))
        judged = await desk.judge()
        assert (judged.failed, judged.raised) == (("broken",), ("alert/late",))
        errors = {each.rule: bool(each.error) for each in await desk.store.alerts.rounds()}
        assert errors == {"broken": True, "late": False}

    async def test_a_rule_that_is_taken_away_is_forgotten(self, desk: Desk) -> None:
        await desk.open("WI-1")
        await desk.judge()
        desk.rules = {}
        await desk.judge()
        assert await desk.store.alerts.states(desk.now) == ()


class TestOutbox:
    async def test_a_work_item_reaches_chat_and_mailbox_once(self, desk: Desk, chat: Hook) -> None:
        with mailbox() as mail:
            desk.add("chat", chat.url)
            desk.add("mail", mail.url)
            await desk.open("WI-1", title="Acme rollout", amount="1,200.00 USD")
            assert (await desk.send()).sent == 2
            assert (await desk.send()).sent == 0
        assert chat.titles == ["Needs a person: Acme rollout - invalid"]
        ((subject, body, to),) = mail.got
        assert (subject, to) == (chat.titles[0], ["ops@example.com"])
        assert mail.logins == [("ops", PASSWORD)]
        for said in ("1,200.00 USD", "No tax id.", "starter.py work show WI-1", "nobody yet"):
            assert said in body
            assert said in chat.got[0]["message"]

    async def test_channels_get_what_they_take(self, desk: Desk, chat: Hook) -> None:
        async with hook() as german, hook() as late:
            desk.add("chat", chat.url, kinds=["work_item_opened"])
            desk.add("german", german.url, entities=["DE"])
            desk.add("late", late.url, severity="critical")
            await desk.open("WI-1", legal_entities=("US",))
            await desk.store.work_items.escalate(
                EscalateWorkItem(work_item_id="WI-1", park=1, because="late")
            )
            await desk.open("WI-2", legal_entities=("US", "DE"))
            await desk.send()
            assert (len(chat.got), len(german.got), len(late.got)) == (2, 1, 1)
            assert late.titles[0].startswith("Past its deadline")

    async def test_two_workers_at_once_send_once(self, desk: Desk, chat: Hook) -> None:
        desk.add("chat", chat.url)
        await desk.open(*(f"WI-{number}" for number in range(8)))
        workers = [desk.worker for _ in range(4)]
        done = await asyncio.gather(*(each.send_alerts(SendAlerts()) for each in workers))
        assert sum(each.sent for each in done) == 8
        assert len(chat.titles) == chat.tries == 8
        assert len({each["message"] for each in chat.got}) == 8

    async def test_a_channel_that_is_down_stops_no_other_and_gets_it_later(
        self, desk: Desk, chat: Hook
    ) -> None:
        async with hook() as down:
            down.status = 503
            desk.add("chat", chat.url)
            desk.add("down", down.url)
            await desk.open("WI-1", "WI-2")
            sent = await desk.send()
            assert (sent.sent, sent.failed) == (2, 1)
            assert (len(chat.got), down.tries) == (2, 1)
            (backlog,) = await desk.store.outbox.backlog()
            assert (backlog.channel, backlog.waiting) == ("down", 2)
            assert "503" in backlog.error

            await desk.send()  # the one that failed waits, the other one is tried
            assert down.tries == 2
            await desk.send()  # both wait
            assert down.tries == 2
            down.status = 200
            await desk.everything_is_due()
            assert (await desk.send()).sent == 2
            assert (len(down.got), len(chat.got)) == (2, 2)

    async def test_many_become_a_few_and_a_summary(self, desk: Desk, chat: Hook) -> None:
        desk.add("chat", chat.url)
        await desk.open(*(f"WI-{number}" for number in range(49)))
        assert (await desk.send()).sent == 49
        assert len(chat.got) == 10
        assert chat.titles[-1] == "and 40 more"
        assert "and 30 more" in chat.got[-1]["message"]

    async def test_nobody_is_told_of_what_is_done(self, desk: Desk, chat: Hook) -> None:
        desk.add("chat", chat.url)
        await desk.open("WI-1", "WI-2")
        await desk.close("WI-1")
        sent = await desk.send()
        assert (sent.sent, sent.moot) == (1, 1)
        assert "WI-2" in chat.got[0]["message"]

    async def test_a_worker_that_dies_leaves_its_messages_to_the_next(
        self, desk: Desk, chat: Hook
    ) -> None:
        desk.add("chat", chat.url)
        await desk.open("WI-1")
        await desk.store.outbox.hand_over(lambda _message: ("chat",))
        assert len(await desk.store.outbox.take("chat", limit=9, lease_seconds=60)) == 1
        assert (await desk.send()).sent == 0
        await desk.everything_is_due()  # the minute is over
        assert (await desk.send()).sent == 1

    async def test_what_waits_for_a_day_is_given_up(self, desk: Desk) -> None:
        desk.add("chat", MUTE)
        await desk.open("WI-1")
        await desk.send()
        old = text("UPDATE alert_deliveries SET made_at = now() - make_interval(secs => :age)")
        await desk.store.database.run(old, {"age": GIVE_UP_SECONDS + 1})
        assert (await desk.send()).given_up == 1
        assert await desk.states() == {"given_up": 1}
        (backlog,) = await desk.store.outbox.backlog()
        assert (backlog.waiting, backlog.given_up) == (0, 1)

    async def test_without_channels_nothing_piles_up(self, desk: Desk, chat: Hook) -> None:
        await desk.open("WI-1")
        await desk.send()
        assert await desk.store.outbox.unsent() == ()
        desk.add("chat", chat.url)
        await desk.send()
        assert chat.got == []

    async def test_secrets_of_addresses_show_nowhere(self, desk: Desk) -> None:
        desk.add("mail", Mailbox(port=1).url)
        desk.add("chat", Hook(port=1).url)
        desk.add("wrong", f"slack://{SECRET}")
        await desk.open("WI-1", kind=WorkItemKind.STUCK)
        structlog.reset_defaults()
        with capture_logs() as logs:
            sent = await desk.send()
        assert sent.failed == 3
        errors = [each.error for each in await desk.store.outbox.backlog()]
        assert len([each for each in errors if each]) == 3
        for said in (*errors, str(logs), repr(desk.channels)):
            assert SECRET not in said
            assert PASSWORD not in said
