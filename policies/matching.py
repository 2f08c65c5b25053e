"""Which of the ERP's customers is the client? One, none, or a person has to say (I6)."""

import re
import unicodedata
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Final

from canonical.failures import Candidate, FailureDetail, FailureKind, StepFailed
from canonical.provisioning import ClientMatch, ErpClient, MatchClient

SIMILAR: Final = 0.85
"""difflib ratio from which two bare names may mean one client."""

TAX_ID_DIGITS_MIN: Final = 5
"""Fewer digits are a placeholder (`N/A`, `pending`, `0`), shared by clients that differ."""

_LEGAL_FORMS: Final = re.compile(
    r"\b(?:incorporated|inc|corporation|corp|company|co|limited|ltd|llc|llp|plc|gmbh|ag|kg|se|sa|"
    r"sarl|srl|spa|bv|nv|oy|ab|as|aps|oü|ou|kk|kabushiki kaisha|pty|pvt)\b|株式会社|有限会社"
)


def match_client(
    request: MatchClient,
    found: tuple[ErpClient, ...],
    *,
    external_id: str,
    adopted: ErpClient | None = None,
) -> ClientMatch:
    """Return the customer to use, or none: then one is created.

    Order: the one that a person chose, our external id, tax id, name and country. What only looks
    similar, or is one of several, goes to a person; nothing is ever overwritten.

    Raises:
        StepFailed: `ambiguous_client` with the candidates, or `inactive_client`.
    """
    if adopted is not None:
        return _use(request, adopted)
    levels: tuple[tuple[str, Callable[[ErpClient], bool]], ...] = (
        ("our key", lambda each: bool(external_id) and each.external_id == external_id),
        ("tax id", lambda each: _same_tax_id(request.tax_id, each.tax_id)),
        ("name and country", lambda each: _same_name(request, each)),
    )
    for by, fits in levels:
        hits = tuple(each for each in found if fits(each))
        if len(hits) == 1:
            return _use(request, hits[0])
        if hits:
            raise _ambiguous(request, hits, by)
    similar = tuple(each for each in found if _similar(request, each))
    if similar:
        raise _ambiguous(request, similar, "a similar name")
    return ClientMatch()


def _use(request: MatchClient, client: ErpClient) -> ClientMatch:
    if not client.active:
        raise StepFailed(
            FailureDetail(
                kind=FailureKind.REJECTED,
                reason="inactive_client",
                message=f"Customer {client.record.id} is the client, but inactive.",
                system=request.connection,
                field="client",
                owner=request.connection,
                candidates=(_candidate(client, "inactive"),),
            )
        )
    ours, theirs = request.payment_terms, client.payment_terms
    differs = bool(ours and theirs and ours != theirs)
    reason = f"payment terms differ: deal {ours}, ERP {theirs}; the ERP's stay"
    return ClientMatch(client=client, gate_reasons=(reason,) if differs else ())


def _ambiguous(request: MatchClient, hits: tuple[ErpClient, ...], by: str) -> StepFailed:
    return StepFailed(
        FailureDetail(
            kind=FailureKind.REJECTED,
            reason="ambiguous_client",
            message=(
                f"{len(hits)} customer(s) may be the client, by {by}: adopt one with --record, "
                "or skip to create a new one."
            ),
            system=request.connection,
            field="client",
            owner=request.connection,
            candidates=tuple(_candidate(each, by) for each in hits),
        )
    )


def _candidate(client: ErpClient, by: str) -> Candidate:
    return Candidate(
        record=client.record,
        name=client.name,
        tax_id=client.tax_id,
        country=client.country,
        matched_by=by,
    )


def _same_tax_id(one: str, other: str) -> bool:
    return bool(_compact(one)) and _compact(one) == _compact(other)


def _same_name(request: MatchClient, client: ErpClient) -> bool:
    if not request.country or request.country != client.country:
        return False
    return _folded(request.name) == _folded(client.name) and not _conflict(request, client)


def _conflict(request: MatchClient, client: ErpClient) -> bool:
    """Return whether both carry a tax id and they differ: then they are different clients."""
    ours, theirs = _compact(request.tax_id), _compact(client.tax_id)
    return bool(ours and theirs and ours != theirs)


def _similar(request: MatchClient, client: ErpClient) -> bool:
    bare, candidate = _bare(request.name), _bare(client.name)
    if not bare or not candidate or _conflict(request, client):
        return False
    return bare == candidate or SequenceMatcher(None, bare, candidate).ratio() >= SIMILAR


def _compact(tax_id: str) -> str:
    """Return a tax id without case, spaces and punctuation; a placeholder is none."""
    compact = re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKC", tax_id).upper())
    digits = sum(character.isdigit() for character in compact)
    return compact if digits >= TAX_ID_DIGITS_MIN else ""


def _folded(name: str) -> str:
    """Return a name without case, width and spacing: composed or fullwidth letters are the same."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _bare(name: str) -> str:
    """Return a name without legal form, punctuation and case; `S.A.` is one word."""
    plain = re.sub(r"[^\w\s]", " ", _folded(name).replace(".", ""))
    return " ".join(_LEGAL_FORMS.sub(" ", plain).split())
