"""The commands on client POs, as processes of their own: what is kept, shown and refused."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.cli.conftest import starter
from tests.support.world import World

pytestmark = pytest.mark.e2e

ORDER = """
client_id: 001PO
number: PO-77
amount: {amount: "1000.00", currency: EUR}
basis: gross
valid_from: "2026-01-01"
lines:
  - {number: "10", amount: {amount: "600.00", currency: EUR}, contract_lines: [00k1, 00k2]}
  - {number: "20", amount: {amount: "300.00", currency: EUR}}
  - {number: "30", amount: {amount: "100.00", currency: EUR}}
"""
TAKEN = text("UPDATE client_po_lines SET drafted = 500, invoiced = 119.50 WHERE numbers = '{10}'")


async def test_a_po_with_lines_is_kept_and_shown_with_what_was_taken_of_each(
    world: World, environment: dict[str, str], tmp_path: Path
) -> None:
    (file := tmp_path / "po.yaml").write_text(ORDER)

    kept = await starter(environment, "po", "import", str(file), "--as", "fiona", "--json")
    assert kept.code == 0, kept
    await world.store.database.run(TAKEN)
    table = await starter(environment, "po", "list", "--client", "001PO")
    told = await starter(environment, "po", "list", "--client", "001PO", "--json")

    imported: Any = kept.data
    assert [line["numbers"] for line in imported["lines"]] == [["10"], ["20", "30"]]
    first, second = (line.split() for line in table.out.splitlines() if "line" in line.split()[:1])
    assert first[:4] == ["line", "10", "00k1,", "00k2"]
    assert {"600.00", "500.00", "119.50", "480.50"} <= set(first)
    assert second[:2] == ["line", "20,"]  # and 30, below it
    assert "400.00" in second
    listed: Any = told.data
    (shown,) = listed
    assert [(line["drafted"], line["left"]) for line in shown["lines"]] == [
        ({"amount": "500", "currency": "EUR"}, {"amount": "480.50", "currency": "EUR"}),
        ({"amount": "0", "currency": "EUR"}, {"amount": "400.00", "currency": "EUR"}),
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ('"300.00"', '"300.01"', "come to 1,000.01 EUR, which is more than its 1,000.00 EUR"),
        ('number: "20"', 'number: "10"', "client PO PO-77 has line 10 twice: number each once"),
        (
            '"20", amount: {amount: "300.00", currency: EUR}',
            '"20", amount: {amount: "300.00", currency: EUR}, contract_lines: [00k2]',
            "two lines of client PO PO-77 name contract line 00k2: name it in one",
        ),
    ],
)
async def test_lines_that_contradict_are_refused_with_a_sentence(
    environment: dict[str, str], tmp_path: Path, right: str, wrong: str, says: str
) -> None:
    assert right in ORDER
    (file := tmp_path / "po.yaml").write_text(ORDER.replace(right, wrong, 1))

    ran = await starter(environment, "po", "import", str(file), "--as", "fiona")

    assert ran.code == 1, ran
    assert says in ran.err
    assert ran.out == ""
