"""What an object and a field are: the facts that describe, validation and queries go by."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue


class FieldType(StrEnum):
    """Types as describe names them."""

    ID = "id"
    STRING = "string"
    TEXTAREA = "textarea"
    EMAIL = "email"
    PHONE = "phone"
    URL = "url"
    PICKLIST = "picklist"
    BOOLEAN = "boolean"
    INT = "int"
    DOUBLE = "double"
    CURRENCY = "currency"
    PERCENT = "percent"
    DATE = "date"
    DATETIME = "datetime"
    REFERENCE = "reference"
    ADDRESS = "address"


NUMERIC = frozenset({FieldType.INT, FieldType.DOUBLE, FieldType.CURRENCY, FieldType.PERCENT})


class OnDelete(StrEnum):
    """What the deletion of a parent does to a row that looks up to it."""

    CASCADE = "cascade"
    RESTRICT = "restrict"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    `children` names the relationship as seen from the parent; `values` makes a restricted picklist.
    """

    name: str
    type: FieldType = FieldType.STRING
    length: int = 255
    precision: int = 18
    scale: int = 2
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    external_id: bool = False
    unique: bool = False
    values: tuple[str, ...] = ()
    refers_to: str = ""
    relationship: str = ""
    children: str = ""
    on_delete: OnDelete = OnDelete.CLEAR
    default: JsonValue = None

    @property
    def custom(self) -> bool:
        """Whether the customer added it."""
        return self.name.endswith("__c")

    @property
    def required(self) -> bool:
        """Whether a create must give it."""
        return self.createable and not self.nillable and self.default is None

    @property
    def label(self) -> str:
        """The name as people see it."""
        words = self.name.removesuffix("__c").replace("_", " ")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)


@dataclass(frozen=True, slots=True)
class Child:
    """A relationship downwards: `type` rows whose `column` holds the parent's id."""

    relationship: str
    type: str
    column: Field


@dataclass(frozen=True, slots=True)
class SObject:
    """One object type. Field and relationship names are found in any case, as the vendor does.

    `key_field` is the external id under which the control origin shows records.
    """

    name: str
    plural: str
    fields: tuple[Field, ...]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    key_field: str = ""
    _by_name: dict[str, Field] = field(init=False, repr=False, compare=False)
    _by_relationship: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the fields."""
        by_name = {column.name.lower(): column for column in self.fields}
        parents = {c.relationship.lower(): c for c in self.fields if c.relationship}
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_by_relationship", parents)

    def field(self, name: str) -> Field | None:
        """Return the field of this name."""
        return self._by_name.get(name.lower())

    def parent(self, relationship: str) -> Field | None:
        """Return the lookup field behind a relationship name."""
        return self._by_relationship.get(relationship.lower())
