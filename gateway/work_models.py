"""What the API of the worklist takes and answers. Strict: this is the door."""

from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from canonical.failures import Candidate
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.saga import Verb, WorkItemKind
from canonical.worklist import COMMENT_MAX, Comment, WorkFilter
from gateway.deliveries import Refusal
from gateway.parsing import json_object
from operations.worklist import Bulk, BulkResult, Listed
from operations.worklist.bulk import BULK_MAX

SAID_MAX: Final = 5
NAME_MAX: Final = 255
Short = Annotated[str, Field(max_length=NAME_MAX, pattern=r"^[^\x00]*$")]
Because = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NewComment(_Asked):
    """A comment; who writes it is who the token says."""

    text: Annotated[str, Field(min_length=1, max_length=COMMENT_MAX, pattern=r"^[^\x00]*$")]


class Assignment(_Asked):
    """Who is to see to it; without a name it is the caller."""

    to: Short = ""


class Acknowledgement(_Asked):
    """What became of what a rollback left behind."""

    because: Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[^\x00]*$")]


class AskedFilter(_Asked):
    """Which work is meant: at least one of these."""

    kinds: tuple[WorkItemKind, ...] = ()
    reason: Short = ""
    connection: Short = ""
    client: Short = ""
    project: Short = ""
    entity: Short = ""
    owner: Short = ""
    overdue: bool = False

    def wanted(self) -> WorkFilter:
        """Return the filter as the worklist knows it."""
        return WorkFilter(
            kinds=self.kinds,
            reason=self.reason,
            connection=self.connection,
            client_id=self.client,
            project_code=self.project,
            legal_entity=self.entity,
            owner=self.owner,
            overdue=self.overdue,
        )


class AskedBulk(_Asked):
    """One decision about all that matches."""

    filter: AskedFilter
    verb: Verb = Verb.RETRY
    """retry, hold or roll_back."""
    because: Because = ""
    limit: Annotated[int, Field(ge=1, le=BULK_MAX)] = 100
    dry_run: bool = False

    def bulk(self) -> Bulk:
        """Return what is asked for as the worklist knows it."""
        return Bulk(
            wanted=self.filter.wanted(),
            verb=self.verb,
            because=self.because,
            limit=self.limit,
            dry_run=self.dry_run,
        )


class ShownWork(CanonicalModel):
    """One thing that waits for a person."""

    id: str
    kind: WorkItemKind
    reason: str
    message: str
    title: str
    workflow_id: str
    generation: int
    park: int
    step: str
    connection: str
    client_id: str
    project_code: str
    legal_entities: tuple[str, ...]
    amount: Money | None
    """At stake; null where nobody can say."""
    count: int
    candidates: tuple[Candidate, ...]
    field: str
    field_owner: str
    verbs: tuple[Verb, ...]
    owner: str
    comments: int
    opened_at: datetime
    respond_by: datetime
    overdue: bool
    escalated: bool
    age_seconds: int
    link: str
    """Its page in the Web UI; empty where no workflow is behind it."""
    actions: tuple[str, ...]
    """Commands of the CLI that make sense, the likeliest first."""


class WorkPage(CanonicalModel):
    """What waits."""

    work: tuple[ShownWork, ...]
    more: bool
    """There is more behind: ask again with a higher offset."""


class WorkFile(CanonicalModel):
    """One piece of work with its comments, oldest first."""

    work: ShownWork
    comments: tuple[Comment, ...]


class BulkAnswer(CanonicalModel):
    """One result for each that matched, the most urgent first."""

    results: tuple[BulkResult, ...]


A = TypeVar("A", bound=_Asked)


def asked(model: type[A], body: bytes) -> A:
    """Return what somebody asks for.

    Raises:
        Refusal: 400 for what is no JSON, 422 for what makes no sense; which field, is said.
    """
    json_object(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        # Fields and what is wrong with them, never their values.
        said = "; ".join(
            f"{'.'.join(map(str, each['loc']))[:80] or 'body'}: {each['msg'][:120]}"
            for each in problems[:SAID_MAX]
        )
        raise Refusal(422, "invalid_request", f"{said[:1].upper()}{said[1:]}.") from None


def shown(listed: Listed, now: datetime) -> ShownWork:
    """Return work as the API shows it."""
    work = listed.work
    names = set(ShownWork.model_fields)
    values: dict[str, Any] = {
        name: getattr(work, name) for name in type(work).model_fields if name in names
    }
    return ShownWork(
        **values,
        overdue=work.is_overdue(now),
        age_seconds=max(int((now - work.opened_at).total_seconds()), 0),
        link=listed.link,
        actions=listed.actions,
    )
