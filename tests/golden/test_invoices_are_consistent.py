"""The hand-worked invoices agree with themselves, and their checker notices when they do not."""

import ast
import csv
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from tests.golden import check, check_invoices
from tests.golden.check_invoices import HERE, problems, quantity


def test_every_figure_agrees_with_its_working_and_all_others() -> None:
    assert problems() == []


def test_the_checkers_use_nothing_of_dealthread() -> None:
    allowed = {"collections", "csv", "datetime", "decimal", "fractions", "math", "pathlib", "re"}
    allowed |= {"ruamel", "sys", "typing", "tests"}
    for module in (check, check_invoices):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                named += [each.name for each in node.names]
        assert {name.partition(".")[0] for name in named} <= allowed
        assert {name for name in named if name.startswith("tests")} <= {"tests.golden.check"}


@pytest.mark.parametrize(
    ("minutes", "rate", "net", "currency", "hours"),
    [
        (600, "255.00", "2550.00", "USD", "10"),
        (20, "180.00", "60.00", "USD", "0.33333333"),
        # Rounded once per entry, the sum is a cent more than 2 x 118.37.
        (120, "118.37", "236.75", "USD", "2.00008448"),
        (73, "22002", "26770", "JPY", "1.21670757"),
        (-15, "80.000", "-20.000", "KWD", "-0.25"),
        (15, "230.00", "20.00", "EUR", None),
    ],
)
def test_hours_make_the_net_or_there_are_none(
    minutes: int, rate: str, net: str, currency: str, hours: str | None
) -> None:
    found = quantity(minutes, Fraction(rate), Fraction(net), currency)
    assert found == (None if hours is None else Fraction(hours))


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("lines.csv", ",2.00008448,", ",2.00008447,", "D1 Sam 118.37: 120 minutes make"),
        ("lines.csv", "A01;A02;A03;A08;A16", "A01;A02;A03;A08", "D1 Maya 255: its entries come"),
        ("lines.csv", ",19,42.03,in", ",19,42.04,in", "D2 B08: tax is 42.04"),
        ("lines.csv", ",10,41235,in", ",10,41234,in", "D6 Fee: tax is 41234"),
        ("lines.csv", ",849.91,161.48,161.48", ",849.91,161.49,161.48", "D2 Jonas 230: released_"),
        ("lines.csv", "310.00,0,0.00,held", "310.00,0,0.00,in", "D1 A36: it is in, the acts"),
        ("lines.csv", "2026-11-16,2026-11-20,", "2026-11-16,2026-11-21,", "D1 Maya 262.50: its"),
        ("drafts.csv", "3221.23,612.03,", "3221.23,612.04,", "D2: tax is 612.04, its lines come"),
        ("drafts.csv", "498540,484961", "498540,484962", "D6: remaining is 484962"),
        ("drafts.csv", ",2026-11,GAM-7,", ",2026-11,,", "D9: its lines are of client PO"),
        ("credits.csv", "B03,849.91", "B03,920.00", "K3: the note's net is 3151.14"),
        ("credits.csv", "12345,1234,13579", "12345,1235,13579", "K2: the note's gross"),
        ("client_pos.csv", "498541,0,0,101459", "453219,0,0,146781", "EDO-7 released: released"),
        ("client_pos.csv", "13579,115039", "12345,113805", "EDO-7 credited: credited is 12345"),
        ("caps.csv", "2929.91,2929.91,70.09,r", "2929.91,2859.82,0.00,r", "PC1-PERIOD c"),
        ("caps.csv", "414.046,0.000,0.000,20.000", "414.046,0.000,0.000,20.001", "KW-ENG released"),
        ("contract_lines.csv", "412345,12345,400000", "412345,0,412345", "MS-1: credited is 0"),
        ("month_end.csv", "383.50,0.00,310.00", "383.50,0.00,310.01", "apex: closing is 310.01"),
        ("month_end.csv", "3151.14,3749.86", "3151.14,3749.85", "borealis: outstanding is"),
        ("acts.csv", "S08,18.00", "S08,17.00", "D1 S08: it is written_off, the acts"),
        ("terms.yaml", 'amount: "500.00"', 'amount: "501.00"', "GAM-7 drafted: left is 500.00"),
    ],
)
def test_the_checker_sees_a_wrong_figure(
    tmp_path: Path, file: str, right: str, wrong: str, said: str
) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "invoices" / file
    text = path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    told = problems(folder)
    assert [each for each in told if each.startswith(said)], told


def test_it_has_what_a_month_end_has_to_have() -> None:
    """Guards against a case being dropped when the files are edited."""
    values = set()
    for path in (HERE / "invoices").glob("*.csv"):
        with path.open(newline="") as file:
            values |= {cell for row in csv.DictReader(file) for cell in row.values()}
    assert values >= {
        *("USD", "EUR", "JPY", "KWD", "2026-10", "held", "written_off", "write_down", "refused"),
        *("concession", "rebill", "fee", "expense", "time", "several", "credited", "settled"),
        *("advance", "milestone/M1/retention", "milestone/M2/advance-offset", "fee/2026-11"),
    }
