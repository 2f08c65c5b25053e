"""Short names for the kinds of fields, and the fields that many record types share."""

from collections.abc import Mapping
from functools import cache

from babel import Locale

from simulators.netsuite.schema import Field, Kind

ENTITIES = ("customer", "job")
"""Whom a transaction, time or a charge may be for."""


def text(label: str, length_max: int = 999, read_only: bool = False) -> Field:
    return Field(Kind.TEXT, label, length_max=length_max, read_only=read_only)


def flag(label: str = "") -> Field:
    return Field(Kind.FLAG, label)


def number(label: str = "", read_only: bool = False) -> Field:
    return Field(Kind.NUMBER, label, read_only=read_only)


def day(label: str = "") -> Field:
    return Field(Kind.DATE, label)


def to(*targets: str, label: str = "", read_only: bool = False) -> Field:
    return Field(Kind.REFERENCE, label, targets=targets, read_only=read_only)


def choice(options: Mapping[str, str], label: str = "", read_only: bool = False) -> Field:
    return Field(Kind.CHOICE, label, options=options, read_only=read_only)


@cache
def countries() -> Mapping[str, str]:
    return {code: name for code, name in Locale("en").territories.items() if len(code) == 2}


MONEY_READ = number(read_only=True)
COMMON: Mapping[str, Field] = {
    "dateCreated": Field(Kind.MOMENT, read_only=True),
    "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
}
SEGMENTS: Mapping[str, Field] = {
    "department": to("department", label="Department"),
    "class": to("classification", label="Class"),
    "location": to("location", label="Location"),
}
