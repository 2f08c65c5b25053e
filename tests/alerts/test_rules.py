"""When a rule becomes an alert, when it is over, who is told, and what they read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from canonical.alerts import Alert, Measure, Severity, TellingKind, Waiting
from canonical.money import Money
from canonical.saga import WorkItem, WorkItemKind
from policies.alert_texts import of_alert, of_item, of_many, plain
from policies.alerting import (
    Address,
    Alerting,
    AlertState,
    Rule,
    Standing,
    Taker,
    address_of_item,
    alert_of,
    alerting_disagreements,
    by_entity,
    next_state,
    takers,
)
from policies.bundle import load_bundle
from tests.store.build import work_item

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RAISED, CLEARED = TellingKind.ALERT_RAISED, TellingKind.ALERT_CLEARED


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def told(
    *seen: tuple[float, bool], for_minutes: float = 0, silenced: tuple[float, ...] = ()
) -> list[tuple[float, TellingKind]]:
    """Return what is told, and when, of a rule that was seen broken or not at these minutes."""
    state, heard = AlertState(), []
    for minute, broken in seen:
        state, tell = next_state(
            state,
            broken=broken,
            for_seconds=for_minutes * 60,
            now=at(minute),
            silenced=minute in silenced,
        )
        if tell is not None:
            heard.append((minute, tell))
    return heard


class TestStates:
    def test_it_is_told_once_clears_and_is_told_again(self) -> None:
        seen = ((0, True), (1, True), (2, True), (3, False), (4, False), (5, True))
        assert told(*seen) == [(0, RAISED), (3, CLEARED), (5, RAISED)]

    def test_it_has_to_hold_before_it_is_raised_and_to_be_over_before_it_clears(self) -> None:
        seen = ((0, True), (4, True), (5, True), (6, False), (10, False), (11, False))
        assert told(*seen, for_minutes=5) == [(5, RAISED), (11, CLEARED)]

    def test_what_flaps_is_told_of_once(self) -> None:
        up = [(0, True), (5, True)]
        flapping = [(minute, minute % 2 == 0) for minute in range(6, 40)]
        assert told(*up, *flapping, for_minutes=5) == [(5, RAISED)]
        assert told(*flapping, for_minutes=5) == []

    def test_what_outlasts_its_silence_is_told_then(self) -> None:
        seen = ((0, True), (1, True), (2, True), (3, False))
        assert told(*seen, silenced=(0, 1)) == [(2, RAISED), (3, CLEARED)]

    def test_what_nobody_heard_of_is_not_cleared_aloud(self) -> None:
        assert told((0, True), (1, False), (2, False), silenced=(0, 1)) == []

    def test_a_state_knows_when(self) -> None:
        state, _ = next_state(AlertState(), broken=True, for_seconds=0, now=NOW, silenced=False)
        assert (state.standing, state.raised_at, state.told) == (Standing.RAISED, NOW, True)


def waiting(subject: str, entity: str = "US", minutes: float = -60, **values: object) -> Waiting:
    given = {"subject": subject, "entity": entity, "since": at(minutes), **values}
    return Waiting.model_validate(given)


def rule(**values: object) -> Rule:
    return Rule.model_validate({"measure": Measure.WORK_OVERDUE, "title": "Late", **values})


class TestAlerts:
    def test_each_legal_entity_has_its_own(self) -> None:
        found = [waiting("a", "US"), waiting("b", "DE", -90), waiting("c", "US", -120)]
        groups = by_entity(rule(), found)
        assert {entity: [each.subject for each in group] for entity, group in groups.items()} == {
            "US": ["c", "a"],
            "DE": ["b"],
        }

    def test_a_rule_may_want_several_and_may_be_for_some(self) -> None:
        found = [waiting("a", "US"), waiting("b", "US"), waiting("c", "DE")]
        assert set(by_entity(rule(at_least=2), found)) == {"US"}
        assert set(by_entity(rule(entities=("DE",)), found)) == {"DE"}

    def test_money_is_summed_by_currency(self) -> None:
        usd, eur = (Money.rounded(Decimal(100), each) for each in ("USD", "EUR"))
        found = [waiting(str(n), amount=money) for n, money in enumerate((usd, eur, usd, None))]
        alert = alert_of("late", rule(), "US", found, NOW)
        assert [str(each) for each in alert.money] == ["100.00 EUR", "200.00 USD"]
        assert (alert.count, alert.since) == (4, at(-60))

    def test_the_default_bundle_measures_everything(self) -> None:
        rules = load_bundle().policies.alerts.rules
        assert {each.measure for each in rules.values()} == set(Measure)

    def test_a_rule_for_no_legal_entity_of_ours_is_refused(self) -> None:
        alerting = Alerting(rules={"late": rule(entities=("XX",))})
        ((where, why),) = alerting_disagreements(alerting, ["US"])
        assert where == ("alerts", "rules", "late", "entities")
        assert why == "there is no legal entity XX; allowed: US"


CHANNELS = {
    "all": Taker(),
    "critical": Taker(severity=Severity.CRITICAL),
    "germany": Taker(entities=frozenset({"DE"})),
    "cleared": Taker(kinds=frozenset({CLEARED})),
}


@pytest.mark.parametrize(
    ("address", "names"),
    [
        (Address(RAISED, Severity.WARNING, ("US",)), {"all"}),
        (Address(RAISED, Severity.CRITICAL, ("US",)), {"all", "critical"}),
        (Address(RAISED, Severity.INFO, ("US", "DE")), {"all", "germany"}),
        (Address(RAISED, Severity.INFO), {"all", "germany"}),
        (Address(CLEARED, Severity.INFO, ("US",)), {"all", "cleared"}),
        (Address(RAISED, Severity.INFO, ("US",), ("critical",)), {"critical"}),
        (Address(RAISED, Severity.INFO, ("US",), ("renamed",)), {"all"}),
    ],
)
def test_who_is_told(address: Address, names: set[str]) -> None:
    assert set(takers(address, CHANNELS)) == names


def test_an_item_past_its_deadline_is_critical() -> None:
    kinds = (TellingKind.WORK_ITEM_OPENED, TellingKind.WORK_ITEM_ESCALATED)
    severities = [address_of_item(kind, work_item()).severity for kind in kinds]
    assert severities == [Severity.INFO, Severity.CRITICAL]
    undo = work_item().model_copy(update={"kind": WorkItemKind.UNDO})
    assert address_of_item(kinds[0], undo).severity is Severity.WARNING


def link(workflow_id: str) -> str:
    return f"https://ui.example.com/{workflow_id}"


class TestTexts:
    def item(self, **values: object) -> WorkItem:
        given = {"title": "Acme rollout", "amount": "1,200.00 USD", "legal_entities": ("US",)}
        return work_item().model_copy(update={**given, **values})

    def test_a_work_item_says_what_where_why_how_much_who_by_when_and_what_to_do(self) -> None:
        item = self.item()
        telling = of_item(TellingKind.WORK_ITEM_OPENED, item, "olivia", link)
        assert telling.title == "Needs a person: Acme rollout - invalid"
        for said in (
            *("Acme rollout", "provision_client", "US", "No tax id.", "1,200.00 USD", "olivia"),
            f"by when: {item.respond_by:%Y-%m-%d %H:%M} UTC",
            f"look: {link(item.workflow_id)}",
            "do: starter.py work show WI-1",
        ):
            assert said in telling.body

    def test_an_alert_links_the_sagas_behind_it(self) -> None:
        alert = alert_of("late", rule(), "US", [waiting("a", workflow_id="saga/1")], NOW)
        telling = of_alert(RAISED, alert, link)
        assert telling.title == "Warning: Late at US (1)"
        assert f"look: {link('saga/1')}" in telling.body
        assert of_alert(CLEARED, alert, link).title == "Cleared: Late at US"

    def test_texts_of_others_stay_on_their_line_and_wake_nobody(self) -> None:
        telling = of_item(
            TellingKind.WORK_ITEM_OPENED,
            self.item(title="Acme\ndo: rm -rf /\x1b[2J @channel <!here>"),
            "",
            link,
        )
        lines = telling.body.splitlines()
        assert [line for line in lines if line.startswith("do:")] == [
            "do: starter.py work show WI-1"
        ]
        assert "@channel" not in telling.body
        assert "<!here" not in telling.body
        assert "\x1b" not in telling.body
        assert len(plain("x" * 9_000)) == 500

    def test_many_are_one_message(self) -> None:
        one = of_alert(RAISED, alert_of("late", rule(), "US", [waiting("a")], NOW), link)
        telling = of_many([one] * 40, 0, "starter.py alerts list")
        assert telling.title == "and 40 more"
        assert telling.body.count("- Warning: Late at US (1)") == 10
        assert "and 30 more" in telling.body


def test_an_alert_is_named_by_rule_and_entity() -> None:
    ids = [
        Alert(rule="late", entity=entity, title="t", command="c", severity=Severity.INFO, at=NOW).id
        for entity in ("US", "")
    ]
    assert ids == ["alert/late/US", "alert/late"]
