"""What the API of backfills takes and answers. Strict: this is the door."""

from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from canonical.backfill import (
    RATE_USUAL,
    Amount,
    BackfillKind,
    BackfillState,
    InFlight,
    Rate,
)
from gateway.deliveries import Refusal
from gateway.parsing import json_object
from store.backfills import ReportedRecord, StoredBackfill

SAID_MAX = 5
Day = date


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NewBackfill(_Asked):
    """Which records to carry over, and how fast; who starts it is who the token says."""

    kind: BackfillKind
    since: Day
    until: Day
    where: Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")] = ""
    connection: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] = ""
    name: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,39})?$")] = ""
    rate: Rate = RATE_USUAL
    in_flight_max: InFlight | None = None
    """Left out: as many as is usual for the kind."""


class NewRate(_Asked):
    """Another pace; what is left out stays."""

    rate: Rate | None = None
    in_flight_max: InFlight | None = None


class ShownBackfill(BaseModel):
    """How a backfill stands."""

    id: str
    kind: BackfillKind
    connection: str
    since: Day
    until: Day
    where: str
    state: BackfillState
    rate: Rate
    in_flight_max: int
    in_flight: int
    records: tuple[Amount, ...]
    """By state and currency."""
    why: str
    begun_by: str
    begun_at: datetime
    ended_at: datetime | None


class BackfillList(BaseModel):
    """Backfills, the newest first."""

    backfills: tuple[ShownBackfill, ...]


class BackfillStarted(BaseModel):
    """It begins; where it can be looked at."""

    id: str


class RecordPage(BaseModel):
    """Records in the source's order."""

    records: tuple[ReportedRecord, ...]
    next: int | None
    """Give it as `after` for the page behind this one; None: this is the last."""


T = TypeVar("T", bound=_Asked)


def asked(model: type[T], body: bytes) -> T:
    """Return what a body asks for.

    Raises:
        Refusal: 400 or 422; which field, is said.
    """
    json_object(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}"
            for each in error.errors(include_input=False)[:SAID_MAX]
        )
        raise Refusal(422, "invalid_request", f"{said[:500]}.") from None


def shown(stored: StoredBackfill) -> ShownBackfill:
    """Return a backfill as the API shows it."""
    view = stored.view
    window: dict[str, Any] = view.window.model_dump()
    return ShownBackfill(
        id=view.id,
        **window,
        state=view.state,
        rate=view.rate,
        in_flight_max=view.in_flight_max,
        in_flight=view.standing.in_flight,
        records=view.standing.amounts,
        why=view.why,
        begun_by=stored.begun_by,
        begun_at=stored.begun_at,
        ended_at=stored.ended_at,
    )
