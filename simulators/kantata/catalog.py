"""Every collection that the simulator has, by its plural name."""

from simulators.kantata.attachments import CustomFieldValues, ExternalReferences
from simulators.kantata.collection import Collection
from simulators.kantata.expenses import ExpenseCategories, Expenses
from simulators.kantata.invoice_items import AdditionalItems, FixedFeeItems
from simulators.kantata.invoices import ExternalPayments, Invoices
from simulators.kantata.master import (
    CustomFieldChoices,
    CustomFields,
    RateCards,
    RateCardSets,
    Roles,
    Users,
    WorkspaceGroups,
)
from simulators.kantata.milestones import BillingMilestones
from simulators.kantata.participations import Participations
from simulators.kantata.posts import Files, Posts
from simulators.kantata.rates import CostRates, RateCardRoles, RateCardVersions
from simulators.kantata.stories import Stories
from simulators.kantata.story_states import StoryStateChanges
from simulators.kantata.submissions import (
    ExpenseReportSubmissions,
    Resolutions,
    TimesheetSubmissions,
)
from simulators.kantata.subscribed_events import SubscribedEvents
from simulators.kantata.templates import ProjectTemplates
from simulators.kantata.time_entries import LineItemLocks, TimeAdjustments, TimeEntries
from simulators.kantata.workspaces import Workspaces

# Ids follow from the place in this list: new ones come last.
_COLLECTIONS: tuple[Collection, ...] = (
    Workspaces(),
    WorkspaceGroups(),
    Stories(),
    BillingMilestones(),
    ExternalReferences(),
    CustomFields(),
    CustomFieldChoices(),
    CustomFieldValues(),
    Users(),
    Participations(),
    Roles(),
    RateCardSets(),
    RateCards(),
    ProjectTemplates(),
    TimeEntries(),
    Expenses(),
    Invoices(),
    FixedFeeItems(),
    AdditionalItems(),
    TimeAdjustments(),
    LineItemLocks(),
    TimesheetSubmissions(),
    ExpenseReportSubmissions(),
    Resolutions(),
    ExpenseCategories(),
    ExternalPayments(),
    RateCardVersions(),
    RateCardRoles(),
    CostRates(),
    SubscribedEvents(),
    StoryStateChanges(),
    Files(),
    Posts(),
)
CATALOG = {collection.name: collection for collection in _COLLECTIONS}

_IDS_PER_TYPE = 10_000_000


def make_id(type_: str, number: int) -> str:
    """Return a numeric id in a range of its own, so that no id of one type fits another."""
    place = list(CATALOG).index(type_) + 1 if type_ in CATALOG else 0
    return str(place * _IDS_PER_TYPE + number)
