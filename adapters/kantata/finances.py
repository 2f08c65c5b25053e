"""A project's money in a custom text field of Kantata: one line that its manager reads.

A text in one field is one write, whole or not at all; amounts of their own fields would be one
write each. Sources: vendor page section 13 (custom field values: subject, field, value by type, the
filters of the list). That a text takes 255 characters is unverified.
"""

from typing import Final

from adapters.errors import Invalid, MissingMapping, NotFound
from adapters.kantata.client import VENDOR, Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import checked_id
from adapters.kantata.records import API, Records
from canonical.invoicing import DealFinances
from canonical.records import RecordRef

TEXT_MAX: Final = 255
SUBJECT: Final = "Workspace"
VALUES: Final = "custom_field_values"
ACT: Final = "show the project's money"


class ProjectFinances:
    """The money shown on the projects of one account."""

    def __init__(self, records: Records, config: KantataConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._field = config.finance_field

    @property
    def shown(self) -> bool:
        """Whether the account has a field for it."""
        return bool(self._field)

    async def find(self, project: RecordRef, finances: DealFinances) -> RecordRef | None:
        """Return the project where it shows exactly this."""
        held = await self._held(project)
        shows = held is not None and held.get("value") == text_of(finances)
        return project if shows else None

    async def write(self, project: RecordRef, finances: DealFinances) -> RecordRef:
        """Set the field, or change what it shows.

        Raises:
            MissingMapping: the account has no field for it.
            Rejected: Kantata refuses: there is no such project or field.
        """
        value = text_of(finances)
        held = await self._held(project)
        if held is not None:
            await self._records.http.request(
                "PUT",
                f"{API}/{VALUES}/{id_of(held)}",
                operation=ACT,
                write=True,
                json={"custom_field_value": {"value": value}},
            )
            return project
        body = {
            "subject_type": SUBJECT,
            "subject_id": checked_id(project.id, "project"),
            "custom_field_id": self._checked_field(),
            "value": value,
        }
        await self._records.create(VALUES, {"custom_field_value": body}, ACT)
        return project

    async def _held(self, project: RecordRef) -> Row | None:
        field, id_ = self._checked_field(), checked_id(project.id, "project")
        params = {"subject_type": SUBJECT, "with_subject_id": id_, "custom_field_id": field}
        pages = self._records.pages(VALUES, params, "look at the project's money")
        try:
            # Unknown filters are ignored (section 3): so the rows are compared here too.
            rows = [row async for page in pages for row in page.rows if _is(row, id_, field)]
        except NotFound:
            return None
        return rows[0] if rows else None

    def _checked_field(self) -> str:
        if not self._field:
            raise MissingMapping(
                "No field of projects is configured for their money.",
                field="finance_field",
                vendor=VENDOR,
            )
        return self._field


def text_of(finances: DealFinances) -> str:
    """Return a deal's money in one line.

    Raises:
        Invalid: it is too long for the field.
    """
    margin = finances.margin_percent
    parts = (
        f"invoiced {finances.invoiced}",
        f"outstanding {finances.outstanding}",
        f"overdue {finances.overdue}",
        f"unbilled {finances.unbilled}",
        f"margin {margin:.2f} %" if margin is not None else "",
        finances.status,
    )
    text = f"{', '.join(filter(None, parts))} ({finances.as_of.isoformat()})"
    if len(text) > TEXT_MAX:
        raise Invalid(f"The field takes {TEXT_MAX} characters, not {len(text)}.", field="status")
    return text


def _is(row: Row, project_id: str, field: str) -> bool:
    return str(row.get("subject_id")) == project_id and str(row.get("custom_field_id")) == field
