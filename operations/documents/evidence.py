"""The evidence of an invoice as one ZIP that anybody can check without Dealthread's database.

`manifest.json` names every member with its SHA-256; the manifest's own SHA-256, the *seal*, belongs
into the audit trail, for who can change a member can change the manifest with it. Order and times
are those of the evidence, so the same evidence makes the same members, manifest and seal; the ZIP's
own bytes may differ with the version of zlib.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from canonical.entries import Entry
from canonical.evidence import EvidenceLine, EvidencePart, InvoiceEvidence
from canonical.model import CanonicalModel

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
RECORDS: Final = "approved-records/"
READ_BACK: Final = "erp-read-back.json"
ZIP_EPOCH: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""ZIP knows no earlier time (APPNOTE 4.4.6, MS-DOS date)."""


class Member(CanonicalModel):
    """One file of the export."""

    name: str
    sha256: str
    size: int
    """Bytes."""


class Manifest(CanonicalModel):
    """What the export contains, and whose invoice it proves."""

    schema_version: int = SCHEMA_VERSION
    draft: str
    number: str
    legal_entity: str
    draft_hash: str
    policy_hash: str
    released_by: str
    released_at: datetime | None
    at: datetime
    missing: tuple[str, ...]
    """What was not known when it was made, in words; empty for a whole one."""
    members: tuple[Member, ...]


class EvidenceFile(BaseModel):
    """The export, and the seal to keep elsewhere."""

    data: bytes
    seal: str
    """SHA-256 of `manifest.json`, hexadecimal."""
    missing: tuple[str, ...]


def pack_evidence(evidence: InvoiceEvidence, pdf: bytes) -> EvidenceFile:
    """Pack `evidence` and the document's PDF; what is missing is named, never made up."""
    members = _members(evidence, pdf)
    missing = tuple(_missing(evidence))
    release = evidence.release
    manifest = Manifest(
        draft=evidence.draft,
        number=evidence.number,
        legal_entity=evidence.legal_entity,
        draft_hash=evidence.draft_hash,
        policy_hash=evidence.policy_hash,
        released_by=release.by if release else "",
        released_at=release.at if release else None,
        at=evidence.at,
        missing=missing,
        members=tuple(
            Member(name=name, sha256=_sha256(data), size=len(data)) for name, data in members
        ),
    )
    first = (MANIFEST, _json(manifest))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (first, *members):
            archive.writestr(_info(name, evidence.at), data)
    return EvidenceFile(data=target.getvalue(), seal=_sha256(first[1]), missing=missing)


def _members(evidence: InvoiceEvidence, pdf: bytes) -> list[tuple[str, bytes]]:
    records = sorted(
        evidence.approved_records,
        key=lambda record: (record.source, record.kind, record.id, record.version),
    )
    lists: tuple[tuple[str, Sequence[CanonicalModel]], ...] = (
        ("people.json", evidence.people),
        ("rates.json", evidence.rates),
        ("fx.json", evidence.fx),
        ("tax.json", evidence.tax),
        ("milestones.json", evidence.milestones),
        ("lines.json", evidence.lines),
    )
    return [
        ("invoice.pdf", pdf),
        ("release.json", _json(evidence.release)),
        *(
            (_record_name(number, record), _json(record))
            for number, record in enumerate(records, 1)
        ),
        *((name, _json_list(models)) for name, models in lists),
        (READ_BACK, _json(evidence.read_back)),
        ("vendor-calls.jsonl", _json_lines(evidence.vendor_calls)),
        ("audit.jsonl", _json_lines(evidence.audit)),
    ]


def _record_name(number: int, record: Entry) -> str:
    # Ids are the vendor's: only what is safe in a file name on any system goes into one.
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", record.id)[:60]
    return f"{RECORDS}{number:05}-{record.kind}-{safe}.json"


def no_record(line: EvidenceLine, part: EvidencePart) -> str:
    """Return the words for a part whose approved record is not there."""
    return f"line {line.line}: no approved record of {part.entry}"


def _missing(evidence: InvoiceEvidence) -> Iterable[str]:
    """Yield what an auditor would look for and not find."""
    if evidence.release is None:
        yield "nobody has released it"
    elif evidence.release.draft_hash != evidence.draft_hash:
        yield "what was released is not this draft: their hashes differ"
    if evidence.read_back is None:
        yield "it has not been read back from the ERP"
    elif not evidence.read_back.body:
        yield "the ERP's answer was not kept when it was read back"
    if any(tax.final is None for tax in evidence.tax):
        yield "tax is an estimate"
    known = {person.id for person in evidence.people}
    for person in sorted({record.person_id for record in evidence.approved_records} - known):
        yield f"nobody is known as {person or 'the person without an id'}"
    yield from _missing_of_lines(evidence)


def _missing_of_lines(evidence: InvoiceEvidence) -> Iterable[str]:
    records = {(record.ref, record.version) for record in evidence.approved_records}
    rated = {(rate.entry, rate.version) for rate in evidence.rates}
    for line in evidence.lines:
        if not line.parts and not line.milestone:
            yield f"line {line.line} has neither parts nor a milestone"
        for part in line.parts:
            if (part.entry, part.version) not in records:
                yield no_record(line, part)
            if (part.entry, part.version) not in rated:
                yield f"line {line.line}: no rate of {part.entry}"


def _json(model: CanonicalModel | None) -> bytes:
    return _dump(None if model is None else model.model_dump(mode="json"))


def _json_list(models: Sequence[CanonicalModel]) -> bytes:
    return _dump([model.model_dump(mode="json") for model in models])


def _json_lines(models: Sequence[CanonicalModel]) -> bytes:
    return b"".join(model.model_dump_json().encode() + b"\n" for model in models)


def _dump(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _info(name: str, at: datetime) -> zipfile.ZipInfo:
    moment = max(at.astimezone(UTC), ZIP_EPOCH)
    info = zipfile.ZipInfo(name, moment.timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # The same on every system that Dealthread runs on.
    info.external_attr = 0o644 << 16
    return info


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
