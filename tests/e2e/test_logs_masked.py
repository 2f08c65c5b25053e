"""The search of the demo's logs (`test_demo.py` does it) finds what it is there to find."""

import re
from pathlib import Path

import pytest

from tests.support.leaks import leaks, personal_data, secrets_of

pytestmark = pytest.mark.e2e

SEEDED = (
    "Maya Chen",
    "Tanaka",
    "luca.rossi@example.com",
    "200 Hudson Street",
    "20-1000010",
    "CHE123456788MWST",
    "1 Beacon St",
    "rechnung@elbtal.example.com",
    "Aiko Tanaka",
)
"""A person, an address, a tax id of each system that has one."""


async def test_people_of_every_system_are_searched_for() -> None:
    known = await personal_data()
    assert set(SEEDED) <= known
    assert len(known) > 60


async def test_each_of_them_and_each_secret_would_be_found(tmp_path: Path) -> None:
    folder, logs = tmp_path / "secrets", tmp_path / "logs"
    (folder / "erp").mkdir(parents=True)
    logs.mkdir()
    (folder / "erp" / "key").write_text("-----BEGIN KEY-----\nAbCdEf0123456789\n-----END KEY-----")
    (folder / "store_url").write_text("postgresql://user:hush-hush-1@127.0.0.1:5432/x")
    forbidden = await personal_data() | secrets_of(folder)
    said = [*SEEDED, "AbCdEf0123456789", "hush-hush-1"]
    for number, text in enumerate(said):
        (logs / f"worker-{number}.log").write_text(f'{{"event": "said: {text.upper()}."}}\n')
    (logs / "clean.log").write_text('{"event": "vendor_call", "path": "/users/***"}\n')

    found = leaks(logs, forbidden)

    assert {line.partition(": ")[2].lower() for line in found} >= {text.lower() for text in said}
    assert not [line for line in found if re.match(r"clean", line)]
