"""What Dealthread keeps in PostgreSQL: sagas, step ledger, mappings, decisions, audit trail.

Imports `canonical` only. Each public method of a repository is one transaction; errors are those
of `store.errors`.
"""

from pydantic import SecretStr

from store.audit import AuditTrail
from store.budgets import ConnectionBudgets
from store.database import Database
from store.decisions import DecisionStore
from store.ledger import StepLedger
from store.outbox import Outbox
from store.sagas import SagaStore
from store.shared import SharedRecords
from store.work_items import WorkItemStore


class Store:
    """All repositories on one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sagas = SagaStore(database)
        self.ledger = StepLedger(database)
        self.shared = SharedRecords(database)
        self.work_items = WorkItemStore(database)
        self.decisions = DecisionStore(database)
        self.audit = AuditTrail(database)
        self.budgets = ConnectionBudgets(database)
        self.outbox = Outbox(database)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.database.aclose()


def make_store(url: SecretStr, pool_size: int = 5) -> Store:
    """Return a store on the database at `url`; it connects when first used."""
    return Store(Database(url, pool_size))
