"""The commands on a running stack: a person's day, and everything a person gets wrong."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import Client

from embedded.configuration import ACCOUNT
from embedded.stack import StackInfo
from operations.config import load_config
from simulators.kit.control import Control
from tests.cli.conftest import Cli

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 60


@pytest.fixture(scope="session")
def deals(stack: StackInfo) -> dict[str, str]:
    """Opportunity ids by slug."""

    async def read() -> dict[str, str]:
        async with Control(stack.addresses["simulators"]) as control:
            records = await control.records("salesforce", ACCOUNT, type="Opportunity")
        return {str(each["fields"]["Seed_Slug__c"]): each["id"] for each in records}

    return asyncio.run(read())


def until(look: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"there was never {what}")


def stuck(desk: Cli, deal: str, step: str = "") -> dict[str, Any]:
    """Wait until a deal has a work item."""

    def look() -> dict[str, Any] | None:
        items: Any = desk.run("stuck", "--json").data
        for item in items:
            if item["workflow_id"].endswith(deal) and item["step"].startswith(step):
                return dict(item)
        return None

    found: dict[str, Any] = until(look, f"a work item of {deal}")
    return found


def state(desk: Cli, deal: str) -> str:
    view: Any = desk.run("status", deal, "--json").data
    return str(view["state"])


def temporal(stack: StackInfo, act: Callable[[Client], Any]) -> None:
    async def connected() -> None:
        await act(await Client.connect(stack.addresses["temporal"]))

    asyncio.run(connected())


class TestStart:
    def test_several_deals_are_carried_through_and_stay_readable_for_ever(
        self, desk: Cli, deals: dict[str, str], stack: StackInfo
    ) -> None:
        one, two = deals["tm-us"], deals["waiver"]
        ran = desk.run("start", "opportunity", one, two, one, "--wait", "--json")
        assert ran.code == 0, ran.err
        results: Any = ran.data
        assert [(each["workflow_id"].rpartition("/")[2], each["outcome"]) for each in results] == [
            (one, "completed"),
            (two, "completed"),
        ]
        told = desk.run("status", one).out
        assert "Northwind Robotics – ERP rollout: completed" in told
        assert "/namespaces/default/workflows/opportunity-to-project%2Fsalesforce%2F" in told
        told = desk.run("trace", one, "--detail").out
        assert "began, generation 1" in told
        assert "provision_client netsuite: created client" in told
        assert "ended as completed" in told
        assert "The trail is intact." in told
        assert "{" not in told
        trace: Any = desk.run("trace", one, "--detail", "--json").data
        assert trace["broken_at"] is None
        assert {"netsuite", "kantata"} <= {each["record"]["system"] for each in trace["records"]}
        assert "runs no more: completed." in desk.refused("cancel", one)
        assert "it is completed." in desk.refused("resolve", one, "retry", "--as", "olivia")

        # Once more: it is final, and the new run adds nothing to tell.
        again: Any = desk.run("start", "opportunity", one, "--wait", "--json").data
        assert again == results[:1]
        assert "provision_psa_project" in desk.run("status", one).out

        # Beyond Temporal's retention the store still knows: here by a namespace without this saga.
        forgotten = {"DEALTHREAD_TEMPORAL__NAMESPACE": "temporal-system"}
        view: Any = desk.run("status", one, "--json", env=forgotten).data
        assert view["state"] == "completed"
        assert {"open_for_time", "provision_client"} <= {step["step"] for step in view["steps"]}
        assert {step["state"] for step in view["steps"]} == {"done"}

    @pytest.mark.parametrize(
        "bad", ["x" * 10_000, "🚀", "006DT 0001", "", "../../etc", "a;b", "006\n"], ids=repr
    )
    def test_a_wrong_id_is_refused_before_anything_starts(
        self, desk: Cli, deals: dict[str, str], bad: str
    ) -> None:
        said = desk.refused("start", "opportunity", deals["emoji-rtl"], bad)
        assert "cannot be an opportunity id: use 1 to 64 letters" in said
        assert len(said) < 300
        assert "There is no saga" in desk.refused("status", deals["emoji-rtl"])

    def test_an_unknown_crm_is_refused(self, desk: Cli) -> None:
        said = desk.refused("start", "opportunity", "006", "--crm", "siebel")
        assert "There is no CRM connection 'siebel' in dealthread.toml; there are sales" in said


@pytest.mark.parametrize("bad", ["x" * 10_000, "🚀", "a b"], ids=["long", "emoji", "space"])
@pytest.mark.parametrize("command", ["status", "cancel", "approve", "resolve"])
def test_what_can_be_no_id_is_refused(desk: Cli, command: str, bad: str) -> None:
    more = {"resolve": ["retry", "--as", "ada"], "approve": ["--as", "ada"]}.get(command, [])
    assert "is neither a work item, nor a saga's workflow id" in desk.refused(command, bad, *more)


@pytest.mark.parametrize("bad", ["x" * 10_000, "🚀", "a b"], ids=["long", "emoji", "space"])
def test_what_names_nothing_has_no_trace(desk: Cli, bad: str) -> None:
    said = desk.refused("trace", bad)
    assert len(said) < 300
    assert "Nothing is known of" in said or "cannot be the name of any" in said


@pytest.mark.parametrize("command", ["status", "cancel", "trace", "approve", "resolve"])
def test_an_unknown_id_is_refused(desk: Cli, command: str) -> None:
    more = {"resolve": ["retry", "--as", "ada"], "approve": ["--as", "ada"]}.get(command, [])
    said = desk.refused(command, "006DT0000009999YAA", *more)
    assert "no" in said.lower()
    assert "006DT0000009999YAA" in said


class TestDecide:
    def test_a_missing_mapping_is_corrected_and_resumed(
        self, desk: Cli, deals: dict[str, str]
    ) -> None:
        deal = deals["missing-mapping"]
        assert "started  opportunity-to-project/" in desk.run("start", "opportunity", deal).out
        item = stuck(desk, deal)
        told = desk.run("stuck").out
        assert f"type       starter.py resolve {item['id']} retry --set template=VALUE" in told
        assert item["link"] in told
        assert "stuck at   plan_opportunity in salesforce" in desk.run("status", deal).out

        for words, sentence in {
            ("retry", "--as", "mallory"): "'mallory' is not in dealthread.toml under [people]; "
            "known: ada, fiona, frank, olivia, victor",
            ("retry", "--as", "victor"): "victor has not the role for retry at plan_opportunity: "
            "admin or finance or operator",
            ("adopt", "--as", "ada"): "adopt makes no sense at plan_opportunity; possible: retry,",
            ("abandon", "--as", "ada"): "abandon needs the evidence: add --because",
            ("retry", "--as", "ada", "--park", "7"): "Park 7 of",
            ("retry", "--as", "ada", "--set", "template"): "--set 'template': write field=value",
            ("retry", "--as", "ada", "--set", "colour=red"): "'colour' cannot be corrected; what",
            ("retry", "--as", "ada", "--set", "amount=1"): "amount is owned by the CRM: correct",
            ("retry", "--as", "ada", "--set", "template="): "template needs a value of 1 to 255",
            ("adopt", "--dry-run"): "adopt makes no sense at plan_opportunity",
        }.items():
            assert sentence in desk.refused("resolve", deal, *words)
        assert "is no gate: use `resolve` with retry" in desk.refused(
            "approve", deal, "--as", "ada"
        )

        assert "Read and plan the deal" in desk.run("resolve", deal, "retry", "--dry-run").out
        effects: Any = desk.run("resolve", deal, "retry", "--dry-run", "--json").data
        assert [(each["act"], each["system"]) for each in effects] == [("do", "salesforce")]
        assert stuck(desk, deal)["id"] == item["id"]  # nothing was decided

        fix = ("--set", "template=implementation", "--as", "olivia")
        ran = desk.run("resolve", item["id"], "retry", *fix)
        assert (ran.code, ran.out) == (0, "retry: the saga has taken it.\n")
        assert f"{item['id']} is closed: retry." in desk.refused(
            "resolve", item["id"], "retry", *fix
        )
        until(lambda: state(desk, deal) == "completed", "a completed deal")
        told = desk.run("trace", deal, "--detail").out
        assert "olivia" in told
        assert "template=implementation" in " ".join(told.split())

    def test_a_choice_of_client_needs_finance_and_a_second_person(
        self, desk: Cli, deals: dict[str, str]
    ) -> None:
        deal = deals["ambiguous-client"]
        desk.run("start", "opportunity", deal)
        item = stuck(desk, deal)
        chosen = item["failure"]["candidates"][0]["record"]["id"]
        assert f"candidate  {chosen}: " in desk.run("stuck").out
        adopt = ("resolve", deal, "adopt")
        assert "adopt needs the record: add --record ID." in desk.refused(*adopt, "--as", "frank")
        assert "olivia has not the role for adopt" in desk.refused(
            *adopt, "--record", chosen, "--as", "olivia"
        )
        proposed = desk.run(*adopt, "--record", chosen, "--as", "frank", "--json")
        data: Any = proposed.data
        decision = data["decision"]["id"]
        assert data["taken"] is None
        assert f"{decision} is a decision: approve it" in desk.refused(
            "resolve", decision, "retry", "--as", "ada"
        )
        assert "frank proposed" in desk.refused("approve", decision, "--as", "frank")
        assert "olivia has not the role" in desk.refused("approve", decision, "--as", "olivia")
        assert desk.run("approve", decision, "--as", "fiona").out.startswith("adopt: the saga")
        assert " is closed: adopt." in desk.refused("approve", decision, "--as", "fiona")
        gate = stuck(desk, deal, "finance_gate")
        assert desk.run("approve", gate["id"], "--as", "fiona").code == 0
        until(lambda: state(desk, deal) == "completed", "a completed deal")

    def test_a_gate_is_passed_by_finance_only(self, desk: Cli, deals: dict[str, str]) -> None:
        deal = deals["high-value"]
        desk.run("start", "opportunity", deal)
        gate = stuck(desk, deal)
        assert f"type       starter.py approve {gate['id']} --as NAME" in desk.run("stuck").out
        assert "olivia has not the role for approving" in desk.refused(
            "approve", deal, "--as", "olivia"
        )
        assert "retry makes no sense at finance_gate" in desk.refused(
            "resolve", deal, "retry", "--as", "frank"
        )
        assert desk.run("approve", deal, "--as", "frank").out == "approve: the saga has taken it.\n"
        until(lambda: state(desk, deal) == "completed", "a completed deal")

    def test_a_cancelled_deal_is_rolled_back(self, desk: Cli, deals: dict[str, str]) -> None:
        deal = deals["unsigned"]
        desk.run("start", "opportunity", deal)
        stuck(desk, deal)
        ran = desk.run("cancel", deal)
        assert (ran.code, ran.out.endswith("is asked to roll back.\n")) == (0, True)
        until(lambda: state(desk, deal) == "rolled_back", "a rolled back deal")

    def test_a_terminated_saga_is_told_and_swept(
        self, desk: Cli, deals: dict[str, str], stack: StackInfo
    ) -> None:
        deal = deals["two-entity"]

        async def reject() -> None:
            match: dict[str, JsonValue] = {
                "write": True,
                "correlation": f"{deal}.*:provision_milestones",
            }
            async with Control(stack.addresses["simulators"]) as control:
                await control.add_fault("kantata", ACCOUNT, match, "reject")

        asyncio.run(reject())
        desk.run("start", "opportunity", deal)
        item = stuck(desk, deal)
        table = desk.run("resolve", deal, "roll_back", "--dry-run").out
        assert table.index("provision_tasks") < table.index("provision_client")

        async def terminate(client: Client) -> None:
            await client.get_workflow_handle(item["workflow_id"]).terminate()

        temporal(stack, terminate)
        assert state(desk, deal) == "running (terminated; the sweep takes it up)"
        assert "runs no more; if it was terminated, `starter.py sweep`" in desk.refused(
            "resolve", deal, "retry", "--as", "ada"
        )
        assert "runs no more" in desk.refused("cancel", deal)
        swept: Any = desk.run("sweep", "--json").data
        assert swept == {"rolled_back": [item["workflow_id"]], "forward": []}
        until(lambda: state(desk, deal) == "rolled_back", "a rolled back deal")
        assert desk.run("sweep").out == "Swept: nothing.\n"


class TestChecks:
    def test_every_connection_of_the_stack_is_usable(self, desk: Cli) -> None:
        ran = desk.run("connections", "check")
        assert ran.code == 0
        assert "FAILED" not in ran.out
        one: Any = desk.run("connections", "check", "kantata", "--json").data
        assert {each["connection"] for each in one} == {"kantata"}
        assert "There is no connection 'sap'; there are kantata, netsuite" in desk.refused(
            "connections", "check", "sap"
        )

    def test_a_wrong_secret_is_red_with_a_remedy(self, desk: Cli) -> None:
        wrong = {"DEALTHREAD_CONNECTIONS__KANTATA__SECRETS__TOKEN": "no-such-token"}
        ran = desk.run("connections", "check", env=wrong)
        assert ran.code == 1
        assert "FAILED" in ran.out
        assert "Remedy: " in ran.out
        assert "no-such-token" not in ran.out + ran.err
        assert ran.err == "Not usable yet: kantata.\n"
        results: Any = desk.run("connections", "check", "--json", env=wrong).data
        assert {each["connection"] for each in results if not each["ok"]} == {"kantata"}

    def test_a_server_that_is_gone_is_one_sentence(self, desk: Cli, stack: StackInfo) -> None:
        gone = {"DEALTHREAD_TEMPORAL__ADDRESS": "127.0.0.1:1"}
        assert "Temporal does not answer at 127.0.0.1:1: start it" in desk.refused(
            "stuck", env=gone
        )
        namespace = {"DEALTHREAD_TEMPORAL__NAMESPACE": "nowhere"}
        assert "has no namespace 'nowhere': create it, or correct" in desk.refused(
            "stuck", env=namespace
        )
        for url, sentence in {
            "postgresql://me:hush@127.0.0.1:1/deals": "PostgreSQL does not serve us at "
            "127.0.0.1:1/deals (",
            f"postgresql://postgres:hush@127.0.0.1:{stack.ports.postgres}/deals": "password",
        }.items():
            said = desk.refused("trace", "006", env={"DEALTHREAD_STORE__URL": url})
            assert sentence in said
            assert "hush" not in said

    def test_a_database_without_tables_is_migrated(self, desk: Cli, stack: StackInfo) -> None:
        known = load_config(stack.config).store.secret_url.get_secret_value()
        empty = {"DEALTHREAD_STORE__URL": known.rpartition("/")[0] + "/postgres"}
        assert "has no tables of Dealthread: run `starter.py migrate`" in desk.refused(
            "stuck", env=empty
        )
        assert desk.run("migrate", env=empty).out == "The database is up to date.\n"
        assert desk.run("stuck", env=empty).out == "Nothing waits for a person.\n"
        assert desk.run("migrate", "--json", env=empty).data == {"migrated": True}
