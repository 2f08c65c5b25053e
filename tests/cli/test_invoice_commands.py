"""The commands on issued invoices, as processes of their own, on what a real server issued."""

from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import structlog
from typer.testing import CliRunner

from canonical.lifecycle import InvoiceState, TrackedInvoice
from starter import app
from tests.cli.conftest import Ran, starter
from tests.sagas.test_credits import credit_natively, unexplained
from tests.sagas.test_tax_differences import with_tax
from tests.support.invoicing import handed_over, invoiced, look, seen_as
from tests.support.world import World

pytestmark = pytest.mark.e2e


@dataclass
class Firm:
    """One invoice in one world, and commands on it."""

    world: World
    environment: dict[str, str]
    invoice: TrackedInvoice
    account: str

    @property
    def name(self) -> str:
        """How a person names the invoice: the accounts of a world share their numbers."""
        return f"{self.invoice.record.system}/{self.invoice.record.id}"

    async def run(self, *words: str) -> Ran:
        return await starter(self.environment, "invoice", *words)

    async def data(self, *words: str) -> Any:
        ran = await self.run(*words, "--json")
        assert ran.code == 0, ran
        return ran.data

    async def refused(self, *words: str) -> str:
        """Run a command that has to fail with a sentence; return what it said."""
        ran = await self.run(*words)
        assert ran.code == 1, ran
        return ran.out + ran.err


@pytest_asyncio.fixture
async def firm(world: World, environment: dict[str, str]) -> Firm:
    """An invoice of its own."""
    account = await handed_over(world)
    return Firm(world, environment, await invoiced(world, account), account)


async def test_a_credit_is_asked_for_approved_and_shown(firm: Firm) -> None:
    why = ("--reason", "concession", "--because", "late")
    credit = ("credit", firm.name, *why, "--as", "olivia")
    told = await firm.refused(*credit, "--line", "1=1000000.00")
    assert "is left to credit, not 1,000,000.00 USD" in told
    asked = await firm.run(*credit, "--line", "1=25.00")
    assert asked.code == 0, asked
    assert "asked  credit/" in asked.out
    assert "25.00 USD" in asked.out
    assert "has not the role" in await firm.refused("approve-credit", firm.name, "--as", "olivia")
    answer = await firm.data("approve-credit", firm.name, "--as", "cara")
    assert (answer["taken"], answer["state"]) == (True, "approved")

    async def credited() -> Any:
        shown = await firm.data("show", firm.name)
        return shown if shown["credits"][-1]["state"] == "credited" else None

    shown = await firm.world.eventually(credited, "the credit note")
    (standing,) = [each for each in shown["credits"] if each["state"] == "credited"]
    assert standing["credit"]["lines"][0]["amount"]["amount"] == "25.00"
    assert standing["note_number"]
    assert shown["lines"][0]["credited"]["amount"] == "25.00"
    people = await firm.run("show", firm.name)
    assert "olivia / cara" in people.out
    assert "No credit" in await firm.refused("approve-credit", firm.name, "--as", "cara")


async def test_a_refused_credit_cannot_be_approved_any_more(firm: Firm) -> None:
    why = ("--reason", "cancelled", "--because", "wrong client")
    asked = await firm.data("credit", firm.name, "--whole", *why, "--as", "fiona")
    assert asked["net"]["amount"] == str(firm.invoice.net.amount)
    refuse = ("refuse-credit", asked["credit"], "--because", "it is right", "--as", "cara")
    assert "refused  credit/" in (await firm.run(*refuse)).out
    told = await firm.refused("approve-credit", asked["credit"], "--as", "cara")
    assert "it is refused: it is right" in told


async def test_a_dispute_is_put_shown_and_ended(firm: Firm) -> None:
    put = await firm.run("dispute", firm.name, "--because", "hours", "--as", "olivia")
    assert put.out.startswith("disputed  ")
    await seen_as(firm.world, firm.invoice, InvoiceState.DISPUTED)
    listed = await firm.data("list", "--state", "disputed", "--client", firm.invoice.client_id)
    assert [each["disputed"] for each in listed] == ["hours"]
    ended = await firm.data("undispute", firm.name, "--as", "olivia")
    assert ended["disputed"] == ""
    assert "Nobody disputes" in await firm.refused("undispute", firm.name, "--as", "olivia")
    assert "under [people]" in await firm.refused(
        "dispute", firm.name, "--because", "x", "--as", "nobody"
    )


async def test_a_delivery_that_was_rejected_waits_until_it_is_sent_again(firm: Firm) -> None:
    world = firm.world
    back = ("delivery-rejected", firm.name, "--because", "wrong portal", "--as", "olivia")
    assert (await firm.run(*back)).out.startswith("delivery rejected  ")
    await seen_as(world, firm.invoice, InvoiceState.DELIVERY_REJECTED)
    shown = await firm.run("show", firm.name)
    assert "delivery  delivery rejected: wrong portal" in shown.out
    sent = await firm.data("transmitted", firm.name, "--because", "by post", "--as", "olivia")
    assert (sent["delivery"], sent["delivery_because"]) == ("transmitted", "by post")
    await seen_as(world, firm.invoice, InvoiceState.TRANSMITTED)
    assert "say why" in await firm.refused(
        "transmitted", firm.name, "--because", " ", "--as", "olivia"
    )


async def test_a_credit_of_the_erp_is_explained(firm: Firm) -> None:
    memo = await credit_natively(firm.world, firm.account, firm.invoice, firm.invoice.net.amount)
    await look(firm.world, firm.invoice)
    item = await unexplained(firm.world, firm.invoice)
    shown = await firm.run("show", firm.name)
    assert "has no reason" in shown.out
    told = await firm.refused(
        "explain", firm.name, "CM-0", "--reason", "service_credit", "--as", "fiona"
    )
    assert "there are:" in told
    explain = ("explain", firm.name, memo, "--reason", "service_credit", "--as", "fiona")
    assert (await firm.run(*explain)).out.startswith("explained  ")
    stored = await firm.world.store.work_items.get(item.id)
    assert stored is not None
    assert not stored.open


async def test_a_tax_that_is_off_is_shown_and_accepted(
    world: World, environment: dict[str, str]
) -> None:
    account, invoice = await with_tax(world)
    firm = Firm(world, environment, invoice, account)
    assert f"its tax is off by {invoice.tax}" in (await firm.run("show", firm.name)).out
    accept = ("accept-tax", firm.name, "--because", "exempt since May")
    assert "has not the role" in await firm.refused(*accept, "--as", "olivia")
    told = (await firm.run(*accept, "--as", "fiona")).out
    assert told == f"accepted  {invoice.tax} of tax on {invoice.number}\n"
    assert (await firm.data("show", firm.name))["work_items"] == []
    assert "No tax of invoice" in await firm.refused(*accept, "--as", "fiona")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("show", "INV-none"), 1, "There is no invoice"),
        (("show", "netsuite/none"), 1, "There is no invoice"),
        (("approve-credit", "credit/netsuite/1/1", "--as", "cara"), 1, "There is no invoice"),
        (("credit", "1", "--reason", "whim", "--because", "x", "--as", "y"), 2, "whim"),
        (("credit", "1", "--reason", "rebill", "--because", "x", "--as", "y"), 1, "--whole"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_mistake_is_one_sentence(
    environment: dict[str, str], words: tuple[str, ...], code: int, told: str
) -> None:
    logging = structlog.get_config()
    try:
        result = CliRunner().invoke(app, ["invoice", *words], env=environment)
    finally:
        structlog.configure(**logging)
    assert result.exit_code == code
    assert result.stdout == ""
    assert told in result.stderr
