"""The worklist's commands on a running stack: look, own, comment, retry many, clusters."""

import asyncio
from typing import Any

import pytest

from embedded.configuration import ACCOUNT
from embedded.stack import StackInfo
from simulators.kit.control import Control
from tests.cli.conftest import Cli
from tests.cli.test_commands import deals, stuck, until

pytestmark = pytest.mark.e2e

__all__ = ["deals"]

CONNECTION = "netsuite"


def refuse_clients(stack: StackInfo, *, mended: bool = False) -> None:
    """Let the ERP refuse new clients, or no more."""

    async def done() -> None:
        async with Control(stack.addresses["simulators"]) as control:
            if mended:
                await control.clear_faults("netsuite", ACCOUNT)
            else:
                match: Any = {"correlation": ":provision_client", "write": True}
                await control.add_fault("netsuite", ACCOUNT, match, "reject", times=1_000)

    asyncio.run(done())


def work(desk: Cli, *words: str) -> list[dict[str, Any]]:
    listed: Any = desk.run("work", "list", "--json", *words).data
    return [each["work"] for each in listed["work"]]


def test_a_persons_day_with_the_worklist(
    desk: Cli, deals: dict[str, str], stack: StackInfo
) -> None:
    refuse_clients(stack)
    deal = deals["tm-us"]  # this file is the first: the tests after it find the deal complete
    assert desk.run("start", "opportunity", deal).code == 0
    item = stuck(desk, deal, "provision_client")
    id_, reason = item["id"], item["failure"]["reason"]
    mine = ("--connection", CONNECTION, "--reason", reason)

    told = desk.run("work", "list", *mine).out
    assert id_ in told
    assert "answer by" in told
    assert f"starter.py resolve {id_}" in told
    assert [each["id"] for each in work(desk, *mine)] == [id_]
    assert work(desk, "--client", "nobody") == []
    assert work(desk, *mine, "--overdue") == []

    assert desk.run("work", "take", id_, "--as", "olivia").out == f"olivia sees to {id_}\n"
    assert desk.run("work", "assign", id_, "--to", "fiona", "--as", "olivia").code == 0
    assert desk.run("work", "comment", id_, "asked the vendor", "--as", "fiona").code == 0
    assert [each["owner"] for each in work(desk, "--owner", "fiona")] == ["fiona"]
    shown = desk.run("work", "show", id_).out
    assert "fiona: asked the vendor" in shown
    assert f"starter.py resolve {id_} roll_back --as NAME" in shown

    assert "is no residue" in desk.refused(
        "work", "acknowledge", id_, "--because", "x", "--as", "olivia"
    )
    assert "has 1 to 2000 characters" in desk.refused("work", "comment", id_, " ", "--as", "olivia")
    assert "is not in dealthread.toml" in desk.refused("work", "take", id_, "--as", "nobody")
    assert "There is no open work" in desk.refused("work", "show", "WI-none")

    (cluster,) = [
        each
        for each in desk.run("stuck", "--clusters", "--json").data  # type: ignore[union-attr]
        if each["reason"] == reason and each["connection"] == CONNECTION  # type: ignore[index,call-overload]
    ]
    assert cluster["count"] == 1  # type: ignore[index,call-overload]
    assert "What waits, by cause" in desk.run("work", "clusters").out

    dry = desk.run("work", "retry", *mine, "--dry-run", "--as", "olivia")
    assert dry.code == 0
    assert "retry would do provision_client" in dry.out
    assert [each["id"] for each in work(desk, *mine)] == [id_]
    refuse_clients(stack, mended=True)
    done: Any = desk.run("work", "retry", *mine, "--as", "olivia", "--json").data
    assert [(each["id"], each["state"]) for each in done] == [(id_, "taken")]
    until(lambda: not work(desk, *mine), "an empty list")
    assert "is closed" in desk.refused("work", "show", id_)
    assert "Nothing matches." in desk.run("work", "retry", *mine, "--as", "olivia").out


def test_a_retry_of_everything_is_wrong_usage(cli: Cli) -> None:
    assert cli.run("work", "retry", "--as", "olivia").code == 2
