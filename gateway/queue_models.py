"""What the API of the billing queue takes and answers: acts, releases, drafts, results.

Strict: this is the door. An act is `canonical.drafts.AnyAct` without `by`, which the token says,
and without `returned`, which only a posting does.
"""

import hashlib
import json
from datetime import date, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    computed_field,
)

from canonical.draft_acts import AnyAct, DraftAnswer, Returned
from canonical.drafts import Draft, DraftState
from canonical.money import Money
from gateway.answers import Problem
from gateway.deliveries import Refusal
from gateway.parsing import json_object

RELEASES_MAX: Final = 500
BECAUSE_MAX: Final = 2_000
LINES_MAX: Final = 10_000
SAID_MAX: Final = 5
ACT_ID_DRAFT: Final = 150
"""Characters of the draft's id that an act's id shows; its digest is over all of it."""
DIGEST: Final = 20
ACTS: Final[TypeAdapter[AnyAct]] = TypeAdapter(AnyAct)

T = TypeVar("T")


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListedDraft(_Shown):
    """A draft in the list: what it comes to and what keeps it from release, without its lines."""

    id: str
    version: int
    state: DraftState
    title: str
    legal_entity: str
    client_id: str
    client_po: str
    period: str
    on: date
    currency: str
    net: Money
    expected_tax: Money
    """Estimated; the issuing system's is final."""
    gross: Money
    lines: int
    """Those that will be invoiced."""
    content_hash: str
    """What a release names."""
    preparers: tuple[str, ...]
    reviewer: str
    review_until: datetime | None
    problems: tuple[str, ...]
    """What blocks its release, as it stood at the last act on it."""
    warnings: tuple[str, ...]
    """What whoever releases it should know."""
    proposed_write_down: Money | None
    """What is proposed to write down its lines by, together; the lines say who and why."""
    returned: str


class DraftList(_Shown):
    """Drafts, oldest first."""

    drafts: list[ListedDraft]
    more: bool
    """There are others behind these: ask again with a higher offset."""
    next: int | None = None
    """The offset of the first of those; null: there are none."""


class ShownDraft(Draft):
    """A draft with its lines, its totals and the content hash that a release names."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def net(self) -> Money:
        """Sum of the lines that will be invoiced."""
        return super().net

    @computed_field  # type: ignore[prop-decorator]
    @property
    def expected_tax(self) -> Money:
        """Estimated tax of those lines."""
        return super().expected_tax

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> Money:
        """Net and estimated tax: what limits of release are compared with."""
        return super().gross

    @computed_field  # type: ignore[prop-decorator]
    @property
    def content_hash(self) -> str:
        """What a release names."""
        return super().content_hash


class ActAnswer(DraftAnswer):
    """Whether an act was taken, and every reason why not; both are in the audit trail."""

    draft: str


class AskedRelease(BaseModel):
    """One draft of a bulk release, exactly as it was looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    draft: Annotated[str, Field(min_length=1, max_length=255)]
    content_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReleaseResult(_Shown):
    """What became of one draft of a bulk release."""

    draft: str
    status: int
    """As for a single act: 200 taken, 409 refused, 404 no such draft, 503 nobody can tell."""
    answer: ActAnswer | None = None
    problem: Problem | None = None


class ReleaseResults(_Shown):
    """One result for each draft, in the order asked for."""

    results: list[ReleaseResult]


RELEASES: Final = TypeAdapter(Annotated[list[AskedRelease], Field(min_length=1)])


def listed(draft: Draft) -> ListedDraft:
    """Return a draft as the list shows it."""
    given = draft.model_dump(include=set(ListedDraft.model_fields) - {"lines"})
    computed = {name: getattr(draft, name) for name in ("net", "expected_tax", "gross")}
    return ListedDraft(
        **given, **computed, lines=len(draft.live_lines), content_hash=draft.content_hash
    )


def shown(draft: Draft) -> ShownDraft:
    """Return a draft as it is shown by itself."""
    return ShownDraft.model_construct(**dict(draft))


def act_of(body: bytes, by: str) -> AnyAct:
    """Return the act that somebody asks for.

    Raises:
        Refusal: 400 for what is no JSON, 422 for what is no act.
    """
    given = json_object(body)
    if "by" in given:
        raise _invalid("by: who acts is who the token says")
    act = _checked(ACTS, json.dumps({**given, "by": by}).encode())
    if isinstance(act, Returned):
        raise _invalid("act: only a posting returns a draft")
    lines = getattr(act, "lines", ())
    if len(act.because) > BECAUSE_MAX or len(lines) > LINES_MAX:
        raise _invalid(f"because has at most {BECAUSE_MAX} characters, lines {LINES_MAX}")
    _check_texts(given)
    return act


def releases_of(body: bytes) -> list[AskedRelease]:
    """Return the releases that somebody asks for.

    Raises:
        Refusal: 400 for what is no JSON, 422 for too many, or the same draft twice.
    """
    wrapped = json_object(b'{"releases":' + body + b"}")
    if set(wrapped) != {"releases"}:
        raise Refusal(400, "not_json", "The body is not a JSON list.")
    asked = _checked(RELEASES, body)
    if len(asked) > RELEASES_MAX:
        raise _invalid(f"at most {RELEASES_MAX} drafts at once")
    if len({each.draft for each in asked}) < len(asked):
        raise _invalid("the same draft twice")
    _check_texts(wrapped)
    return asked


def act_id(draft: str, act: AnyAct, key: str) -> str:
    """Return the id of an act that a caller named by a key: the same request has the same one.

    It is the caller's own, and this act's on this draft: a key that somebody used for something
    else must not be answered with what became of that.
    """
    told = json.dumps([draft, key, act.model_dump(mode="json")], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:DIGEST]
    return f"{draft[-ACT_ID_DRAFT:]}#{key}#{digest}"


def act_schema(defs: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON schema of an act without `by`, and the schemas that it names."""
    schema = ACTS.json_schema(ref_template=f"{defs}{{model}}")
    named = schema.pop("$defs")
    hidden = Returned.__name__
    for name, each in named.items():
        if "act" in each.get("properties", {}):
            each["properties"].pop("by")
            each["properties"]["because"]["maxLength"] = BECAUSE_MAX
            each["required"] = sorted({*each["required"], "act"} - {"by"})
            each["additionalProperties"] = False
            each["title"] = name
    named.pop(hidden)
    schema["oneOf"] = [each for each in schema["oneOf"] if each["$ref"] != f"{defs}{hidden}"]
    schema["discriminator"]["mapping"].pop("returned")
    used = {name: each for name, each in named.items() if name != "BillableRef"}
    return schema, {name: each for name, each in used.items() if name != "BillableKind"}


def _checked(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body, strict=True, extra="forbid")
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        # Fields and what is wrong with them, never their values.
        said = [
            f"{'.'.join(map(str, each['loc']))[:80] or 'body'}: {each['msg'][:120]}"
            for each in problems[:SAID_MAX]
        ]
        raise _invalid("; ".join(said)) from None


def _check_texts(value: JsonValue) -> None:
    """Refuse NUL, which PostgreSQL keeps in no text. Its depth was limited before."""
    if isinstance(value, dict):
        for key, below in value.items():
            _check_texts(key)
            _check_texts(below)
    elif isinstance(value, list):
        for each in value:
            _check_texts(each)
    elif isinstance(value, str) and "\x00" in value:
        raise _invalid("a text has the character NUL")


def _invalid(detail: str) -> Refusal:
    return Refusal(422, "invalid_act", f"{detail[0].upper()}{detail[1:]}."[:1_000])
