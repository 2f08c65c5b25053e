"""The hand-worked month agrees with itself, and its checker notices when it does not."""

import csv
import shutil
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from tests.golden.check import HERE, problems, rounded, worked_out


def test_every_figure_agrees_with_its_working_and_the_totals() -> None:
    assert problems() == []


def test_formulas_are_worked_out_exactly() -> None:
    assert worked_out("(119.06 - 19.01) x 1.092500 x 1.10") == Fraction("120.2350875")
    assert worked_out("-7 min x 255.00 / 60") == Fraction("-29.75")
    with pytest.raises(ValueError, match="does not end"):
        worked_out("1 ) 2")


@pytest.mark.parametrize(
    ("exact", "currency", "figure"),
    [
        ("59.185", "USD", "59.19"),
        ("-75.005", "USD", "-75.01"),
        ("5500.5", "JPY", "5501"),
        ("27.5005", "KWD", "27.501"),
        ("27.50049", "KWD", "27.500"),
    ],
)
def test_half_a_minor_unit_goes_up(exact: str, currency: str, figure: str) -> None:
    assert rounded(Fraction(exact), currency) == Decimal(figure)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("month.csv", "= 59.19 USD", "= 59.18 USD", "A05: amount: 30 min x 118.37 / 60 = 59.18"),
        ("month.csv", "59.19", "59.18", "A05: amount is 59.18, worked out anew 59.19 USD"),
        ("month.csv", ",137.50,", ",137.51,", "A10: ic_amount is 137.51"),
        ("month.csv", "to_bill,150.46,60", "to_bill,150.46,61", "S06: the parts' minutes"),
        ("month.csv", "over_cap,39.872", "over_cap,39.871", "F06: the parts do not sum"),
        ("month.csv", "175.00,40", "175.01,40", "A22: written_off_amount"),
        ("engagements.yaml", '"578.00"', '"577.00"', "S06: TM2-LINE is exceeded"),
        ("engagements.yaml", '"1500.00"', '"1499.00"', "D05: the retainer of RT-1 is overdrawn"),
        ("engagements.yaml", '"118.37"', '"118.38"', "A05: the contract has no rate 118.37"),
        ("people.yaml", '"62.50"', '"62.40"', "A10: the person costs 62.40"),
        ("policy.yaml", 'markup_percent: "8"', 'markup_percent: "9"', "C09: ic_amount"),
        ("README.md", "| 5,928.97 |", "| 5,928.96 |", "README billing TM-1 USD rated: 5928.96"),
        ("README.md", "| 423.95 |", "| 423.94 |", "README intercompany DE US EUR: 423.94"),
    ],
)
def test_the_checker_sees_a_wrong_figure(
    tmp_path: Path, file: str, right: str, wrong: str, said: str
) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text(encoding="utf-8")
    assert right in text
    (folder / file).write_text(text.replace(right, wrong), encoding="utf-8")
    assert [each for each in problems(folder) if each.startswith(said)]


def test_it_has_what_a_month_has_to_have() -> None:
    """Guards against a case being dropped when the file is edited."""
    with (HERE / "month.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {word for row in rows for cell in row.values() for word in cell.split(";")}
    assert values >= {
        *("to_bill", "covered_by_fixed_fee", "drawn_from_retainer", "over_cap", "non_billable"),
        *("late", "intercompany", "JPY", "KWD", "adjustment", "overtime", "travel", "7", "13"),
        *("no_rate", "unknown_person", "duplicate_expense", "rate_mismatch", "bad_quantity"),
        *("no_contract_line", "no_cost_rate", "no_exchange_rate"),
    }
    split = [row for row in rows if row["p2_disposition"] == "over_cap" and row["p2_cap"]]
    assert len(split) >= 2
    assert any(row["written_off_amount"] for row in rows)
    assert any(row["above_ceiling"] for row in rows)
    crossing = [row for row in rows if "intercompany" in row["flags"]]
    assert {"non_billable", "covered_by_fixed_fee"} <= {row["base"] for row in crossing}
