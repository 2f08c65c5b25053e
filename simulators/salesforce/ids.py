"""Record ids: key prefix, number and the checksum that makes 15 characters 18 (vendor page 5)."""

import hashlib
import re

_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")

PREFIXES = {
    "Account": "001",
    "Case": "500",
    "Contact": "003",
    "User": "005",
    "Opportunity": "006",
    "OpportunityStage": "01J",
    "Organization": "00D",
    "OpportunityContactRole": "00K",
    "OpportunityLineItem": "00k",
    "OpportunityLineItemSchedule": "00o",
    "Pricebook2": "01s",
    "Product2": "01t",
    "PricebookEntry": "01u",
}
"""Key prefixes. Those of stages, contact roles and schedules are unverified."""


def with_checksum(short: str) -> str:
    """Return the 18 characters of a 15-character id."""
    suffix = ""
    for start in (0, 5, 10):
        bits = (character.isupper() for character in short[start : start + 5])
        suffix += _CHECKSUM[sum(bit << place for place, bit in enumerate(bits))]
    return short + suffix


def full_id(text: str) -> str | None:
    """Return the 18-character form of an id in either form, None when it is neither."""
    if not _ID.fullmatch(text):
        return None
    full = with_checksum(text[:15])
    return full if text in (text[:15], full) else None


def numbered_id(kind: str, number: int, series: str = "DX") -> str:
    """Return an id of a series: DX made over the API, DT standard seed, DB bulk seed."""
    return with_checksum(f"{PREFIXES[kind]}{series}{number:010d}")


def organization_id(account: str) -> str:
    """Return the organisation id, which differs from account to account."""
    digits = int(hashlib.sha256(account.encode()).hexdigest(), 16) % 10**10
    return with_checksum(f"00DDT{digits:010d}")
