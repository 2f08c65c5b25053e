"""Checks an exported evidence file: every hash anew, and whether what it says fits together.

It trusts nothing in the file: names are never used as paths, nothing is unpacked to disk, and what
is too large to be evidence is refused before it is read.
"""

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from canonical.entries import Entry
from canonical.evidence import AuditFact, ErpReadBack, EvidenceLine
from canonical.invoicing import Invoice
from canonical.provisioning import contract_value
from operations.documents.evidence import (
    MANIFEST,
    READ_BACK,
    RECORDS,
    SCHEMA_VERSION,
    Manifest,
    no_record,
)
from store.invoice_evidence import digest_of

MEMBER_MAX: Final = 256 * 1024 * 1024
"""Bytes; a year of a large project's calls is a tenth of it."""

LINES: Final = TypeAdapter(tuple[EvidenceLine, ...])
READ: Final[TypeAdapter[ErpReadBack | None]] = TypeAdapter(ErpReadBack | None)
POSTED: Final = "posted"
READ_BACK_DIGEST: Final = "read_back"
"""The act of the audit trail that has the digest, and what it is called there."""


class Verification(BaseModel):
    """What checking a file found."""

    intact: bool
    problems: tuple[str, ...]
    """Each names the member and what is wrong with it; empty where it is intact."""
    missing: tuple[str, ...] = ()
    """What the export itself says was not known when it was made: no sign of tampering."""
    draft: str = ""
    """Whose evidence it says that it is; empty where the manifest cannot be read."""
    number: str = ""
    seal: str = ""
    """SHA-256 of the manifest as found; to be compared with the one kept in the audit trail."""


def verify(path: Path, seal: str = "") -> Verification:
    """Return whether the evidence file at `path` is as it was made, and what was changed.

    Without `seal` (the one that was kept when it was made) this shows damage and careless changes;
    somebody who makes manifest and hashes anew is found only by the seal.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _verify(archive, seal)
    except (OSError, zipfile.BadZipFile) as error:
        return Verification(intact=False, problems=(f"it cannot be read: {error}",))


def _verify(archive: zipfile.ZipFile, seal: str) -> Verification:
    reader = _Reader(archive)
    raw = reader.read(MANIFEST)
    if raw is None:
        return Verification(intact=False, problems=tuple(reader.problems))
    found = hashlib.sha256(raw).hexdigest()
    if seal and found != seal:
        reader.problems.append(f"{MANIFEST}: changed, it is not the one that was sealed")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError:
        reader.problems.append(f"{MANIFEST}: unreadable")
        return Verification(intact=False, problems=tuple(reader.problems), seal=found)
    if manifest.schema_version != SCHEMA_VERSION:
        reader.problems.append(f"{MANIFEST}: made by version {manifest.schema_version}")
    reader.check_members(manifest)
    try:
        reader.problems.extend(_contradictions(reader.sound, manifest))
    except (
        ValueError
    ) as error:  # Of JSON or of a model: the hash is right, the content is not ours.
        reader.problems.append(f"its members do not fit its schema: {error}")
    problems = tuple(reader.problems)
    return Verification(
        intact=not problems,
        problems=problems,
        missing=manifest.missing,
        draft=manifest.draft,
        number=manifest.number,
        seal=found,
    )


class _Reader:
    """Reads members, noting what is wrong with each."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = Counter(info.filename for info in archive.infolist())
        self.problems: list[str] = []
        self.sound: dict[str, bytes] = {}
        """Members that are as they were made, by name."""

    def read(self, name: str) -> bytes | None:
        """Return the member's bytes, or None after noting why they cannot be had."""
        if name not in self._names:
            self.problems.append(f"{name}: missing")
            return None
        if self._archive.getinfo(name).file_size > MEMBER_MAX:
            self.problems.append(f"{name}: too large to be checked")
            return None
        try:
            return self._archive.read(name)
        # What a damaged member raises depends on where the damage is.
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
            self.problems.append(f"{name}: damaged ({error})")
            return None

    def check_members(self, manifest: Manifest) -> None:
        """Compare every member with what the manifest says of it."""
        for name, times in sorted(self._names.items()):
            if times > 1:
                self.problems.append(f"{name}: there are {times}, of which one can be read")
        listed = {member.name for member in manifest.members}
        for name in sorted(set(self._names) - listed - {MANIFEST}):
            self.problems.append(f"{name}: added, the manifest does not know it")
        for member in manifest.members:
            data = self.read(member.name)
            if data is None:
                continue
            if hashlib.sha256(data).hexdigest() == member.sha256:
                self.sound[member.name] = data
            else:
                self.problems.append(
                    f"{member.name}: changed ({member.size} bytes then, {len(data)} now)"
                )


def _contradictions(sound: dict[str, bytes], manifest: Manifest) -> Iterator[str]:
    """Yield where members that are as they were made do not fit together.

    Whoever takes a record out, of the manifest too, leaves the line that bills it behind.
    """
    found = (data for name, data in sound.items() if name.startswith(RECORDS))
    records = {(entry.ref, entry.version) for entry in map(Entry.model_validate_json, found)}
    for line in LINES.validate_json(sound.get("lines.json", b"[]")):
        for part in line.parts:
            said = no_record(line, part)
            changed = (part.entry, part.version) not in records
            if changed and said not in manifest.missing:
                yield f"lines.json: {said} as billed"
        if line.parts and not line.milestone:
            total = contract_value(tuple(part.amount for part in line.parts), line.net.currency)
            if total != line.net:
                yield f"lines.json: line {line.line} is {line.net}, its parts sum to {total}"
    rows = sound.get("audit.jsonl", b"").splitlines()
    acts = tuple(AuditFact.model_validate_json(row) for row in rows)
    yield from _broken_chain(acts)
    if READ_BACK in sound:
        yield from _of_read_back(sound[READ_BACK], acts)


def _of_read_back(data: bytes, acts: tuple[AuditFact, ...]) -> Iterator[str]:
    """Yield where the invoice as read is not what the audit trail says was read.

    The digest was put into the trail, whose acts are chained, when the posting read it back.
    """
    back = READ.validate_json(data)
    if back is None or not back.body:
        return
    digests = {json.loads(act.data_json).get(READ_BACK_DIGEST) for act in acts if act.act == POSTED}
    if digest_of(back.body) not in digests:
        yield f"{READ_BACK}: its body is not what the audit trail says was read"
    said = Invoice.model_validate_json(back.body)
    for name in ("record", "number", "on", "net", "tax", "gross", "lines"):
        if getattr(said, name) != getattr(back, name):
            yield f"{READ_BACK}: its {name} is not that of its body"


def _broken_chain(acts: tuple[AuditFact, ...]) -> Iterator[str]:
    """Compute the chain a second time, as the audit trail's own check does (`store/audit.py`)."""
    last: dict[str, AuditFact] = {}
    for act in acts:
        before = last.get(act.subject)
        follows = before is None or (act.seq == before.seq + 1 and act.prev_hash == before.hash)
        if not follows or act.hash != _act_hash(act):
            yield f"audit.jsonl: act {act.seq} on {act.subject} was changed, or one before it"
        last[act.subject] = act


def _act_hash(act: AuditFact) -> str:
    at = act.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = (act.prev_hash, act.subject, str(act.seq), at, act.actor, act.act, act.data_json)
    octets = b"".join(b"%d:%s" % (len(field.encode()), field.encode()) for field in fields)
    return hashlib.sha256(octets).hexdigest()
