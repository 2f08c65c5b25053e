"""Billing milestones (section 10.1): amounts that are invoiced at a date or upon completion."""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import Filter, by_id
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Fields, Kind, text_in
from simulators.kit import Record


class BillingMilestones(Collection):
    """`GET`, `POST` (one, or 100 in bulk), `PUT`, `DELETE /billing_milestones`."""

    name = "billing_milestones"
    singular = "billing_milestone"
    noun = "BillingMilestone"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True),
        "amount_in_cents": Field(Kind.INTEGER, required=True),
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "date_to_invoice": Field(Kind.DATE),
        "billing_type": Field(
            Kind.CHOICE,
            choices=("fixed_date", "upon_completion"),
            default="fixed_date",
            on_update=False,
        ),
        "story_id": Field(Kind.REFERENCE, target="stories", on_update=False),
    }
    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "story": ("story_id", "stories"),
    }
    many: ClassVar[Links] = {"invoices": ("invoice_ids", "invoices")}
    always_shown = frozenset({"invoice_ids"})
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "story_id": by_id("story_id"),
    }
    orders = frozenset({"date_to_invoice", "title"})

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del scene, values
        return {"invoice_id": None, "invoice_ids": []}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        del given
        if record is not None and record.fields.get("invoice_id") is not None:
            problems.append(problem("base", "can't be changed because it is on an invoice"))
        story = scene.find("stories", text_in(fields, "story_id"))
        if fields["billing_type"] == "upon_completion" and story is None:
            problems.append(problem("story_id", "can't be blank"))
        if story is not None and story.fields["workspace_id"] != fields["workspace_id"]:
            problems.append(problem("story_id", "belongs to another workspace"))

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene
        if record.fields.get("invoice_id") is not None:
            raise invalid("Billing milestone can't be deleted because it is on an invoice")

    def derived(self, scene: Scene, record: Record) -> Fields:
        workspace = scene.find("workspaces", text_in(record.fields, "workspace_id"))
        return {
            "currency": None if workspace is None else workspace.fields["currency"],
            "invoice_id": record.fields.get("invoice_id"),
        }
