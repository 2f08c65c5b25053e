"""The field types that the files of the policy bundle share."""

from typing import Annotated

from babel import Locale
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from canonical.money import minor_digits

_NO_COUNTRIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})
"""Two-letter codes of CLDR that are groups or placeholders."""

_COUNTRIES = frozenset(
    str(code)
    for code in Locale("en").territories
    if len(str(code)) == 2 and code not in _NO_COUNTRIES
)


def is_country(code: str) -> bool:
    """Return whether `code` is an ISO 3166-1 alpha-2 country, after the CLDR data of Babel."""
    return code in _COUNTRIES


def _known_currency(code: str) -> str:
    if minor_digits(code) is None:
        raise ValueError(f"{code[:20]!r} is no currency; allowed are ISO 4217 codes such as EUR")
    return code


def _known_country(code: str) -> str:
    if not is_country(code):
        raise ValueError(
            f"{code[:20]!r} is no country; allowed are ISO 3166-1 alpha-2 codes such as DE"
        )
    return code


Currency = Annotated[str, AfterValidator(_known_currency)]
Country = Annotated[str, AfterValidator(_known_country)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
"""An id in a connected system; quoted in YAML, since `77` alone is a number."""
OptionalRecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{0,64}$")]
ConnectionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Seconds = Annotated[float, Field(ge=0, le=31 * 86_400)]


class Strict(BaseModel):
    """Knows its fields and no others, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
