"""An invoice's PDF, evidence and way back, from the command line, on what a real server issued."""

import asyncio
import hashlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from pypdf import PdfReader
from sqlalchemy import text
from typer.testing import CliRunner

from canonical.credit_invoice import CreditedAmount, CreditVerb
from canonical.draft_acts import EditNarrative
from canonical.drafts import Draft, DraftState
from canonical.engagement import BillingMethod
from canonical.entries import Entry, EntryKind
from canonical.evidence import ErpReadBack, EvidenceLine, EvidencePerson, VendorCall
from canonical.invoicing import CreditReason, Invoice
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.saga import SagaResult
from operations.documents.evidence import READ_BACK
from operations.documents.verify import LINES, verify
from operations.invoice_files import SEALED, InvoiceFiles, invoices_of
from operations.way_back import WayBack
from starter import app
from store.credits import CreditStanding
from tests.cli.conftest import Ran
from tests.support.billing import AT_PROJECT
from tests.support.invoicing import (
    DEAL,
    MILESTONE_CENTS,
    drafted,
    handed_over,
    in_state,
    invoiced,
    look,
    milestone_handed_over,
    pay,
    posting,
    queued,
    release,
    seen_as,
    tracked,
)
from tests.support.world import World

pytestmark = pytest.mark.e2e

HOSTILE = 'Review #eval("1+1") $x^2$ [red]*now*[/red] <b>&amp;</b> \\ "quoted" `code` @ref'


@dataclass
class Firm:
    """What was billed in one world, and commands on it."""

    world: World
    config: Path
    environment: dict[str, str]
    timed: TrackedInvoice
    """An invoice over hours and expenses; a line of it was worded anew."""
    timed_draft: Draft
    milestone: TrackedInvoice
    waiting: Draft
    """In the billing queue."""

    def run(self, *words: str) -> Ran:
        logging = structlog.get_config()
        try:
            result = CliRunner().invoke(app, list(words), env=self.environment)
        finally:
            structlog.configure(**logging)
        assert "Traceback" not in result.output
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def refused(self, *words: str) -> str:
        ran = self.run(*words)
        assert ran.code == 1, ran
        assert ran.out == ""
        assert ran.err.count("\n") == 1, ran.err
        return ran.err

    def data(self, *words: str) -> dict[str, Any]:
        """Return what a command tells as JSON."""
        ran = self.run(*words, "--json")
        assert ran.code == 0, ran
        told: Any = ran.data
        return dict(told)

    def way(self, what: str) -> WayBack:
        return WayBack.model_validate(self.data("trace", what, "--detail"))


def named(invoice: TrackedInvoice) -> str:
    return f"{invoice.record.system}/{invoice.record.id}"


async def _timed(world: World) -> tuple[TrackedInvoice, Draft]:
    account = await handed_over(world)
    result = await world.finished(await world.start(account, DEAL))
    assert result.outcome == "completed", result
    draft = await queued(world, account)
    words = EditNarrative(by="olivia", line=draft.lines[0].number, narrative=HOSTILE)
    assert (await world.queue.act(draft.id, words)).taken
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await in_state(world, draft.id, DraftState.INVOICED)
    await world.result(posting(world, draft))
    return await tracked(world, draft), await world.store.drafts.get(draft.id)


async def _milestone(world: World) -> TrackedInvoice:
    return await invoiced(world, await milestone_handed_over(world))


async def _waiting(world: World) -> Draft:
    account = await handed_over(world, billing_method=BillingMethod.ERP_LINES)
    (draft,) = await drafted(world, account, AT_PROJECT)
    return draft


@pytest_asyncio.fixture(scope="module")
async def firm(world: World, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    """Two invoices and a draft, and a configuration that finds them."""
    (timed, timed_draft), milestone, waiting = await asyncio.gather(
        _timed(world), _milestone(world), _waiting(world)
    )
    config = tmp_path_factory.mktemp("firm") / "dealthread.toml"
    config.write_text(
        f'[temporal]\naddress = "{world.env.client.service_client.config.target_host}"\n'
        "[connections.salesforce]\n"
        'vendor = "salesforce"\nrole = "crm"\nbase_url = "http://127.0.0.1:9"\n'
        '[people.cara]\nroles = ["controller"]\nemail = "cara@example.com"\n'
    )
    url = world.store.database.engine.url.set(drivername="postgresql")
    environment = {
        "DEALTHREAD_CONFIG": str(config),
        "DEALTHREAD_STORE__URL": url.render_as_string(hide_password=False),
    }
    return Firm(world, config, environment, timed, timed_draft, milestone, waiting)


@dataclass
class Noted:
    """An invoice with one credit that is issued, and one that waits."""

    invoice: TrackedInvoice
    issued: CreditStanding
    asked: str


@pytest_asyncio.fixture(scope="module")
async def noted(firm: Firm) -> Noted:
    """Two lines of an invoice are conceded a part, and a third part is asked for."""
    world = firm.world
    invoice = await invoiced(world, await handed_over(world))
    first, second, *_ = (line.number for line in invoice.lines if line.number)

    async def ask(*parts: tuple[int, str]) -> str:
        lines = [
            CreditedAmount(line=line, amount=Money(amount=Decimal(own), currency="USD"))
            for line, own in parts
        ]
        asked = await world.invoices.credit(
            invoice, lines, CreditReason.CONCESSION, because="late, as agreed", by="olivia"
        )
        assert asked.taken, asked.reasons
        return asked.credit

    credit = await ask((first, "40.00"), (second, "2.50"))
    standing = await world.invoices.find_credit(credit)
    assert (await world.invoices.decide(standing, CreditVerb.APPROVE, by="cara")).taken
    handle = world.env.client.get_workflow_handle(credit, result_type=SagaResult)
    assert (await world.result(handle)).outcome == "completed"
    return Noted(invoice, await world.store.credits.get_credit(credit), await ask((first, "1.00")))


def text_of(pdf: bytes) -> str:
    pages = PdfReader(io.BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).replace("\u200b", "").split())


def shown(money: Money) -> str:
    """Return an amount as an American document writes it."""
    return f"{money.amount:,.2f} {money.currency}"


@pytest.fixture(scope="module")
def original(firm: Firm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The evidence of the invoice over hours, and its seal."""
    path = tmp_path_factory.mktemp("evidence") / "original.zip"
    asked = ("invoice", "evidence", named(firm.timed), "-o", str(path), "--as", "cara")
    return path, str(firm.data(*asked)["seal"])


@pytest.fixture
def exported(original: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """A copy of it, and its seal."""
    copied = shutil.copy(original[0], tmp_path / "evidence.zip")
    return Path(copied), original[1]


@pytest.fixture(scope="module")
def printed(firm: Firm, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of the PDF of the invoice over hours."""
    path = tmp_path_factory.mktemp("printed") / "invoice.pdf"
    told = firm.data("invoice", "pdf", named(firm.timed), "-o", str(path))
    assert told["bytes"] == path.stat().st_size
    return text_of(path.read_bytes())


@pytest.fixture(scope="module")
def way(firm: Firm) -> WayBack:
    """The way back from the invoice over hours."""
    return firm.way(named(firm.timed))


def replaced(path: Path, found: dict[str, bytes], name: str, by: bytes) -> None:
    """Write the file with another member, its hash made anew as a forger would."""
    manifest = json.loads(found["manifest.json"])
    for member in manifest["members"]:
        if member["name"] == name:
            member |= {"sha256": hashlib.sha256(by).hexdigest(), "size": len(by)}
    whole = {**found, name: by, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in whole.items():
            archive.writestr(each, data)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestPdf:
    def test_an_invoice_has_the_issued_figures_and_every_entry(
        self, firm: Firm, way: WayBack, printed: str
    ) -> None:
        assert firm.timed.number in printed
        for money in (firm.timed.net, firm.timed.tax, firm.timed.gross):
            assert shown(money) in printed
        assert "estimated" not in printed
        assert "DRAFT" not in printed
        for line in way.lines:
            assert f"{line.net.amount:,.2f}" in printed
            for bill in line.bills:
                assert bill.entry is not None
                assert str(bill.entry.ref) in printed

    def test_a_narrative_is_never_markup(self, firm: Firm, printed: str) -> None:
        assert HOSTILE in printed
        told = firm.run("trace", named(firm.timed), "--detail").out
        assert HOSTILE[:50] in told

    def test_seller_and_client_are_those_of_policies_and_deal(
        self, firm: Firm, way: WayBack, printed: str
    ) -> None:
        us = firm.world.bundle.policies.legal_entities["US"]
        assert us.address is not None
        for told in (us.name, us.address.street, us.tax_id, us.payment_instructions):
            assert told in printed
        (deal,) = way.deals
        assert deal.client_name
        assert deal.client_name in printed
        assert deal.client_address.city in printed

    def test_a_draft_says_so_and_estimates_its_tax(self, firm: Firm, tmp_path: Path) -> None:
        path = tmp_path / "draft.pdf"
        ran = firm.run("queue", "pdf", firm.waiting.id, "-o", str(path))
        assert ran.code == 0, ran
        assert f"net {firm.waiting.net}" in ran.out
        text = text_of(path.read_bytes())
        assert shown(firm.waiting.net) in text
        assert "Tax is estimated" in text
        assert firm.waiting.content_hash in text
        # Nothing is known of its deal: the client is named by its id.
        assert firm.waiting.client_id in text

    def test_a_draft_that_became_an_invoice_is_printed_as_that(
        self, firm: Firm, tmp_path: Path
    ) -> None:
        path = tmp_path / "draft.pdf"
        assert firm.run("queue", "pdf", firm.timed.draft, "-o", str(path)).code == 0
        assert firm.timed.number in text_of(path.read_bytes())

    def test_a_milestone_has_its_approval_in_the_appendix(self, firm: Firm, tmp_path: Path) -> None:
        path = tmp_path / "milestone.pdf"
        ran = firm.run("invoice", "pdf", named(firm.milestone), "-o", str(path))
        assert ran.code == 0, ran
        text = text_of(path.read_bytes())
        net = Money(amount=Decimal(MILESTONE_CENTS).scaleb(-2), currency="USD")
        assert firm.milestone.net == net
        assert shown(net) in text
        (bill,) = firm.way(named(firm.milestone)).lines[0].bills
        assert bill.fee is not None
        assert bill.fee.item in text

    def test_a_credit_note_says_what_it_corrects_and_why(
        self, firm: Firm, noted: Noted, tmp_path: Path
    ) -> None:
        path = tmp_path / "note.pdf"
        credit, note = noted.issued.credit, noted.issued.note
        assert note is not None
        for name in (f"{credit.invoice.system}/{note.number}", credit.id):
            told = firm.data("invoice", "pdf", name, "-o", str(path))
            assert (told["of"], told["net"]["amount"]) == (note.number, str(credit.net.amount))
        text = text_of(path.read_bytes())
        for words in (
            *("Credit note", f"Number {note.number}", f"Corrects invoice {noted.invoice.number}"),
            *("late, as agreed", shown(note.net), shown(note.gross)),
        ):
            assert words in text
        assert text.count("Reason: Concession") == 2
        way = firm.way(named(noted.invoice))
        (entry, *_) = [bill.entry.ref for bill in way.lines[0].bills if bill.entry]
        assert str(entry) in text
        assert "estimated" not in text

    def test_a_credit_that_waits_has_no_note_to_print(
        self, firm: Firm, noted: Noted, tmp_path: Path
    ) -> None:
        told = firm.refused("invoice", "pdf", noted.asked, "-o", str(tmp_path / "x.pdf"))
        assert told == f"{noted.asked} is asked: there is no credit note to print yet.\n"

    def test_mistakes_are_one_sentence(self, firm: Firm, tmp_path: Path) -> None:
        out = str(tmp_path / "x.pdf")
        unknown = firm.refused("invoice", "pdf", "INV-404", "-o", out)
        assert unknown == "There is no invoice 'INV-404': see `starter.py invoice list`.\n"
        assert "There is no draft" in firm.refused("queue", "pdf", "nothing/9", "-o", out)
        away = str(tmp_path / "absent" / "x.pdf")
        refused = firm.refused("invoice", "pdf", named(firm.timed), "-o", away)
        assert refused == f"{away} cannot be written: No such file or directory.\n"
        template = tmp_path / "broken.typ"
        template.write_text("#let = 1")
        options = ("-o", out, "--template", str(template))
        ran = firm.run("invoice", "pdf", named(firm.timed), *options)
        assert ran.code == 1
        assert not Path(out).exists()


class TestEvidence:
    def test_it_has_all_that_proves_the_invoice(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        path, _ = exported
        found = members(path)
        manifest = json.loads(found["manifest.json"])
        assert manifest["missing"] == []
        assert manifest["released_by"] == "cara"
        assert manifest["draft_hash"] == firm.timed_draft.released_hash
        assert manifest["policy_hash"] == firm.world.bundle.hash
        lines = LINES.validate_json(found["lines.json"])
        assert sum(line.net.amount for line in lines) == firm.timed.net.amount
        for line in lines:
            assert sum(part.amount.amount for part in line.parts) == line.net.amount
        back = json.loads(found["erp-read-back.json"])
        assert back["number"] == firm.timed.number
        assert Decimal(back["gross"]["amount"]) == firm.timed.gross.amount
        assert len(back["lines"]) == len(firm.timed.lines)
        tax = json.loads(found["tax.json"])
        assert sum(Decimal(each["final"]["amount"]) for each in tax) == firm.timed.tax.amount
        assert {each["category"] for each in tax} == {
            x.tax_category for x in firm.timed_draft.lines
        }

    async def test_records_are_those_of_the_psa(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        path, _ = exported
        records = [
            Entry.model_validate_json(data)
            for name, data in members(path).items()
            if name.startswith("approved-records/")
        ]
        account = firm.timed.record.system.partition("@")[2]
        in_psa = {
            record["id"]: record["fields"]
            for type_ in ("time_entries", "expenses")
            for record in await firm.world.control.records("kantata", account, type=type_)
        }
        assert records
        for record in records:
            if record.kind is EntryKind.TIME:
                assert record.minutes == in_psa[record.id]["time_in_minutes"]
            assert record.approved

    def test_people_have_the_names_of_the_hcm(self, exported: tuple[Path, str]) -> None:
        people = [
            EvidencePerson.model_validate(each)
            for each in json.loads(members(exported[0])["people.json"])
        ]
        workers = [person for person in people if person.email]
        assert workers
        assert all(person.name for person in workers), people
        assert all(person.legal_entity for person in workers), people

    async def test_it_names_every_write_of_run_and_posting(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        rows = members(exported[0])["vendor-calls.jsonl"].splitlines()
        calls = [VendorCall.model_validate_json(row) for row in rows]
        sagas = {call.saga.partition("/")[0] for call in calls}
        assert sagas == {"billing-run", "invoice-posting"}
        made = {(record.type, record.id) for call in calls for record in call.records}
        assert ("invoice", firm.timed.record.id) in made
        account = firm.timed.record.system.partition("@")[2]
        charges = await firm.world.control.records("netsuite", account, type="charge")
        lines = LINES.validate_json(members(exported[0])["lines.json"])
        assert charges
        assert {charge["key"] for charge in charges} <= {
            external_id for line in lines for external_id in line.external_ids
        }

    def test_its_seal_is_in_the_trail_and_the_file_is_intact(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        path, seal = exported
        told = firm.data("invoice", "verify", str(path))
        assert told["intact"] is True
        assert told["seal"] == seal
        assert verify(path, seal).problems == ()
        assert firm.run("invoice", "verify", str(path), "--seal", seal).code == 0

    async def test_the_act_of_sealing_says_who(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        _, seal = exported
        trail = await firm.world.store.audit.trail(named(firm.timed))
        acts = [entry for entry in trail if entry.act == SEALED]
        assert acts[-1].actor == "cara"
        assert json.loads(acts[-1].data_json)["seal"] == seal
        assert await firm.world.store.audit.verify(named(firm.timed)) is None

    def test_a_changed_byte_is_named(self, firm: Firm, exported: tuple[Path, str]) -> None:
        path, _ = exported
        found = members(path)
        found["lines.json"] = found["lines.json"].replace(b"Review", b"review", 1)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in found.items():
                archive.writestr(name, data)
        ran = firm.run("invoice", "verify", str(path))
        assert ran.code == 1
        size = len(found["lines.json"])
        assert ran.out.startswith("NOT INTACT")
        assert f"lines.json: changed ({size} bytes then, {size} now)" in ran.out

    def test_a_whole_file_of_another_making_is_not_the_sealed_one(
        self, firm: Firm, exported: tuple[Path, str]
    ) -> None:
        path, seal = exported
        found = members(path)
        manifest = json.loads(found["manifest.json"])
        manifest["released_by"] = "somebody else"
        found["manifest.json"] = json.dumps(manifest).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in found.items():
                archive.writestr(name, data)
        assert verify(path).intact
        ran = firm.run("invoice", "verify", str(path))
        assert ran.code == 1
        assert "not one of the seals that the audit trail keeps" in ran.out
        assert firm.run("invoice", "verify", str(path), "--seal", seal).code == 1

    async def test_the_answer_is_kept_as_it_was_read_whatever_became_of_the_invoice(
        self, firm: Firm, tmp_path: Path
    ) -> None:
        invoice = firm.milestone
        account = invoice.record.system.partition("@")[2]
        read = await firm.world.ports.issuer(invoice.record.system).read_invoice(invoice.record)
        await pay(firm.world, account, invoice, invoice.gross.amount)
        await look(firm.world, invoice)
        await seen_as(firm.world, invoice, InvoiceState.SETTLED)
        path = tmp_path / "paid.zip"
        files = InvoiceFiles(firm.world.store, firm.world.bundle.policies, {})
        path.write_bytes((await files.evidence(await files.way(invoice), "cara")).data)
        back = ErpReadBack.model_validate_json(members(path)[READ_BACK])
        body = Invoice.model_validate_json(back.body)
        assert (body.number, body.period, body.lines) == (read.number, read.period, read.lines)
        assert body.period
        assert body.applications == ()
        assert body.remaining == invoice.gross
        assert (back.number, back.net, back.tax) == (body.number, body.net, body.tax)
        (posted,) = [
            entry
            for entry in await firm.world.store.audit.trail(named(invoice))
            if entry.act == "posted"
        ]
        digest = hashlib.sha256(back.body.encode()).hexdigest()
        assert json.loads(posted.data_json)["read_back"] == digest
        assert verify(path).intact

    def test_another_answer_of_the_erp_is_found_though_every_hash_fits(
        self, exported: tuple[Path, str]
    ) -> None:
        path, _ = exported
        found = members(path)
        back = json.loads(found[READ_BACK])
        body = json.loads(back["body"])
        body["tax"]["amount"] = back["tax"]["amount"] = "999.00"
        forged = json.dumps({**back, "body": json.dumps(body)}).encode()
        replaced(path, found, READ_BACK, forged)
        told = "erp-read-back.json: its body is not what the audit trail says was read"
        assert verify(path).problems == (told,)
        # The same body beside other figures.
        told_apart = json.dumps({**back, "body": json.loads(found[READ_BACK])["body"]}).encode()
        replaced(path, found, READ_BACK, told_apart)
        assert verify(path).problems == ("erp-read-back.json: its tax is not that of its body",)

    def test_a_milestone_is_proven_by_its_record_and_approval(
        self, firm: Firm, tmp_path: Path
    ) -> None:
        path = tmp_path / "milestone.zip"
        ran = firm.run("invoice", "evidence", named(firm.milestone), "-o", str(path), "--json")
        assert ran.code == 0, ran
        found = members(path)
        (milestone,) = json.loads(found["milestones.json"])
        assert milestone["approved_by"]
        assert milestone["approved_at"]
        assert json.loads(milestone["record"])
        (line,) = [EvidenceLine.model_validate(each) for each in json.loads(found["lines.json"])]
        assert line.milestone == milestone["item"]
        calls = found["vendor-calls.jsonl"].decode()
        assert "milestone-to-invoice/" in calls
        assert "invoice-posting/" in calls
        assert firm.run("invoice", "verify", str(path)).code == 0

    def test_mistakes_are_one_sentence(self, firm: Firm, tmp_path: Path) -> None:
        out = str(tmp_path / "x.zip")
        assert "There is no invoice" in firm.refused("invoice", "evidence", "INV-404", "-o", out)
        asked = ("invoice", "evidence", named(firm.timed), "-o", out, "--as", "nobody")
        assert "'nobody' is not in dealthread.toml" in firm.refused(*asked)
        absent = firm.run("invoice", "verify", out)
        assert absent.code == 1
        assert "it cannot be read" in absent.out


class TestTrace:
    def test_an_invoice_goes_back_to_people_approvals_and_rates(
        self, firm: Firm, way: WayBack
    ) -> None:
        ran = firm.run("trace", named(firm.timed), "--detail")
        assert ran.code == 0, ran
        told = " ".join(re.sub(r"[│├└─]", " ", ran.out).split())
        assert f"net {firm.timed.net}, tax {firm.timed.tax}, gross {firm.timed.gross}" in told
        assert "released by cara" in told
        assert firm.timed_draft.released_hash[:12] in told
        assert firm.timed_draft.bundle[:12] in told
        (deal,) = way.deals
        assert f"deal {deal.opportunity_id} in {deal.crm}" in told
        assert f"client {deal.client_name}" in told
        bill = way.lines[0].bills[0]
        assert bill.entry is not None
        assert bill.rated is not None
        assert bill.rated.rate is not None
        assert str(bill.entry.ref) in told
        assert f"({bill.rated.rate.source})" in told
        assert "approved by" in told
        assert "billing-run/" in told
        assert "invoice-posting/" in told
        assert bill.charge in told

    def test_as_json_it_is_complete_and_its_figures_are_the_invoices(
        self, firm: Firm, way: WayBack
    ) -> None:
        assert way.invoice is not None
        assert way.invoice.net == firm.timed.net
        assert sum(line.net.amount for line in way.lines) == firm.timed.net.amount
        billed = [bill for line in way.lines for bill in line.bills]
        assert sum(bill.amount.amount for bill in billed) == firm.timed.net.amount
        assert all(bill.entry and bill.entry.approved_by and bill.run for bill in billed)
        looks = {"invoice": {"seen_at"}}  # somebody may look at it once more meanwhile
        told = way.model_dump(exclude=looks)
        for name in (firm.timed.draft, firm.timed.draft.removeprefix("invoice-draft/")):
            assert firm.way(name).model_dump(exclude=looks) == told

    def test_a_number_that_two_systems_gave_names_both(self, firm: Firm, tmp_path: Path) -> None:
        assert firm.timed.number == firm.milestone.number
        for command in (("trace",), ("invoice", "pdf", "-o", str(tmp_path / "x.pdf"))):
            told = firm.refused(*command, firm.timed.number)
            assert named(firm.timed) in told
            assert named(firm.milestone) in told

    async def test_a_number_that_one_system_gave_is_enough(self, firm: Firm) -> None:
        number = text("UPDATE invoices SET number = :number WHERE draft = :draft")
        of = {"draft": firm.milestone.draft}
        await firm.world.store.database.run(number, {**of, "number": "INV/2026-1"})
        try:
            (found,) = await invoices_of(firm.world.store, "INV/2026-1")
        finally:
            await firm.world.store.database.run(number, {**of, "number": firm.milestone.number})
        assert found.record == firm.milestone.record

    def test_a_draft_has_no_invoice_yet(self, firm: Firm) -> None:
        way = firm.way(firm.waiting.id)
        assert way.invoice is None
        assert sum(line.net.amount for line in way.lines) == firm.waiting.net.amount
        assert "no invoice yet" in firm.run("trace", firm.waiting.id, "--detail").out

    def test_a_long_line_is_bounded_unless_all_is_asked_for(
        self, firm: Firm, way: WayBack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("operations.cli.way_tree.SHOWN", 1)
        count = sum(len(line.bills) for line in way.lines)
        bounded = firm.run("trace", named(firm.timed), "--detail").out
        assert re.search(r"and \d+ more lines: --all shows them", bounded)
        everything = firm.run("trace", named(firm.timed), "--detail", "--all").out
        assert "--all shows them" not in everything
        assert everything.count("approved by") == count

    def test_a_milestone_goes_back_to_who_completed_it(self, firm: Firm) -> None:
        told = firm.run("trace", named(firm.milestone), "--detail").out
        (bill,) = firm.way(named(firm.milestone)).lines[0].bills
        assert bill.fee is not None
        assert f"milestone {bill.fee.item}" in told
        assert f"approved by {bill.fee.approved_by[0]}" in told

    def test_entries_and_sagas_are_traced_as_before(self, firm: Firm, way: WayBack) -> None:
        run = way.sagas[0].workflow_id
        told = firm.run("trace", run, "--detail")
        assert told.code == 0, told
        assert "The trail is intact." in told.out
        assert firm.data("trace", run, "--detail")["workflow_id"] == run

    def test_nothing_known_is_one_sentence(self, firm: Firm) -> None:
        for word in ("INV-404", "netsuite/404", "time:404", "nothing/of/it"):
            assert firm.refused("trace", word).startswith("Nothing is known of ")
