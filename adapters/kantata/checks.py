"""The connection check of Kantata: each step reads, none writes."""

from collections.abc import Mapping
from typing import Final

from adapters.errors import ContractBroken, Forbidden, Invalid, Unsupported
from adapters.kantata.client import id_of, listing
from adapters.kantata.config import KantataConfig
from adapters.kantata.feed import ChangeFeed
from adapters.kantata.records import API, USED_BY, Records
from adapters.ports import Check

READ: Final[Mapping[str, Mapping[str, str]]] = {
    "workspaces": {},
    "workspace_groups": {},
    "stories": {"all_on_account": "true"},
    "billing_milestones": {},
    "external_references": {"subject_type": "Workspace"},
    "users": {},
    "rate_cards": {},
    "roles": {},
    "timesheet_submissions": {},
    "expense_report_submissions": {},
    "time_adjustments": {},
    "custom_field_values": {"subject_type": "Story"},
    "external_payments": {},
    "posts": {},
    **USED_BY,
}
"""The collections that the acts read -> what their lists need."""


class ConnectionCheck:
    """The steps of the check, for one account."""

    def __init__(self, records: Records, config: KantataConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config

    def steps(self) -> tuple[Check, ...]:
        """Return the steps in order; each assumes the earlier ones."""
        return (
            Check("reach", self.reach, "Check base_url: https://api.mavenlink.com for Kantata OX."),
            Check(
                "sign in",
                self.sign_in,
                "Put the token of the integration's own administrator into the secret `token`; "
                "a token is void once it is revoked or its user is disabled.",
            ),
            Check(
                "permission",
                self.permission,
                "Make the token's user an account administrator who may see financials; a feature "
                "outside your plan has to be booked.",
            ),
            Check(
                "fields",
                self.fields,
                "Create the text fields 'Integration key' with the unique constraint for projects, "
                "groups and tasks, and put their ids under settings.integration_key_fields.",
            ),
            Check(
                "milestones",
                self.milestones,
                "Say under settings.milestones what approves a billing milestone and where the "
                "client's acceptance is kept; custom fields named there have to exist for tasks.",
            ),
            Check(
                "feed",
                self.feed,
                "Without the feed Dealthread lists what changed, and sees deletions only when it "
                "reconciles: book subscribed events, or leave it so.",
            ),
        )

    async def reach(self) -> str:
        """Ask without the token: Kantata refuses that in its own words (section 2)."""
        try:
            await self._records.http.request(
                "GET",
                f"{API}/users/me",
                operation="reach Kantata",
                write=False,
                authenticated=False,
            )
        except Forbidden as error:
            if error.status == 401 and error.vendor_code == "oauth":
                return "reached"
            raise
        raise ContractBroken("Something else than Kantata answers here.")

    async def sign_in(self) -> str:
        """Ask who the token's user is (section 2)."""
        answer = await self._records.http.request(
            "GET", f"{API}/users/me", operation="sign in", write=False
        )
        rows = listing(answer).rows
        if not rows:
            raise ContractBroken("Kantata does not say whose token this is.", raw=answer.text)
        return f"signed in as user {id_of(rows[0])}"

    async def permission(self) -> str:
        """Read one row of everything that the acts read."""
        for collection, params in READ.items():
            act = f"list {collection.replace('_', ' ')}"
            await self._records.page(collection, {**params, "per_page": "1"}, act)
        return f"may read {', '.join(READ)}".replace("_", " ")

    async def fields(self) -> str:
        """See that the key fields are there, take text and are unique (section 13)."""
        wanted = self._config.integration_key_fields.model_dump()
        found = await self._records.page(
            "custom_fields", {"only": ",".join(wanted.values())}, "list custom fields"
        )
        fit = {
            id_of(row)
            for row in found.rows
            if row.get("unique_constraint") is True and row.get("value_type") == "string"
        }
        missing = [f"{name} {id_}" for name, id_ in wanted.items() if id_ not in fit]
        if missing:
            raise Invalid(
                f"Not there, no text, or without the unique constraint: {', '.join(missing)}.",
                field="integration_key_fields",
            )
        return f"{len(wanted)} unique key fields are there"

    async def milestones(self) -> str:
        """See that the custom fields of the evidence rule are there (section 13)."""
        rule = self._config.milestones
        wanted = sorted(set(rule.fields))
        if wanted:
            found = await self._records.named("custom_fields", wanted, {}, "list custom fields")
            missing = sorted(set(wanted) - {id_of(row) for row in found.rows})
            if missing:
                raise Invalid(
                    f"There are no custom fields {', '.join(missing)}.", field="milestones"
                )
        accepted = f", accepted by {rule.acceptance}" if rule.acceptance != "none" else ""
        return f"milestones are approved by {rule.approved_when}{accepted}"

    async def feed(self) -> str:
        """See whether there is a change feed; an account may do without (section 14)."""
        try:
            types = await ChangeFeed(self._records).event_types()
        except Unsupported:
            return "no change feed: changes will be listed instead"
        return f"the change feed knows {len(types)} of our event types"
