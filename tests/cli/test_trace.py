"""The command `trace` on a store alone: tree, JSON, Mermaid, and what a person gets wrong."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from pydantic import SecretStr

from operations.trace.graph import TraceGraph
from operations.trace.thread import Tracer
from store import Store
from tests.cli.conftest import Ran, starter
from tests.store.billing import PROJECT
from tests.store.invoicing import billed, billed_contract, opened


@dataclass
class Clerk:
    """Somebody at the command line, with some hours on a draft in the store."""

    store: Store
    draft: str
    environment: dict[str, str]

    async def run(self, *words: str) -> Ran:
        return await starter(self.environment, *words)

    async def refused(self, *words: str) -> str:
        """Run a command that has to fail with one sentence; return it."""
        ran = await self.run(*words)
        assert (ran.code, ran.out) == (1, ""), ran
        assert ran.err.count("\n") == 1, ran.err
        return ran.err


@pytest_asyncio.fixture
async def clerk(store: Store, database_url: SecretStr, tmp_path: Path) -> Clerk:
    await store.engagements.put(billed_contract(title="Atlas [red]rollout[/red]\x1b[2J"))
    draft = await opened(store, await billed(store, PROJECT, *map(str, range(1, 31))))
    config = tmp_path / "dealthread.toml"
    config.write_text("")
    url = database_url.get_secret_value()
    return Clerk(
        store,
        draft.id,
        {"DEALTHREAD_CONFIG": str(config), "DEALTHREAD_STORE__URL": url, "COLUMNS": "80"},
    )


async def test_the_tree_tells_the_thread_and_what_it_leaves_out(clerk: Clerk) -> None:
    ran = await clerk.run("trace", "006")
    assert (ran.code, ran.err) == (0, "")
    told = " ".join(ran.out.replace("│", " ").split())
    assert "deal salesforce/006 · Atlas [red]rollout[/red] [2J · imported ◀ this" in told
    assert "31 time entries · 31 placed" in told
    assert "20 shown, --all shows them all" in told
    assert clerk.draft in told.replace(" ", "")
    assert "\x1b" not in ran.out
    everything = await clerk.run("trace", "006", "--all")
    assert "--all shows" not in everything.out
    assert everything.out.count("time kantata/") == 31


async def test_as_json_it_is_the_documented_model(clerk: Clerk) -> None:
    ran = await clerk.run("trace", clerk.draft, "--json", "--limit", "3", "--depth", "2")
    assert ran.code == 0, ran
    found = TraceGraph.model_validate(ran.data)
    assert found == await Tracer(clerk.store).trace(clerk.draft, limit=3, depth=2)
    assert json.loads(ran.out)["nodes"]


async def test_as_mermaid_it_is_a_flowchart_and_nothing_else(clerk: Clerk) -> None:
    ran = await clerk.run("trace", "006", "--mermaid")
    assert ran.out.startswith("flowchart LR\n")
    assert ran.out.endswith("stroke-width:4px\n")
    assert "\x1b" not in ran.out


async def test_mistakes_are_one_sentence(clerk: Clerk) -> None:
    assert "Nothing is known of 'nobody'" in await clerk.refused("trace", "nobody")
    said = await clerk.refused("trace", PROJECT)
    assert f"may mean project:kantata/{PROJECT} or time:kantata/{PROJECT}: write one" in said
    assert "leave out --json and --detail" in await clerk.refused(
        "trace", "006", "--mermaid", "--json"
    )
    assert "no more detail of deal:salesforce/006" in await clerk.refused(
        "trace", "006", "--detail"
    )
    assert (await clerk.run("trace", "006", "--limit", "0")).code == 2


async def test_detail_is_of_one_thing(clerk: Clerk) -> None:
    ran = await clerk.run("trace", "time:1", "--detail")
    assert ran.code == 0, ran
    assert "Moves" in ran.out
    assert "deal" not in ran.out
