"""CSV files of the commands open in a spreadsheet as what they are: text, and numbers."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from canonical.backfill import RecordState
from canonical.reconciliation import Finding, FindingClass, FindingCode, Healing
from operations.cli import reconcile
from operations.cli.backfill_show import write_csv
from operations.cli.csv_files import write_rows
from store.backfills import ReportedRecord

FORMULA = '=HYPERLINK("http://x.test","y")'
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("text", [FORMULA, "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_text_that_would_be_worked_out_is_text_and_amounts_are_numbers(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "out.csv"
    write_rows(path, ("text", "amount", "count", "none"), [(text, Decimal("-1E+2"), -3, None)])
    assert rows(path) == [{"text": f"'{text}", "amount": "-100", "count": "-3", "none": ""}]


def test_a_backfills_report_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    record = ReportedRecord(
        record="006",
        target="006",
        on="2026-10-20",
        amount="-12.50",
        currency="USD",
        state=RecordState.PARKED,
        why=FORMULA,
        planned=RecordState.PLANNED,
        workflow_id="w",
        started_at=AT,
    )
    write_csv(path, [record])
    (row,) = rows(path)
    assert (row["amount"], row["state"], row["ended_at"]) == ("-12.50", "parked", "")
    assert row["why"] == f"'{FORMULA}"
    assert datetime.fromisoformat(row["started_at"]) == AT


def test_findings_are_guarded(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    texts = {name: "" for name, field in Finding.model_fields.items() if field.annotation is str}
    finding = Finding.model_validate(
        {
            **texts,
            "explanation": FORMULA,
            "id": 1,
            "code": next(iter(FindingCode)),
            "class_": next(iter(FindingClass)),
            "amount": Decimal("-22.00"),
            "rows": (),
            "opens": 1,
            "healing": next(iter(Healing)),
            "first_run": 1,
            "last_run": 1,
            "first_seen_at": AT,
            "last_seen_at": AT,
        }
    )
    write_rows(path, reconcile.COLUMNS, [reconcile._cells(finding)])
    (row,) = rows(path)
    assert (row["amount"], row["explanation"]) == ("-22.00", f"'{FORMULA}")


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        write_rows(tmp_path / "none" / "out.csv", ("a",), [])
    assert "can't be written" in capsys.readouterr().err
