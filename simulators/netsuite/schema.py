"""How a record type is described: fields, references, sublists, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    DATE = "date"
    MOMENT = "moment"
    DURATION = "duration"
    REFERENCE = "reference"
    CHOICE = "choice"
    MULTISELECT = "multiselect"
    SUBRECORD = "subrecord"


class Space(StrEnum):
    """Records of one space share their ids and their external ids (vendor page, section 8)."""

    ENTITY = "entity"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `targets` are the types a reference may name, `options` the ids of a choice.

    What is `by_hand` is read-only for clients, and set by people in the screen.
    """

    kind: Kind
    label: str = ""
    targets: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    length_max: int | None = None
    read_only: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Sublist:
    """Lines of a record: a line sent with a known `key` is updated, without one it is appended."""

    key: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class RecordType:
    """One record type of the REST record service."""

    name: str
    fields: Mapping[str, Field]
    sublists: Mapping[str, Sublist] = field(default_factory=dict)
    space: Space | None = None
