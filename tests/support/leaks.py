"""Looks into the logs of a stack for what must never be there.

That is each secret of its configuration, and of each person and client of the scenario what the
simulators hold: names of people, addresses, mail, tax ids, bank details.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from embedded.configuration import ACCOUNT
from embedded.simulators import SCENARIO
from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.registry import load_vendors

PERSONAL = re.compile(
    r"(?i)(mail|mail_address|username|street|addr\d|phone|vatregnumber|tax_?id(__c)?|iban|bank"
    r"|account_number|first_?name|last_?name|full_?name|^worker)$"
)
"""Names of fields, in whichever system."""
NOBODY = {"Integration", "User", "Integration Admin", "Integration User"}
"""Not people: what an integration signs in as."""
CHARS_MIN = 4
"""What is shorter stands in any text."""
SECRET_CHARS_MIN = 8


async def personal_data() -> set[str]:
    """Return what the scenario's records say of people and clients."""
    found: set[str] = set()
    vendors = load_vendors()
    async with SimulatorStack(vendors=vendors) as stack, Control(stack.control_url) as control:
        await control.seed(SCENARIO, account=ACCOUNT)
        for vendor in vendors:
            for record in await control.records(vendor.name, ACCOUNT):
                found |= set(_personal(record["fields"]))
    return {text for text in found - NOBODY if len(text) >= CHARS_MIN}


def secrets_of(folder: Path) -> set[str]:
    """Return every secret below a folder; of keys of many lines, and of URLs, the telling parts."""
    found: set[str] = set()
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text().strip()
            found |= {line for line in text.splitlines() if not line.startswith("-----")}
            found |= set(re.findall(r"://[^:/@]+:([^@]+)@", text))
    return {text for text in found if len(text) >= SECRET_CHARS_MIN}


def leaks(logs: Path, forbidden: set[str]) -> list[str]:
    """Return which log says what it must not, with what."""
    told = re.compile(
        r"(?i)(?<!\w)(?:"
        + "|".join(map(re.escape, sorted(forbidden, key=len, reverse=True)))
        + r")(?!\w)"
    )
    return [
        f"{log.name}: {hit}"
        for log in sorted(logs.glob("*.log*"))
        for hit in sorted(set(told.findall(log.read_text(errors="replace"))))
    ]


def _personal(value: JsonValue, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _personal(below, key)
    elif isinstance(value, list):
        for each in value:
            yield from _personal(each, name)
    elif isinstance(value, str) and PERSONAL.search(name):
        yield value.strip()
