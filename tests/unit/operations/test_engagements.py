"""A file with an engagement: what is kept, and what is refused in which words."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from operations.engagements import FILE_BYTES_MAX, Known, read_engagement
from operations.people import Refused
from tests.support.manual import example

KNOWN = Known(
    psas=frozenset({"kantata"}),
    erps=frozenset({"netsuite"}),
    legal_entities=frozenset({"US", "DE"}),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "contract.yaml"


def refused(file: Path) -> str:
    """Return the sentences with which a file is refused."""
    with pytest.raises(Refused) as caught:
        read_engagement(file, KNOWN)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_the_example_of_the_manual_is_read_exactly(file: Path) -> None:
    file.write_text(example())
    engagement = read_engagement(file, KNOWN)
    billed, retained = engagement.lines
    assert engagement.effective_from == date(2026, 1, 1)
    assert billed.rates[1].rate == Decimal("262.50")
    assert billed.rates[1].valid_to == date(2026, 12, 31)
    assert retained.retainer is not None
    assert str(retained.retainer.balance) == "9,000.00 USD"


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("title:", "titel:", "titel: this key is not known."),
        ("increment_minutes:", "increments:", "lines.0.increments: this key is not known."),
        ("client_id: northwind\n", "", "client_id: this key is missing."),
        ("  legal_entity: US\n", "", "lines.0.legal_entity: this key is missing."),
        ("currency: USD\n", "currency: XQZ\n", "lines.0.currency: 'XQZ' is no ISO 4217"),
        (
            '"50000.00", currency: USD',
            '"50000.00", currency: XQZ',
            "lines.0.caps.0.amount: 'XQZ' is no ISO 4217 currency.",
        ),
        (
            '"50000.00", currency: USD',
            '"50000.00", currency: EUR',
            "lines.0.caps.0.amount: it must be in USD, as the line is.",
        ),
        (
            '"9000.00", currency: USD',
            '"9000.001", currency: USD',
            "lines.1.retainer.balance: 9000.001 has more than 2 decimals of USD.",
        ),
        ("legal_entity: US", "legal_entity: FR", "lines.0.legal_entity: there is no legal"),
        ("erp: netsuite", "erp: sap", "lines.0.erp: there is no ERP connection 'sap'; known: "),
        ("psa: kantata", "psa: x", "psa: there is no PSA connection 'x'; known: kantata."),
        ('"48213"', "48213", "project_id: it must be text: put it in quotes."),
        ('"48213"', '"../x"', "project_id: '../x' cannot be a project's id."),
        ("L-RET", "L-TM", "lines: line 'L-TM' stands there twice."),
        ('"100041"', '"100042"', "lines: task '100042' stands there twice."),
        ("default_line: L-TM", "default_line: L", "default_line: there is no contract line"),
        ("increment_minutes: 15", "increment_minutes: 0", "lines.0.increment_minutes: it must"),
        ('rate: "200.00"', 'rate: "-1"', "lines.0.rates.0.rate: it must not be below 0."),
        ('rate: "200.00"', "rate: .nan", "lines.0.rates.0.rate: "),
        ("2026-12-31", "2026-12-32", "lines.0.rates.1.valid_to: "),
        ("type: retainer", "type: gift", "lines.1.type: it must be 'time_and_materials'"),
    ],
    ids=lambda text: text[:28].strip(),
)
def test_a_mistake_is_told_by_file_and_field(file: Path, wrong: str, right: str, said: str) -> None:
    assert wrong in example()
    file.write_text(example().replace(wrong, right, 1))
    told = refused(file)
    assert f"{file}: {said}" in told
    assert all(line.startswith(f"{file}: ") for line in told.splitlines())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id: [", "is no YAML: line "),
        (b"id: a\nid: b\n", 'is no YAML: line 2: found duplicate key "id"'),
        (b"a: !!python/object:os.system {}", "is no YAML: line 1: could not determine"),
        (b"\xff\xfe", "is no UTF-8 text (byte 0)."),
        (b"a: \x00", "is no YAML: "),
        (b"[" * 600, "maximum recursion depth"),
        (b"", "the file: it must be a table."),
        (b"- 1", "the file: it must be a table."),
        (b"id: x\nlines: []\n", "client_id: this key is missing."),
        (b"#" * (FILE_BYTES_MAX + 1), "is larger than 1,000,000 bytes."),
    ],
    ids=[
        *("cut-off", "duplicate", "object", "binary", "control", "deep"),
        *("empty", "list", "little", "large"),
    ],
)
def test_what_is_no_engagement_at_all(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    told = refused(file)
    assert said in told
    assert told.startswith(str(file))
    assert len(told) < 1_000


def test_a_file_that_cannot_be_read(file: Path) -> None:
    assert refused(file) == f"{file} cannot be read: No such file or directory."
    assert refused(file.parent) == f"{file.parent} cannot be read: Is a directory."


def test_every_problem_of_the_same_kind_is_told_at_once(file: Path) -> None:
    file.write_text(example().replace("legal_entity: US", "legal_entity: FR"))
    told = refused(file).splitlines()
    assert [line.split(": ")[1] for line in told] == [
        "lines.0.legal_entity",
        "lines.1.legal_entity",
    ]


SCHEDULED = """
  schedule: {type: retainer, currency: USD, start: 2026-01-01, amount: "1000.00", overage: %s}"""
RETAINED = """retainer: {balance: {amount: "9000.00", currency: USD}, overage: to_bill}"""


@pytest.mark.parametrize("overage", ["entries", "schedule", "none"])
def test_a_scheduled_retainer_has_no_balance_but_its_schedules(file: Path, overage: str) -> None:
    scheduled = (SCHEDULED % overage).strip()
    file.write_text(example().replace(RETAINED, scheduled))
    line = read_engagement(file, KNOWN).lines[1]
    assert line.schedule is not None
    assert line.retainer is None

    file.write_text(example().replace(RETAINED, RETAINED + SCHEDULED % overage))
    told = refused(file)
    assert told.startswith(f"{file}: lines.1.retainer: the schedule keeps the balance")
    assert "leave retainer out" in told


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("type: retainer\n  currency", "type: time_and_materials\n  currency", "lines.1.type: "),
        ("overage: entries", "overage: entries, close_days: 3", "lines.1.schedule.close_days: "),
    ],
    ids=["other-type", "closed-later"],
)
def test_hours_of_a_scheduled_retainer_draw_from_its_balance(
    file: Path, wrong: str, right: str, said: str
) -> None:
    text = example().replace(RETAINED, (SCHEDULED % "entries").strip())
    assert wrong in text
    file.write_text(text.replace(wrong, right))
    assert f"{file}: {said}" in refused(file)


def test_overage_of_a_balance_prepaid_once_is_billed_or_over_the_cap(file: Path) -> None:
    file.write_text(example().replace("overage: to_bill", "overage: gift"))
    assert "lines.1.retainer.overage: it must be to_bill or over_cap" in refused(file)
