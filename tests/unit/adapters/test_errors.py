import inspect

import pytest

from adapters import errors
from adapters.errors import (
    MESSAGE_LENGTH_MAX,
    RAW_LENGTH_MAX,
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    Reason,
    Rejected,
    UndoRefused,
)

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, AdapterError) and not found.__name__.startswith("_")
]


def test_every_reason_belongs_to_one_class() -> None:
    own = {found.__name__: found.reason for found in CLASSES if found is not AdapterError}

    assert sorted(own.values()) == sorted(Reason)


@pytest.mark.parametrize("error", CLASSES)
def test_each_class_says_in_words_what_happened(error: type[AdapterError]) -> None:
    text = str(error())

    assert text.endswith(".")
    assert "\n" not in text
    assert "`" not in text


def test_every_class_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = {line.split()[0] for line in errors.__doc__.splitlines() if line.strip()}

    assert {found.__name__ for found in CLASSES} <= drawn


def test_text_is_masked_and_bounded_and_keeps_where_it_happened() -> None:
    error = Invalid(
        "a@b.example " + "x" * 5000, field="email", vendor="netsuite", status=400, vendor_code="E1"
    )

    assert len(str(error)) <= MESSAGE_LENGTH_MAX
    assert "a@b" not in str(error)
    assert str(error).startswith("netsuite: ")
    assert str(error).endswith("(status 400, code E1)")


def test_raw_answers_are_masked_and_bounded() -> None:
    error = ContractBroken(raw='{"access_token":"abc"}' + "x" * 5000)

    assert "abc" not in error.raw
    assert len(error.raw) == RAW_LENGTH_MAX


def test_what_the_adapter_said_of_the_place_is_kept() -> None:
    error = UndoRefused(record_type="job", record_id="7", operation="remove the project")

    error.locate(vendor="netsuite", operation="DELETE", status=409, request_id="r1")

    assert (error.vendor, error.operation) == ("netsuite", "remove the project")
    assert (error.status, error.request_id) == (409, "r1")
    assert (error.record_type, error.record_id) == ("job", "7")


def test_a_refused_undo_is_no_rejection() -> None:
    assert not issubclass(UndoRefused, Rejected)
    assert issubclass(Forbidden, Rejected)
