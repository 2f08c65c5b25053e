"""Billing milestones of Kantata with the evidence of their approval, and the note put on them.

A milestone has no approval of its own (vendor page section 10.1): the connection's rule says what
counts. Who and when come from the task's trail of states (`GET /story_state_changes`, its
documentation: an audit trail that nobody can change) or from the custom field's setter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from adapters.errors import NotFound
from adapters.kantata import mapping as bodies
from adapters.kantata import milestone_mapping as mapping
from adapters.kantata.client import VENDOR, Listing, Row, id_of, listing
from adapters.kantata.config import AcceptanceFrom, ApprovedWhen, KantataConfig
from adapters.kantata.mapping import checked_id
from adapters.kantata.milestone_mapping import Evidence
from adapters.kantata.records import API, Records
from canonical.invoicing import PsaMilestone
from canonical.records import RecordRef

WITH_MILESTONES: Final = "external_references,invoices"
ALL_STORIES: Final[Mapping[str, str]] = {
    "all_on_account": "true",
    "show_archived": "true",
    "include": "custom_field_values",
}
SUBJECT: Final = "BillingMilestone"


class Milestones:
    """The billing milestones of one account."""

    def __init__(self, records: Records, config: KantataConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config
        self._rule = config.milestones

    async def of_project(self, project_id: str) -> tuple[PsaMilestone, ...]:
        """Return a project's milestones in the order in which they were made.

        Kantata's own list can be sorted by anything; ids are numbers that grow (unverified). Who
        completed a task is not asked: `GET /story_state_changes` wants the one story that it is
        about (its documentation), so that would be a call for each milestone.
        """
        found = await self._list(checked_id(project_id, "project"))
        evidence = await self._evidence(found.rows, trails=False)
        return tuple(
            self._milestone(row, found, evidence[id_of(row)], place)
            for place, row in enumerate(found.rows, start=1)
        )

    async def page(
        self, number: int, project_id: str = ""
    ) -> tuple[tuple[PsaMilestone, ...], int, int]:
        """Return a page of all milestones, how many rows it has, and how many there are in all.

        Their place among those of their project is not told.
        """
        params = {
            "include": f"{WITH_MILESTONES},story",
            "include_archived": "true",
            "order": "created_at:asc",
            "page": str(number),
        }
        if project_id:
            params["workspace_id"] = checked_id(project_id, "project")
        found = await self._records.page("billing_milestones", params, "list milestones")
        own = [row for row in found.rows if project_id in {"", str(row.get("workspace_id"))}]
        evidence = await self._evidence(own, trails=True)
        milestones = tuple(self._milestone(row, found, evidence[id_of(row)], 0) for row in own)
        return milestones, len(found.rows), found.count

    async def read(self, milestone_id: str) -> PsaMilestone:
        """Return one milestone; its place takes a look at the others of its project.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        answer = await self._records.http.request(
            "GET",
            f"{API}/billing_milestones/{checked_id(milestone_id, 'milestone')}",
            operation="read the milestone",
            write=False,
        )
        shown = listing(answer).rows
        project_id = str(shown[0].get("workspace_id")) if shown else ""
        found = await self._list(checked_id(project_id, "project"))
        for place, row in enumerate(found.rows, start=1):
            if id_of(row) == milestone_id:
                evidence = await self._evidence([row], trails=True)
                return self._milestone(row, found, evidence[milestone_id], place)
        raise NotFound(
            f"There is no billing milestone {milestone_id}.",
            vendor=VENDOR,
            operation="read the milestone",
        )

    async def lead_of(self, project_id: str) -> str:
        """Return the e-mail address of a project's lead on the provider's side; empty: nobody.

        Archived projects too (section 0 point 6); the association is that of section 3.

        Raises:
            NotFound: there is no such project.
        """
        answer = await self._records.http.request(
            "GET",
            f"{API}/workspaces/{checked_id(project_id, 'project')}",
            operation="see who leads the project",
            write=False,
            params={"include": "primary_maven", "include_archived": "true"},
        )
        shown = listing(answer)
        lead = str(shown.rows[0].get("primary_maven_id")) if shown.rows else ""
        return mapping.email_of(shown.included("users").get(lead, {}))

    async def of_stories(self, story_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the milestones that are tied to tasks, by task; deleted tasks too.

        A list of milestones cannot be filtered by task, only by project: so first which projects.
        """
        params = {**ALL_STORIES, "show_deleted": "true", "include": ""}
        stories = await self._records.named("stories", story_ids, params, "look up tasks")
        projects = sorted({str(row.get("workspace_id")) for row in stories.rows})
        found: dict[str, tuple[str, ...]] = {}
        if not projects:
            return found
        params = {"workspace_id": ",".join(projects), "include": "story", "order": "created_at:asc"}
        act = "look for milestones of tasks"
        async for page in self._records.pages("billing_milestones", params, act):
            for row in page.rows:
                story = str(row.get("story_id") or "")
                if story in story_ids:
                    found[story] = (*found.get(story, ()), id_of(row))
        return found

    async def read_note(self, milestone: RecordRef) -> str:
        """Return what our reference of the billing service says (section 5)."""
        service = self._config.billing_service
        held = await self._records.references(milestone, service, SUBJECT)
        return str(held[0].get("service_model_ref") or "") if held else ""

    async def write_note(self, milestone: RecordRef, note: str) -> RecordRef:
        """Upsert that reference, or delete it; one subject has one per service (section 5)."""
        id_ = checked_id(milestone.id, "milestone")
        if not note:
            service = self._config.billing_service
            for row in await self._records.references(milestone, service, SUBJECT):
                act = "take the note off the milestone"
                await self._records.delete("external_references", id_of(row), act)
            return milestone
        await self._records.http.request(
            "POST",
            f"{API}/external_references/create_or_update",
            operation="note that the milestone is being billed",
            write=True,
            json=bodies.eligibility_body(id_, note, self._config),
        )
        return milestone

    async def _list(self, project_id: str) -> Listing:
        params = {
            "workspace_id": project_id,
            "include": f"{WITH_MILESTONES},story",
            "include_archived": "true",
            "order": "created_at:asc",
        }
        rows: dict[str, Row] = {}
        maps: dict[str, dict[str, object]] = {}
        async for page in self._records.pages("billing_milestones", params, "read milestones"):
            # An unknown filter is ignored silently (section 3).
            own = [row for row in page.rows if str(row.get("workspace_id")) == project_id]
            rows.update({id_of(row): row for row in own})
            for name in WITH_MILESTONES.split(","):
                maps.setdefault(name, {}).update(page.included(name))
        ordered = sorted(rows.values(), key=lambda row: (len(id_of(row)), id_of(row)))
        return Listing(tuple(ordered), len(ordered), maps)

    def _milestone(
        self, row: Row, found: Listing, evidence: Evidence, position: int
    ) -> PsaMilestone:
        system = self._records.connection
        return mapping.milestone_from(row, found, evidence, position, system, self._config)

    async def _evidence(self, rows: Sequence[Row], *, trails: bool) -> dict[str, Evidence]:
        """Return what the rule finds, by milestone; without trails not who completed tasks."""
        tied = {id_of(row): str(row["story_id"]) for row in rows if row.get("story_id")}
        stories = Listing((), 0, {})
        if tied and self._rule_reads_tasks():
            ids = sorted(set(tied.values()))
            stories = await self._records.named("stories", ids, ALL_STORIES, "read tasks")
        known = {id_of(row): row for row in stories.rows}
        files = await self._files(rows) if tied else {}
        people = await self._setters(known.values(), stories)
        found = {}
        for row in rows:
            story = known.get(tied.get(id_of(row), ""), {})
            evidence = await self._approval(row, story, stories, people, trails=trails)
            acceptance = self._acceptance(story, stories) or files.get(tied.get(id_of(row), ""), "")
            found[id_of(row)] = replace(evidence, acceptance=acceptance)
        return found

    def _rule_reads_tasks(self) -> bool:
        dated = self._rule.approved_when is ApprovedWhen.DATE_REACHED
        return not dated or bool(self._rule.fields)

    async def _approval(
        self,
        row: Row,
        story: Row,
        stories: Listing,
        people: Mapping[str, str],
        *,
        trails: bool,
    ) -> Evidence:
        match self._rule.approved_when:
            case ApprovedWhen.DATE_REACHED:
                return mapping.by_date(row, datetime.now(UTC))
            case ApprovedWhen.CUSTOM_FIELD:
                value = mapping.value_of(story, stories, self._rule.approved_field)
                evidence = mapping.by_value(value, self._rule.approved_value)
                setter = people.get(str(value.get("setter_id")), "")
                return replace(evidence, by=setter) if evidence.approved else evidence
            case ApprovedWhen.STORY_COMPLETED:
                if story.get("state") != mapping.COMPLETED:
                    return Evidence()
                if not trails:
                    return Evidence(approved=True)
                return mapping.by_completion(await self._changes(id_of(story)))

    async def _changes(self, story_id: str) -> Listing:
        params = {"story_id": story_id, "include": "user", "order": "created_at:desc"}
        return await self._records.page("story_state_changes", params, "see who completed a task")

    async def _setters(self, stories: Iterable[Row], found: Listing) -> dict[str, str]:
        """Return the e-mail addresses of those who set the field that approves."""
        if self._rule.approved_when is not ApprovedWhen.CUSTOM_FIELD:
            return {}
        values = [mapping.value_of(row, found, self._rule.approved_field) for row in stories]
        ids = sorted({str(value["setter_id"]) for value in values if value.get("setter_id")})
        if not ids:
            return {}
        users = await self._records.named("users", ids, {}, "see who approved")
        return {id_of(row): mapping.email_of(row) for row in users.rows}

    def _acceptance(self, story: Row, stories: Listing) -> str:
        if self._rule.acceptance is not AcceptanceFrom.CUSTOM_FIELD:
            return ""
        value = mapping.value_of(story, stories, self._rule.acceptance_field)
        return mapping.shown_value(value)

    async def _files(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return the newest file posted on each task of the milestones' project."""
        if self._rule.acceptance is not AcceptanceFrom.ATTACHMENT:
            return {}
        projects = sorted({str(row.get("workspace_id")) for row in rows})
        params = {"workspace_id": ",".join(projects), "include": "attachments"}
        pages = self._records.pages("posts", params, "look for acceptance documents")
        return mapping.newest_files([page async for page in pages])
