"""What OpportunityToProject does in the ERP: client, legal entities, currencies, projects."""

from dataclasses import dataclass

from activities.attempt import attempt
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner, known, own_id
from adapters.errors import NotFound
from canonical import activities as ref
from canonical.ids import external_id
from canonical.provisioning import (
    AddClientCurrency,
    AddClientEntity,
    ClientMatch,
    ErpClient,
    LinkErpProject,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import Receipt, RecordRef, UndoReceipt, WriteOutcome
from canonical.saga import StepCall, UndoCall
from policies.matching import match_client


@dataclass(frozen=True)
class ErpActivities:
    """The ERP side of the sagas."""

    runner: StepRunner
    ports: Ports

    @implements(ref.MATCH_CLIENT)
    async def match_client(self, call: StepCall[MatchClient]) -> ClientMatch:
        """Find the client among the ERP's customers; reads only.

        Raises `ambiguous_client` with the candidates where a person has to choose.
        """
        request = call.request
        async with attempt(self.runner.store, call):
            erp = self.ports.erp(request.connection)
            ours = external_id(request.client_key)
            adopted = await self._adopted(request.connection, call.adopt)
            found = () if adopted else await erp.search_clients(request, ours)
            return match_client(request, found, external_id=ours, adopted=adopted)

    async def _adopted(self, connection: str, chosen: RecordRef | None) -> ErpClient | None:
        """Return the customer that a person chose, as the ERP has it."""
        if chosen is None:
            return None
        client = await self.ports.erp(connection).get_client(chosen.id)
        if client is None:
            raise NotFound(f"There is no customer {chosen.id} in {connection}.")
        return client

    @implements(ref.PROVISION_CLIENT)
    async def provision_client(self, call: StepCall[ProvisionClient]) -> Receipt:
        """Have the customer: the one found, or a new one. Never changes an existing one.

        Key: the client's own, shared by all its deals. Undo: removes it if this saga created it
        and no other uses it.
        """
        request, erp = call.request, self.ports.erp(call.request.connection)
        ours = external_id(request.client_key)
        adopted = await self._adopted(request.connection, call.adopt)
        return await self.runner.share(
            call,
            request.client_key,
            adopted.record if adopted else request.existing,
            lambda: erp.find_client(ours),
            lambda: erp.provision_client(ours, request),
        )

    @implements(ref.UNDO_PROVISION_CLIENT)
    async def undo_provision_client(self, call: UndoCall[ProvisionClient]) -> UndoReceipt:
        """Remove the customer unless it was there before or another deal uses it."""
        request, erp = call.request, self.ports.erp(call.request.connection)
        ours = external_id(request.client_key)
        return await self.runner.unshare(
            call, request.client_key, lambda record: erp.remove_client(ours, record)
        )

    @implements(ref.ADD_CLIENT_ENTITY)
    async def add_client_entity(self, call: StepCall[AddClientEntity]) -> Receipt:
        """Let a further legal entity sell to the customer.

        Key: client and entity, shared. Undo: closes it again if this saga opened it.
        """
        request, erp = call.request, self.ports.erp(call.request.connection)
        key, client = _entity_key(request), known(request.client)
        return await self.runner.share(
            call,
            key,
            None,
            lambda: erp.find_client_entity(external_id(key), client, request.subsidiary),
            lambda: erp.add_client_entity(external_id(key), client, request.subsidiary),
        )

    @implements(ref.UNDO_ADD_CLIENT_ENTITY)
    async def undo_add_client_entity(self, call: UndoCall[AddClientEntity]) -> UndoReceipt:
        """Close the customer to the entity again unless another deal needs it."""
        key, erp = _entity_key(call.request), self.ports.erp(call.request.connection)
        return await self.runner.unshare(
            call, key, lambda record: erp.remove_client_entity(external_id(key), record)
        )

    @implements(ref.ADD_CLIENT_CURRENCY)
    async def add_client_currency(self, call: StepCall[AddClientCurrency]) -> Receipt:
        """Let the customer be billed in a further currency.

        Key: client and currency, shared. Undo: takes it off again if this saga added it.
        """
        request, erp = call.request, self.ports.erp(call.request.connection)
        client = known(request.client)

        async def find() -> Receipt | None:
            """A currency carries no key of ours: one that is there was there before."""
            if not await erp.has_client_currency(client, request.currency):
                return None
            record = RecordRef(
                system=request.connection, type="client_currency", id=request.currency
            )
            return Receipt(record=record, outcome=WriteOutcome.EXISTING)

        return await self.runner.share(
            call,
            _currency_key(request),
            None,
            find,
            lambda: erp.add_client_currency(client, request.currency),
        )

    @implements(ref.UNDO_ADD_CLIENT_CURRENCY)
    async def undo_add_client_currency(self, call: UndoCall[AddClientCurrency]) -> UndoReceipt:
        """Take the currency off the customer again unless another deal needs it."""
        request, erp = call.request, self.ports.erp(call.request.connection)
        return await self.runner.unshare(
            call,
            _currency_key(request),
            lambda _record: erp.remove_client_currency(known(request.client), request.currency),
        )

    @implements(ref.PROVISION_ERP_PROJECT)
    async def provision_erp_project(self, call: StepCall[ProvisionErpProject]) -> Receipt:
        """Create the project of one legal entity with its dimensions.

        Key: the step and the entity. Undo: deletes it, or closes it where something is booked.
        """
        erp, ours = self.ports.erp(call.request.connection), own_id(call)
        return await self.runner.create(
            call,
            lambda: erp.find_project(ours),
            lambda: erp.provision_project(ours, call.request),
        )

    @implements(ref.UNDO_PROVISION_ERP_PROJECT)
    async def undo_provision_erp_project(self, call: UndoCall[ProvisionErpProject]) -> UndoReceipt:
        """Delete the project, or close it where something is booked on it."""
        erp, ours = self.ports.erp(call.request.connection), own_id(call)
        return await self.runner.undo_create(call, lambda record: erp.remove_project(ours, record))

    @implements(ref.LINK_ERP_PROJECT)
    async def link_erp_project(self, call: StepCall[LinkErpProject]) -> Receipt:
        """Note the PSA project on the ERP project. Key: the step and the entity."""
        erp, project = self.ports.erp(call.request.connection), known(call.request.project)
        return await self.runner.update(
            call,
            known(call.request.psa_project).id,
            lambda: erp.read_psa_link(project),
            lambda value: erp.write_psa_link(project, value),
        )

    @implements(ref.UNDO_LINK_ERP_PROJECT)
    async def undo_link_erp_project(self, call: UndoCall[LinkErpProject]) -> UndoReceipt:
        """Take the note off again."""
        erp, project = self.ports.erp(call.request.connection), known(call.request.project)
        return await self.runner.undo_update(
            call,
            known(call.request.psa_project).id,
            lambda: erp.read_psa_link(project),
            lambda value: erp.write_psa_link(project, value),
        )


def _entity_key(request: AddClientEntity) -> str:
    return f"{request.client_key}:entity:{request.subsidiary}"


def _currency_key(request: AddClientCurrency) -> str:
    return f"{request.client_key}:currency:{request.currency}"
