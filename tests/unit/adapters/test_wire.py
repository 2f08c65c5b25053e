from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wire import dump_json, load_json, retry_after_seconds

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("12345678901234567.89"), "12345678901234567.89"),
        (Decimal("0.1"), "0.1"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.000000001"), "-0.000000001"),
        (True, "true"),
        (None, "null"),
        (10**30, "1" + "0" * 30),
        (Colour.RED, '"red"'),
        ('quote " and \U0001f600 and \ud800', '"quote \\" and \\ud83d\\ude00 and \\ud800"'),
        ({"a": [Decimal("0.1"), {"b": ()}]}, '{"a":[0.1,{"b":[]}]}'),
    ],
)
def test_values_go_out_exactly(value: object, text: str) -> None:
    assert dump_json(value) == text


@pytest.mark.parametrize("value", [0.1, {"a": [1.0]}, object(), {1: 2}, b"x", NOW])
def test_what_is_not_exact_or_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        dump_json(value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+1000000", "1E-1000000"])
def test_numbers_nobody_means_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        dump_json([Decimal(value)])


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20,
                   places=6))  # fmt: skip
def test_decimals_survive_the_round_trip(value: Decimal) -> None:
    assert load_json(dump_json([value])) == [value]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "[" * 200_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        load_json(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("999999999", 86400.0),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds
