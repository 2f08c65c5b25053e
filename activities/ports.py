"""The connected systems of this worker, by connection name."""

from dataclasses import dataclass, field
from typing import TypeVar, cast

from adapters.errors import Unsupported
from adapters.invoicing import BillingEngine, Invoicing, Ledger
from adapters.ports import Connected, Crm, Erp, Extracts, Hcm
from adapters.psa_port import Psa

P = TypeVar("P")


@dataclass
class Ports:
    """What the composition root connected; asking for anything else is a clear refusal."""

    crms: dict[str, Crm] = field(default_factory=dict)
    erps: dict[str, Ledger] = field(default_factory=dict)
    psas: dict[str, Psa] = field(default_factory=dict)
    hcms: dict[str, Hcm] = field(default_factory=dict)
    billing_engines: dict[str, BillingEngine] = field(default_factory=dict)

    def crm(self, connection: str) -> Crm:
        """Return the CRM of this name."""
        return _named(self.crms, connection, "CRM")

    def erp(self, connection: str) -> Erp:
        """Return the ERP of this name."""
        return _named(self.erps, connection, "ERP")

    def psa(self, connection: str) -> Psa:
        """Return the PSA of this name."""
        return _named(self.psas, connection, "PSA")

    def hcm(self, connection: str) -> Hcm:
        """Return the HCM of this name."""
        return _named(self.hcms, connection, "HCM")

    def billing_engine(self, connection: str) -> BillingEngine:
        """Return the billing engine of this name."""
        return _named(self.billing_engines, connection, "billing engine")

    def issuer(self, connection: str) -> Invoicing:
        """Return the system of this name that issues invoices: an ERP or a billing engine."""
        issuers: dict[str, Invoicing] = {**self.erps, **self.billing_engines}
        return _named(issuers, connection, "ERP or billing engine")

    def lines_max(self, connection: str) -> int | None:
        """Return how many lines an invoice of this system may have; None: as many as a draft.

        A connection that is not there issues nothing: its postings say so.
        """
        try:
            return self.issuer(connection).invoicing.lines_max
        except Unsupported:
            return None

    def extracts(self, connection: str) -> Extracts:
        """Return the system of this name that can be listed.

        Raises:
            Unsupported: there is none, or its adapter lists nothing.
        """
        lists = {name: each for name, each in self.all().items() if hasattr(each, "extract")}
        return cast(Extracts, _named(lists, connection, "listable"))

    def all(self) -> dict[str, Connected]:
        """Return every connected system by name."""
        return {**self.crms, **self.erps, **self.psas, **self.hcms, **self.billing_engines}

    async def aclose(self) -> None:
        """Close all HTTP clients."""
        for port in self.all().values():
            await port.aclose()


def _named(known: dict[str, P], connection: str, role: str) -> P:
    if connection not in known:
        raise Unsupported(
            f"There is no {role} connection {connection!r} here; add it to dealthread.toml.",
            vendor=role,
            operation="look up the connection",
        )
    return known[connection]
