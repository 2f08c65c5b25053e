"""The file `billing.yaml`: what the default one says, and what is said about a wrong one."""

import shutil
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest

from policies.billing_schema import ClosedPeriod, Detail
from policies.bundle import DEFAULT_BUNDLE, Bundle, BundleInvalid, load_bundle

WRONG: list[tuple[str, str, int, str]] = [
    ("zone: Asia/Tokyo", "zone: Asia/Edo", 21, "billing.entities.JP.zone: 'Asia/Edo' is no time"),
    ("cutoff_day: 3", "cutoff_day: 31", 10, "billing.entities.US.cutoff_day: input should be less"),
    ("detail: day", "detail: week", 25, "billing.entities.JP.detail: input should be 'entry'"),
    (
        "  JP:\n    zone",
        "  GB:\n    zone",
        7,
        "billing.entities: JP is missing; needed: DE, JP, US",
    ),
    ("GBP: {P", "GBX: {P", 48, "billing.standard_rates.GBX: 'GBX' is no currency"),
    ("Principal: 250", "Principal: -1", 46, "billing.standard_rates.USD.Principal: input should"),
    (
        "  GBP: {Pr",
        "  CHF: {Pr",
        45,
        "billing.standard_rates: GBP is missing; a legal entity sells",
    ),
    ("      US: {of", "      GB: {of", 59, "billing.intercompany.pairs.DE.GB: there is no legal"),
    ("of: cost, markup", "on: cost, markup", 56, "billing.intercompany.default.of: it is missing."),
    (
        "rating: contract",
        "ratng: contract",
        32,
        "billing.lines.default.ratng: there is no such field; allowed: billing_method, rating,",
    ),
    (
        "{treatment: recharge}",
        "{treatment: gift}",
        40,
        "billing.lines.default.expense_rules.1.treatment: input should be 'recharge'",
    ),
    ("retainer: {r", "retainers: {r", 42, "billing.lines.types.retainers: input should be 'time"),
]


def test_the_default_says_how_the_firm_bills(bundle: Bundle) -> None:
    billing = bundle.policies.billing
    assert {code: each.zone for code, each in billing.entities.items()} == {
        "US": "America/New_York",
        "DE": "Europe/Berlin",
        "JP": "Asia/Tokyo",
    }
    assert billing.entities["DE"].closed_period is ClosedPeriod.PARK
    assert billing.entities["JP"].detail is Detail.DAY
    assert billing.entities["US"].cutoff_time == time(18)
    assert billing.standard_rates["KWD"]["Analyst"] == Decimal(35)
    assert billing.intercompany.rule("JP", "DE").percent == Decimal(70)
    assert billing.intercompany.rule("US", "JP") == billing.intercompany.default
    assert bundle.zone("JP") == "Asia/Tokyo"


@pytest.mark.parametrize(("old", "new", "line", "text"), WRONG)
def test_a_wrong_value_is_told_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, line: int, text: str
) -> None:
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "policies"))
    path = folder / "billing.yaml"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    with pytest.raises(BundleInvalid) as caught:
        load_bundle(folder)
    wanted = f"{path}:{line}: {text}"
    assert any(problem.startswith(wanted) for problem in caught.value.problems), "\n".join(
        caught.value.problems
    )


def test_a_bundle_without_the_file_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "policies"))
    (folder / "billing.yaml").unlink()
    with pytest.raises(BundleInvalid, match="billing: there is no such file"):
        load_bundle(folder)
