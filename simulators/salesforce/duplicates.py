"""The duplicate rule on accounts: the same name, whatever its case and punctuation (page 10)."""

import re

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError
from simulators.salesforce.schema import SObject

SETTING = "duplicate_rule"
"""In an account's `extra`: `alert` (the default), `block` or `off`."""


def check_duplicates(context: Context, kind: SObject, fields: dict[str, JsonValue]) -> None:
    """Refuse a new account of a known name.

    Raises:
        ApiError: `DUPLICATES_DETECTED`; under an alert rule the header lets it pass.
    """
    setting = context.account.extra.get(SETTING, "alert")
    allowed = setting == "alert" and context.allow_duplicates
    if kind.name != "Account" or setting == "off" or allowed or context.skip_duplicate_rules:
        return
    name = _folded(fields.get("Name"))
    rows = context.account.store.list("Account")
    found = [row for row in rows if _folded(row.fields.get("Name")) == name]
    if found:
        text = "Use one of these records?"
        result = _result(context, found, text, allow_save=setting == "alert")
        raise ApiError(400, "DUPLICATES_DETECTED", text, extra={"duplicateResult": result})


def _folded(name: JsonValue) -> str:
    return re.sub(r"[\W_]+", "", str(name)).casefold()


def _result(context: Context, found: list[Record], text: str, *, allow_save: bool) -> JsonValue:
    matches: list[JsonValue] = [
        {
            "additionalInformation": [],
            "fieldDiffs": [],
            "matchConfidence": 100.0,
            "record": {
                "attributes": {"type": "Account", "url": context.row_path("Account", row.id)},
                "Id": row.id,
            },
        }
        for row in found
    ]
    return {
        "allowSave": allow_save,
        "duplicateRule": "Standard_Account_Duplicate_Rule",
        "duplicateRuleEntityType": "Account",
        "errorMessage": text,
        "matchResults": [
            {
                "entityType": "Account",
                "errors": [],
                "matchEngine": "FuzzyMatchEngine",
                "matchRecords": matches,
                "rule": "Standard_Account_Match_Rule_v1_0",
                "size": len(matches),
                "success": True,
            }
        ],
    }
