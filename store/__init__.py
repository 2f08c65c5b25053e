"""What Dealthread keeps in PostgreSQL: sagas, step ledger, mappings, decisions, audit trail.

Imports `canonical` only. Each public method of a repository is one transaction; errors are those
of `store.errors`.
"""

from pydantic import SecretStr

# Registers their tables: the metadata is whole wherever any of it is used.
from store import (  # noqa: F401
    alert_models,
    backfills,
    invoice_models,
    invoicing_models,
    period_models,
    reconciling_models,
    subledger_balances,
    subledger_models,
    thread_indexes,
    work_models,
)
from store.alert_measures import AlertMeasures
from store.alerts import AlertStore
from store.audit import AuditTrail
from store.backfill_known import BackfillKnown
from store.backfills import BackfillStore
from store.budgets import ConnectionBudgets
from store.changes import ChangedEntries
from store.client_holds import ClientHolds
from store.client_pos import ClientPoStore
from store.closing import Closing
from store.conserving import Conserving
from store.corrections import Corrections
from store.credits import CreditStore
from store.database import Database
from store.decisions import DecisionStore
from store.draft_sources import DraftSources
from store.drafts import DraftStore
from store.engagements import EngagementStore
from store.entries import EntryStore
from store.evidence import Cipher
from store.fees import FeeStore
from store.finances import Finances
from store.inbox import Inbox, PollMarks
from store.invoices import InvoiceStore
from store.kpis import KpiStore
from store.ledger import StepLedger
from store.master import MasterData
from store.outbox import Outbox
from store.periods import PostingPeriods
from store.reconciliation import ReconciliationStore
from store.reconciling_staging import Staging
from store.runs import RunStore
from store.sagas import SagaStore
from store.schedule_facts import ScheduleFacts
from store.shared import SharedRecords
from store.subledger import Subledger
from store.thread_ids import ThreadIds
from store.threads import Threads
from store.watching import WatchStore
from store.work_items import WorkItemStore
from store.worklist import WorklistStore


class Store:
    """All repositories on one database."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self.database = database
        self.sagas = SagaStore(database)
        self.ledger = StepLedger(database)
        self.shared = SharedRecords(database)
        self.work_items = WorkItemStore(database)
        self.worklist = WorklistStore(database)
        self.watching = WatchStore(database)
        self.decisions = DecisionStore(database)
        self.audit = AuditTrail(database)
        self.budgets = ConnectionBudgets(database)
        self.outbox = Outbox(database)
        self.alerts = AlertStore(database)
        self.alert_measures = AlertMeasures(database)
        self.periods = PostingPeriods(database)
        self.inbox = Inbox(database, cipher)
        self.poll_marks = PollMarks(database)
        self.engagements = EngagementStore(database)
        self.master = MasterData(database)
        self.changes = ChangedEntries(database)
        self.entries = EntryStore(database, cipher)
        self.runs = RunStore(database, cipher)
        self.subledger = Subledger(database, cipher)
        self.corrections = Corrections(database, cipher)
        self.fees = FeeStore(database)
        self.drafts = DraftStore(database, cipher)
        self.client_pos = ClientPoStore(database)
        self.client_holds = ClientHolds(database)
        self.invoices = InvoiceStore(database, cipher)
        self.credits = CreditStore(database)
        self.finances = Finances(database, cipher)
        self.draft_sources = DraftSources(database)
        self.schedule_facts = ScheduleFacts(database)
        self.reconciliation = ReconciliationStore(database)
        self.staging = Staging(database)
        self.conserving = Conserving(database)
        self.kpis = KpiStore(database)
        self.closing = Closing(database)
        self.thread_ids = ThreadIds(database)
        self.threads = Threads(database, cipher)
        self.backfills = BackfillStore(database)
        self.backfill_known = BackfillKnown(database)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.database.aclose()


def make_store(url: SecretStr, pool_size: int = 5, cipher: Cipher | None = None) -> Store:
    """Return a store on the database at `url`; it connects when first used.

    With a cipher, evidence is encrypted before it is stored.
    """
    return Store(Database(url, pool_size), cipher)
