"""The exported evidence of an invoice is whole, repeatable, and shows what was changed in it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from canonical.entries import Entry
from canonical.evidence import AuditFact, InvoiceEvidence, Release
from operations.documents.evidence import MANIFEST, EvidenceFile, pack_evidence
from operations.documents.verify import verify
from store.audit import AuditEntry, _hash
from tests.unit.operations.document_samples import (
    APPROVED,
    DRAFT_HASH,
    POLICY,
    RELEASED,
    act,
    as_read,
    euro,
    evidence,
    record,
)

PDF = b"%PDF-1.7 as released"
FIRST = "approved-records/00001-time-47_12.json"
MEMBERS = [
    MANIFEST,
    "invoice.pdf",
    "release.json",
    FIRST,
    "approved-records/00002-time-4711.json",
    "people.json",
    "rates.json",
    "fx.json",
    "tax.json",
    "milestones.json",
    "lines.json",
    "erp-read-back.json",
    "vendor-calls.jsonl",
    "audit.jsonl",
]


def members(packed: EvidenceFile) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed.data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def written(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def resealed(content: dict[str, bytes]) -> dict[str, bytes]:
    """Make the manifest anew, as somebody would who wants a change to pass unseen."""
    manifest = json.loads(content[MANIFEST])
    manifest["members"] = [
        {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in content.items()
        if name != MANIFEST
    ]
    return {**content, MANIFEST: json.dumps(manifest).encode()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence.zip"


class TestPacking:
    def test_it_has_every_member_in_a_fixed_order_and_time(self) -> None:
        packed = pack_evidence(evidence(), PDF)
        with zipfile.ZipFile(io.BytesIO(packed.data)) as archive:
            assert archive.namelist() == MEMBERS
            assert {info.date_time for info in archive.infolist()} == {(2026, 12, 1, 14, 30, 6)}
            assert archive.read("invoice.pdf") == PDF
        assert packed.missing == ()

    def test_the_same_evidence_makes_the_same_file_in_any_order_of_records(self) -> None:
        known = evidence()
        turned = known.model_copy(update={"approved_records": known.approved_records[::-1]})
        assert pack_evidence(known, PDF) == pack_evidence(turned, PDF)

    def test_the_manifest_says_whose_it_is_and_hashes_each_member(self) -> None:
        packed = pack_evidence(evidence(), PDF)
        found = members(packed)
        manifest = json.loads(found[MANIFEST])
        assert manifest["number"] == "INV-10077"
        assert manifest["draft_hash"] == DRAFT_HASH
        assert manifest["policy_hash"] == POLICY
        assert manifest["released_by"] == "finance@example.com"
        assert packed.seal == hashlib.sha256(found[MANIFEST]).hexdigest()
        assert {each["name"]: each["sha256"] for each in manifest["members"]} == {
            name: hashlib.sha256(data).hexdigest()
            for name, data in found.items()
            if name != MANIFEST
        }

    def test_records_are_as_read_and_decimals_exact(self) -> None:
        found = members(pack_evidence(evidence(), PDF))
        assert Entry.model_validate_json(found[FIRST]) == record("47/12", 30)
        assert json.loads(found[FIRST])["psa_rate"] == "185.00"
        assert json.loads(found["fx.json"])[0]["rate"] == "0.921500"
        assert json.loads(found["erp-read-back.json"])["body"] == as_read().model_dump_json()

    @pytest.mark.parametrize("hostile", ["../../etc/passwd", "/abs", "a\\b", "x" * 300, "ü\x00"])
    def test_an_id_of_a_vendor_never_becomes_a_path(self, hostile: str) -> None:
        known = evidence(approved_records=(record(hostile),), lines=(), rates=())
        (name,) = (each for each in members(pack_evidence(known, PDF)) if each.startswith("appr"))
        assert name.count("/") == 1
        assert len(name) < 100
        assert name.isascii()

    def test_what_is_not_known_is_named(self) -> None:
        known = evidence()
        release = Release(by="finance@example.com", at=RELEASED, draft_hash="another")
        tax = (known.tax[0].model_copy(update={"final": None}),)
        bare = evidence(
            release=release, read_back=None, tax=tax, people=(), approved_records=(record("4711"),)
        )
        assert pack_evidence(bare, PDF).missing == (
            "what was released is not this draft: their hashes differ",
            "it has not been read back from the ERP",
            "tax is an estimate",
            "nobody is known as 3",
            "line l1: no approved record of time:47/12",
        )
        unreleased = pack_evidence(evidence(release=None, rates=()), PDF).missing
        assert unreleased[0] == "nobody has released it"
        assert "line l1: no rate of time:4711" in unreleased

    def test_a_time_before_the_format_knows_any_is_its_first(self) -> None:
        early = evidence(at=datetime(1970, 1, 1, tzinfo=UTC))
        with zipfile.ZipFile(io.BytesIO(pack_evidence(early, PDF).data)) as archive:
            assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


class TestVerifying:
    def test_an_untouched_file_is_intact(self, path: Path) -> None:
        packed = pack_evidence(evidence(), PDF)
        path.write_bytes(packed.data)
        found = verify(path, packed.seal)
        assert found.problems == ()
        assert found.intact
        assert found.seal == packed.seal

    def test_an_incomplete_but_untouched_file_is_intact_and_says_what_is_missing(
        self, path: Path
    ) -> None:
        path.write_bytes(pack_evidence(evidence(approved_records=()), PDF).data)
        found = verify(path)
        assert found.intact
        assert "line l1: no approved record of time:4711" in found.missing

    @pytest.mark.parametrize("member", MEMBERS[1:])
    def test_a_changed_member_is_named(self, path: Path, member: str) -> None:
        content = members(pack_evidence(evidence(), PDF))
        size = len(content[member])
        content[member] = content[member].replace(b"a", b"b") + b" "
        found = verify(written(path, content))
        assert not found.intact
        assert f"{member}: changed ({size} bytes then, {size + 1} now)" in found.problems

    @pytest.mark.parametrize("member", MEMBERS)
    def test_a_removed_member_is_named(self, path: Path, member: str) -> None:
        content = members(pack_evidence(evidence(), PDF))
        del content[member]
        assert f"{member}: missing" in verify(written(path, content)).problems

    def test_an_added_member_is_named(self, path: Path) -> None:
        content = {**members(pack_evidence(evidence(), PDF)), "approved-records/9.json": b"{}"}
        assert verify(written(path, content)).problems == (
            "approved-records/9.json: added, the manifest does not know it",
        )

    def test_a_second_member_of_one_name_is_named(self, path: Path) -> None:
        path.write_bytes(pack_evidence(evidence(), PDF).data)
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("tax.json", members(pack_evidence(evidence(), PDF))["tax.json"])
        assert verify(path).problems == ("tax.json: there are 2, of which one can be read",)

    def test_a_manifest_made_anew_is_found_by_its_seal_alone(self, path: Path) -> None:
        packed = pack_evidence(evidence(), PDF)
        content = {**members(packed), "invoice.pdf": b"%PDF-1.7 with another amount"}
        forged = written(path, resealed(content))
        assert verify(forged).intact
        assert verify(forged, packed.seal).problems == (
            "manifest.json: changed, it is not the one that was sealed",
        )

    def test_a_record_taken_out_of_the_manifest_too_leaves_its_line(self, path: Path) -> None:
        content = members(pack_evidence(evidence(), PDF))
        del content[FIRST]
        assert verify(written(path, resealed(content))).problems == (
            "lines.json: line l1: no approved record of time:47/12 as billed",
        )

    def test_a_record_changed_after_billing_is_another_version(self, path: Path) -> None:
        content = members(pack_evidence(evidence(), PDF))
        content[FIRST] = content[FIRST].replace(b'"minutes": 30', b'"minutes": 90')
        (problem,) = verify(written(path, resealed(content))).problems
        assert problem.startswith("lines.json: line l1: no approved record of time:47/12")

    def test_a_line_that_is_not_the_sum_of_its_parts_is_named(self, path: Path) -> None:
        known = evidence()
        more = known.lines[0].model_copy(update={"net": euro("300.00")})
        path.write_bytes(pack_evidence(evidence(lines=(more,)), PDF).data)
        assert verify(path).problems == (
            "lines.json: line l1 is 300.00 EUR, its parts sum to 277.50 EUR",
        )

    @pytest.mark.parametrize(
        "forge",
        [
            lambda acts: (acts[0], acts[1].model_copy(update={"actor": "somebody else"})),
            lambda acts: (acts[0], act(acts[0].subject, 2, "another", "released")),
            lambda acts: (acts[0], act(acts[0].subject, 3, acts[0].hash, "released")),
        ],
        ids=["changed", "not chained", "one left out"],
    )
    def test_an_act_that_does_not_fit_its_chain_is_named(
        self, path: Path, forge: Callable[[tuple[AuditFact, ...]], tuple[AuditFact, ...]]
    ) -> None:
        first, second, posted = evidence().audit
        forged = (*forge((first, second)), posted)
        path.write_bytes(pack_evidence(evidence(audit=forged), PDF).data)
        assert verify(path).problems[0].startswith("audit.jsonl: act ")

    def test_the_chain_is_the_one_of_the_audit_trail(self) -> None:
        fact = act("draft/ü", 7, "before", "released")
        assert _hash(AuditEntry.model_validate(fact.model_dump())) == fact.hash

    @pytest.mark.parametrize("member", ["lines.json", "audit.jsonl", FIRST])
    def test_content_that_is_not_ours_is_said_not_raised(self, path: Path, member: str) -> None:
        content = {**members(pack_evidence(evidence(), PDF)), member: b'{"no": "schema"}'}
        (problem,) = verify(written(path, resealed(content))).problems
        assert problem.startswith("its members do not fit its schema")

    @pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut short"])
    def test_what_is_no_archive_is_said(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        assert verify(path).problems[0].startswith("it cannot be read")

    def test_a_damaged_member_is_said(self, path: Path) -> None:
        data = bytearray(pack_evidence(evidence(), PDF).data)
        # 10 bytes into the compressed PDF, which is the second member.
        data[data.index(b"invoice.pdf") + len("invoice.pdf") + 10] ^= 0xFF
        path.write_bytes(data)
        (problem,) = verify(path).problems
        assert problem.startswith("invoice.pdf: damaged")

    def test_a_file_that_is_not_there_is_said(self, path: Path) -> None:
        assert verify(path).problems[0].startswith("it cannot be read")

    def test_a_manifest_of_a_later_version_is_said(self, path: Path) -> None:
        content = members(pack_evidence(evidence(), PDF))
        content[MANIFEST] = content[MANIFEST].replace(
            b'"schema_version": 1', b'"schema_version": 2'
        )
        assert verify(written(path, content)).problems == ("manifest.json: made by version 2",)


def test_a_large_invoice_is_packed_and_verified(path: Path) -> None:
    records = tuple(record(str(number)) for number in range(1000))
    known = InvoiceEvidence(
        draft="d",
        legal_entity="DE",
        draft_hash=DRAFT_HASH,
        policy_hash=POLICY,
        at=APPROVED,
        approved_records=records,
    )
    path.write_bytes(pack_evidence(known, PDF).data)
    assert verify(path).intact
    assert records[0].psa_rate == Decimal(185)
