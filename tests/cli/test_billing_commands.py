"""The billing commands on a running stack: contracts, approvals, holds, runs, `why` and `trace`."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import JsonValue
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from canonical.engagement import Engagement
from canonical.ids import time_to_billing_id
from embedded.configuration import ACCOUNT
from embedded.stack import StackInfo
from operations.cli.demo import told_as_json
from operations.cli.demo_invoice import Invoiced
from operations.cli.demo_reconcile import Gap
from operations.cli.demo_story import Story
from operations.cli.demo_week import Week, bill_week
from operations.cli.output import plain
from operations.composition import open_office
from operations.why import Reason
from simulators.kit.control import Control
from simulators.kit.records import RecordState
from store.subledger import EntryTrace, Finding, ProjectStanding, Why
from tests.cli.conftest import Cli
from tests.support.manual import example

pytestmark = pytest.mark.e2e

T = TypeVar("T")

DEAL = "006DT0000000004YAA"
"""Time and materials, a fixed fee and managed services, in JPY."""
WAIT_SECONDS = 60
SOON = timedelta(seconds=2)
PEOPLE = {"5": "Aiko Tanaka", "6": "Priya Nair", "3": "Maya Chen"}
AIKO_HOUR = "24,000 JPY"
WAITS = "The PSA said that it changed"


@dataclass
class Logged:
    """One entry that somebody logged, with the sheet that it was approved on."""

    id: str
    sheet: str = ""
    sheet_type: str = ""


@dataclass
class Team:
    """A project's people, in Kantata's own screens."""

    stack: StackInfo
    project: str
    task: str
    _day: int = 0

    def in_kantata(self, act: Callable[[Control], Coroutine[Any, Any, T]]) -> T:
        """Do something through the simulators' control origin."""

        async def done() -> T:
            async with Control(self.stack.addresses["simulators"]) as control:
                return await act(control)

        return asyncio.run(done())

    def _put(self, type_: str, fields: dict[str, JsonValue]) -> RecordState:
        common: dict[str, JsonValue] = {"workspace_id": self.project, "user_id": "5"}
        return self.in_kantata(
            lambda control: control.put_record("kantata", ACCOUNT, type_, {**common, **fields})
        )

    def log(self, minutes: int = 60, *, approved: bool = True) -> Logged:
        """Log work of Aiko Tanaka on a day of its own, and approve it."""
        self._day += 1
        day = (date(2026, 12, 14) + timedelta(days=self._day)).isoformat()
        fields: dict[str, JsonValue] = {
            "date_performed": day,
            "time_in_minutes": minutes,
            "story_id": self.task,
        }
        entry = Logged(self._put("time_entries", fields)["id"])
        return self.approve(entry, "timesheet_submissions") if approved else entry

    def spend(self, cents: int, day: str) -> Logged:
        """Record an expense of Aiko Tanaka, and approve it."""
        fields: dict[str, JsonValue] = {
            "date": day,
            "category": "Travel",
            "amount_in_cents": cents,
            "story_id": self.task,
        }
        entry = Logged(self._put("expenses", fields)["id"])
        return self.approve(entry, "expense_report_submissions")

    def approve(self, entry: Logged, type_: str) -> Logged:
        """Submit an entry on a sheet of its own, and approve it."""
        entry.sheet_type = type_
        entry.sheet = self._put(type_, {"line_item_ids": [entry.id]})["id"]
        self.resolve(entry, "approved")
        return entry

    def resolve(self, entry: Logged, status: str) -> None:
        """Approve or reject an entry's sheet."""
        fields: dict[str, JsonValue] = {"status": status, "acting_user_id": "3"}
        self.in_kantata(
            lambda control: control.patch_record(
                "kantata", ACCOUNT, entry.sheet_type, entry.sheet, fields
            )
        )

    def charges(self) -> list[RecordState]:
        """Return the live charges in NetSuite."""
        found = self.in_kantata(lambda c: c.records("netsuite", ACCOUNT, type="charge"))
        return [record for record in found if record["live"]]


@pytest.fixture(scope="module")
def week(stack: StackInfo) -> Week:
    """The demo's week, billed on the project of a deal."""

    async def billed() -> Week:
        async with (
            open_office(str(stack.config)) as office,
            Control(stack.addresses["simulators"]) as control,
        ):
            await (await office.sagas.start_opportunity(DEAL)).result()
            return await bill_week(office, control, DEAL, "Sakura Denki")

    return asyncio.run(billed())


@pytest.fixture(scope="module")
def team(stack: StackInfo, week: Week) -> Team:
    shown: Any = Cli(stack.config).run("engagement", "show", week.project_id, "--json").data
    (task,) = shown[0]["lines"][0]["task_ids"]
    return Team(stack, week.project_id, task)


def status(desk: Cli, project: str) -> dict[str, Any]:
    data: Any = desk.run("billing", "status", project, "--json").data
    return dict(data)


def bill(desk: Cli, project: str) -> None:
    """Ask for a run, and wait for its end."""
    ran = desk.run("billing", "run", project, "--as", "olivia")
    assert ran.out.startswith(f"asked  a run of project {project}, period 20"), ran
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        view = status(desk, project)["waiting"]
        at = view["next_run_at"]
        due = at is not None and datetime.fromisoformat(at) < datetime.now(UTC) + SOON
        if not view["open_run"] and not due:
            return
        time.sleep(0.1)
    raise AssertionError(f"there was no end of the run: {status(desk, project)}")


def tell(desk: Cli, project: str, *entries: str) -> None:
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    ran = desk.run("approve-time", project, "--entries", ",".join(entries))
    assert re.fullmatch(rf"told  project {project}, period \d{{4}}-\d\d: {count}\n", ran.out), ran


def trace(desk: Cli, entry: str) -> EntryTrace:
    """Return what `trace --json` tells, which has to be all that the store knows."""
    data = desk.run("trace", entry, "--detail", "--json").data
    traced = EntryTrace.model_validate(data)
    assert plain(traced) == data
    return traced


class TestTheWeekOfTheDemo:
    def test_to_bill_equals_the_charges(self, week: Week) -> None:
        assert (week.outcome, week.equal) == ("completed", True)
        assert week.to_bill == week.charges == "556,267 JPY"
        assert {each.becomes for each in week.entries} == {
            "to_bill",
            "covered_by_fixed_fee",
            "non_billable",
        }
        assert all(each.amount and each.cost for each in week.entries)

    def test_the_demo_tells_it_as_json_too(self, week: Week, stack: StackInfo) -> None:
        fields = dict.fromkeys(Invoiced.model_fields, "x") | {"lines": 5}
        invoiced = Invoiced.model_validate(fields)
        gap = Gap(lost="", scope="", compared=0, found=[], mended=[], billed="", again=0, closed=0)
        story = Story(
            deals=[], records=[], waiting=[], links=[], week=week, invoiced=invoiced, gap=gap
        )
        told: Any = json.loads(json.dumps(plain(told_as_json(story, stack, (1, 2, 3), keep=True))))
        assert Week.model_validate(told["week"]) == week

    def test_status_shows_where_all_of_it_is(self, desk: Cli, week: Week) -> None:
        told = desk.run("billing", "status", week.project_id).out
        assert re.search(r"covered_by_fixed_fee +210,000 JPY", told)
        assert re.search(r"handed over +\d", told)
        data = status(desk, week.project_id)
        assert set(data) == {"standing", "findings", "waiting", "amounts", "warnings"}
        standing = [ProjectStanding.model_validate(each) for each in data["standing"]]
        assert sum(each.entries for each in standing if each.handed_over) >= len(week.entries)
        assert [Finding.model_validate(each) for each in data["findings"]] == []
        (amounts,) = data["amounts"]
        assert (amounts["difference"], amounts["placed"]["covered_by_fixed_fee"]) == ("0", "210000")

    def test_trace_tells_versions_parts_cost_and_moves(self, desk: Cli, week: Week) -> None:
        traced = trace(desk, week.first_entry)
        ((version,), (part,), (cost,)) = traced.versions, traced.parts, traced.costs
        assert (version.state, version.minutes, version.run_key) == ("placed", 480, week.run)
        assert (str(part.amount), part.state) == ("192,000 JPY", "placed")
        assert (str(cost.amount), cost.rate_source, cost.state) == (
            "62,400 JPY",
            "hcm:E1005",
            "posted",
        )
        assert [move.act for move in traced.moves if move.track == "entry"] == [
            *("take_in", "claim", "rate", "place")
        ]
        assert [entry.id for entry in traced.approved_as] == [week.first_entry]
        table = desk.run("trace", week.first_entry, "--detail").out
        for text in ("480 min", "to_bill", "192,000 JPY", "hcm:E1005", "claimed → rated"):
            assert text in table
        expense = next(each for each in week.entries if each.logged == "12,000")
        assert "12,000 JPY" in desk.run("trace", f"expense:{expense.entry}", "--detail").out

    def test_the_charge_of_the_trace_is_in_the_erp(self, desk: Cli, week: Week, team: Team) -> None:
        (part,) = trace(desk, week.first_entry).parts
        (charge,) = [each for each in team.charges() if each["key"] == part.charge]
        assert charge["fields"]["amount"] == 192_000

    def test_telling_the_same_again_changes_nothing(
        self, desk: Cli, week: Week, team: Team
    ) -> None:
        before = [trace(desk, entry) for entry in refs(week)], team.charges()
        tell(desk, week.project_id, *refs(week))
        tell(desk, week.project_id, *refs(week))
        ran = desk.run("approve-time", week.project_id, "--week", "2026-12-09", "--json")
        told: Any = ran.data
        assert told == {"project": week.project_id, "period": week.run.split("/")[3], "entries": 8}
        bill(desk, week.project_id)
        assert ([trace(desk, entry) for entry in refs(week)], team.charges()) == before


def refs(week: Week) -> list[str]:
    """Return the entries of a week as one types them."""
    return [f"{'' if 'min' in each.logged else 'expense:'}{each.entry}" for each in week.entries]


class TestWhy:
    def told(self, desk: Cli, entry: str) -> list[tuple[str, str]]:
        """Return the reasons; the text and the JSON have to tell the same.

        That a change waits comes and goes with the feed's echoes: it is left out.
        """
        data: Any = desk.run("why", entry, "--json").data
        assert set(data) == {"facts", "reasons", "waiting"}
        assert plain(Why.model_validate(data["facts"])) == data["facts"]
        told = [Reason.model_validate(each) for each in data["reasons"]]
        found = [each for each in told if not each.text.startswith(WAITS)]
        lines = "".join(f"{each.text}\n  next: {each.who}\n" for each in found)
        out = desk.run("why", entry).out
        assert re.sub(rf"{WAITS}.*\n  next: .*\n", "", out) == lines
        return [(each.text, each.who) for each in found]

    def test_from_never_approved_over_held_and_waiting_to_placed(
        self, desk: Cli, team: Team
    ) -> None:
        project, entry = team.project, team.log(approved=False)
        tell(desk, project, entry.id)
        bill(desk, project)
        ((text, who),) = self.told(desk, entry.id)
        assert "never approved in the PSA" in text
        assert "the approver" in who

        hold = ("billing", "hold", project, "--entry", entry.id, "--as", "olivia")
        ran = desk.run(*hold, "--because", "the client asks")
        assert ran.out == "held  1 of 1 entries; the others were held already\n"
        again = desk.run(*hold, "--because", "once more", "--json")
        assert again.data == {"held": 0}
        team.approve(entry, "timesheet_submissions")
        tell(desk, project, entry.id)
        bill(desk, project)
        ((text, who),) = self.told(desk, entry.id)
        assert re.fullmatch(r"It is held since [\d-]+ by olivia \(by_hand\): the client asks", text)
        assert "starter.py billing unhold" in who
        held = [each for each in status(desk, project)["standing"] if each["held"]]
        assert [(each["state"], each["entries"]) for each in held] == [("approved", 1)]

        release = ("billing", "unhold", project, "--entry", entry.id, "--as", "olivia")
        assert desk.run(*release).out == "released  1 holds\n"
        assert desk.run(*release, "--json").data == {"released": 0}
        ((text, who),) = self.told(desk, entry.id)
        assert "waits for the next billing run" in text
        assert "starter.py billing run" in who

        bill(desk, project)
        assert self.told(desk, entry.id) == [
            (f"{AIKO_HOUR} goes to drafting (placed).", "finance releases the draft")
        ]
        told = desk.run("trace", entry.id, "--detail").out
        assert re.search(r"hold  by_hand since [\d-]+, until [\d-]+: the client asks", told)

    def test_an_approval_that_was_withdrawn(self, desk: Cli, team: Team) -> None:
        project, entry = team.project, team.log()
        held = ("--entry", entry.id, "--because", "too early", "--as", "fiona")
        desk.run("billing", "hold", project, *held)
        tell(desk, project, entry.id)
        bill(desk, project)
        team.resolve(entry, "rejected")
        desk.run("billing", "unhold", project, "--entry", entry.id, "--as", "fiona")
        bill(desk, project)
        assert self.told(desk, entry.id) == [
            ("Its approval was withdrawn in the PSA.", "the approver in the PSA")
        ]
        assert trace(desk, entry.id).parts == ()

    def test_an_expense_seen_twice_is_held_until_somebody_accepts_it(
        self, desk: Cli, team: Team
    ) -> None:
        project = team.project
        one, two = (team.spend(3_000, "2026-12-16") for _ in range(2))
        tell(desk, project, f"expense:{one.id}", f"expense:{two.id}")
        bill(desk, project)
        told = {each.id: self.told(desk, f"expense:{each.id}") for each in (one, two)}
        waiting = [id_ for id_, ((text, _),) in told.items() if "duplicate_expense" in text]
        assert len(waiting) == 1
        ((_, who),) = told[waiting[0]]
        assert who.startswith("the project manager")
        entry = f"expense:{waiting[0]}"
        desk.run("billing", "unhold", project, "--entry", entry, "--as", "frank")
        bill(desk, project)
        assert self.told(desk, entry)[0][0] == "3,000 JPY goes to drafting (placed)."


class TestRefusals:
    @pytest.mark.parametrize("act", ["hold", "unhold", "run"])
    def test_a_viewer_and_a_stranger_may_not(self, desk: Cli, team: Team, act: str) -> None:
        words = ["billing", act, team.project]
        words += [] if act == "run" else ["--entry", "4711"]
        words += ["--because", "x"] if act == "hold" else []
        before = status(desk, team.project)["standing"]
        said = desk.refused(*words, "--as", "victor")
        assert said == "victor has not the role for billing: admin or finance or operator.\n"
        assert "'mallory' is not in dealthread.toml" in desk.refused(*words, "--as", "mallory")
        assert desk.run(*words).code == 2  # nobody says so
        assert status(desk, team.project)["standing"] == before
        assert trace_is_empty(desk, "4711")

    def test_a_hold_needs_a_reason(self, desk: Cli, team: Team) -> None:
        words = ("billing", "hold", team.project, "--entry", "4711", "--as", "olivia")
        assert desk.run(*words).code == 2
        assert "Say why with --because" in desk.refused(*words, "--because", " ")
        assert trace_is_empty(desk, "4711")

    @pytest.mark.parametrize("bad", ["a b", "🚀", "x" * 65, "invoice:1", "4711;", "time:"])
    def test_what_can_be_no_entry(self, desk: Cli, team: Team, bad: str) -> None:
        for words in (
            ("approve-time", team.project, "--entries", f"1,{bad}"),
            ("billing", "hold", team.project, "--entry", bad, "--because", "x", "--as", "olivia"),
            ("billing", "unhold", team.project, "--entry", bad, "--as", "olivia"),
            ("why", bad),
        ):
            said = desk.refused(*words)
            assert "cannot be an entry: write 4711, expense:4711 or adjustment:4711." in said
            assert len(said) < 200

    def test_which_entries_has_to_be_said(self, desk: Cli, team: Team) -> None:
        words = ("approve-time", team.project)
        for more in ((), ("--entries", " , "), ("--entries", "1", "--week", "2026-12-07")):
            assert desk.refused(*words, *more) == "Say which: --entries ID,ID or --week DAY.\n"
        assert "'monday' is no day: write it as" in desk.refused(*words, "--week", "monday")
        assert "There is nothing of that week" in desk.refused(*words, "--week", "2020-01-01")
        assert "There is no PSA connection 'sap' here" in desk.refused(
            *words, "--week", "2026-12-07", "--psa", "sap"
        )

    def test_an_unknown_project_is_told_and_nothing_is_signalled(
        self, desk: Cli, week: Week, stack: StackInfo
    ) -> None:
        held = ("--entry", "4712", "--as", "olivia")
        for words in (
            ("approve-time", "4040", "--entries", "4712"),
            ("billing", "status", "4040"),
            ("billing", "run", "4040", "--as", "olivia"),
            ("billing", "hold", "4040", *held, "--because", "x"),
            ("billing", "unhold", "4040", *held),
        ):
            assert "Nothing bills project 4040 of kantata" in desk.refused(*words)
        assert "Nothing bills project 4040: provision its deal" in desk.refused(
            "engagement", "show", "4040"
        )
        assert trace_is_empty(desk, "4712")
        period = week.run.split("/")[3]

        async def described() -> None:
            client = await Client.connect(stack.addresses["temporal"])
            id_ = time_to_billing_id("kantata", "4040", period)
            await client.get_workflow_handle(id_).describe()

        with pytest.raises(RPCError) as caught:
            asyncio.run(described())
        assert caught.value.status is RPCStatusCode.NOT_FOUND

    @pytest.mark.parametrize("bad", ["../x", "a b", "x" * 65])
    def test_what_can_be_no_project(self, desk: Cli, bad: str) -> None:
        said = desk.refused("approve-time", bad, "--entries", "1")
        assert "cannot be a project's id." in said
        assert len(said) < 200

    def test_what_is_no_saga_and_no_entry(self, desk: Cli, week: Week) -> None:
        for word in ("expense:1", "999999"):
            said = desk.refused("trace", word)
            assert "Nothing is known of" in said
            assert word in said
        period = time_to_billing_id("kantata", week.project_id, week.run.split("/")[3])
        assert "starter.py billing status PROJECT shows it." in desk.refused("status", period)
        assert "completed" in desk.run("status", week.run).out


def trace_is_empty(desk: Cli, entry: str) -> bool:
    """Whether nothing at all is known of an entry, holds included."""
    data: Any = desk.run("why", entry, "--json").data
    facts = Why.model_validate(data["facts"])
    return (facts.state, facts.holds) == ("unknown", ())


class TestEngagements:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "contract.yaml"

    def test_the_example_of_the_manual_imports(self, desk: Cli, file: Path) -> None:
        file.write_text(example())
        ran = desk.run("engagement", "import", str(file), "--as", "olivia")
        assert ran.out == (
            "kept  salesforce/006DT0000000400YAA from 2026-01-01: 2 contract lines, "
            "project 48213 in kantata\n"
        ), ran
        kept = Engagement.model_validate(
            desk.run("engagement", "import", str(file), "--as", "olivia", "--json").data,
            extra="forbid",
        )
        shown: Any = desk.run("engagement", "show", "48213", "--json").data
        assert [Engagement.model_validate(each, extra="forbid") for each in shown] == [kept]
        told = desk.run("engagement", "show", "48213").out
        assert "Engagement salesforce/006DT0000000400YAA" in told
        assert re.search(r"L-RET +retainer +US +USD +erp_charges +contract", told)

        later = example().replace("effective_from: 2026-01-01", "effective_from: 2026-12-01")
        file.write_text(later)
        assert desk.run("engagement", "import", str(file), "--as", "olivia").code == 0
        versions: Any = desk.run("engagement", "show", "48213", "--json").data
        assert [each["effective_from"] for each in versions] == ["2026-01-01", "2026-12-01"]

    @pytest.mark.parametrize(
        ("wrong", "right", "said"),
        [
            ("title:", "titel:", "titel: this key is not known."),
            ("currency: USD\n", "currency: XQZ\n", "lines.0.currency: 'XQZ' is no ISO 4217"),
            ("legal_entity: US", "legal_entity: FR", "'FR'; known: DE, JP, US."),
            ("erp: netsuite", "erp: sap", "'sap'; known: netsuite."),
            ("id: ", "id: [", "is no YAML: line "),
        ],
        ids=["field", "currency", "entity", "erp", "yaml"],
    )
    def test_a_mistake_is_one_sentence_and_nothing_is_kept(
        self, desk: Cli, file: Path, wrong: str, right: str, said: str
    ) -> None:
        """The other mistakes: tests/unit/operations/test_engagements.py."""
        file.write_text(example().replace("48213", "48214").replace(wrong, right, 1))
        told = desk.refused("engagement", "import", str(file), "--as", "olivia")
        assert said in told
        assert told.startswith(str(file))
        assert "Nothing bills project 48214" in desk.refused("engagement", "show", "48214")

    def test_a_file_that_is_not_there(self, desk: Cli, file: Path) -> None:
        said = desk.refused("engagement", "import", str(file), "--as", "olivia")
        assert said == f"{file} cannot be read: No such file or directory.\n"
        assert "cannot be read: Is a directory." in desk.refused(
            *("engagement", "import", str(file.parent), "--as", "olivia")
        )

    def test_nobody_imports_rates_without_a_name_and_a_role(self, desk: Cli, file: Path) -> None:
        file.write_text(example().replace("48213", "48215"))
        assert desk.run("engagement", "import", str(file)).code == 2
        for who, why in (("nobody", "is not in dealthread.toml"), ("victor", "has not the role")):
            assert why in desk.refused("engagement", "import", str(file), "--as", who)
        assert "Nothing bills project 48215" in desk.refused("engagement", "show", "48215")
