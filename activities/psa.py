"""What OpportunityToProject does in the PSA: client, project, tasks, milestones, opening."""

from dataclasses import dataclass

from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner, known, own_id
from canonical import activities as ref
from canonical.ids import external_id
from canonical.provisioning import (
    LinkPsaProject,
    OpenForTime,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import Receipt, UndoReceipt
from canonical.saga import StepCall, UndoCall

OPEN, CLOSED = "open", "closed"


@dataclass(frozen=True)
class PsaActivities:
    """The PSA side of the sagas."""

    runner: StepRunner
    ports: Ports

    @implements(ref.PROVISION_PSA_CLIENT)
    async def provision_psa_client(self, call: StepCall[ProvisionPsaClient]) -> Receipt:
        """Have the client. Key: the client's own, shared. Undo: as for the ERP's."""
        request, psa = call.request, self.ports.psa(call.request.connection)
        ours = external_id(request.client_key)
        return await self.runner.share(
            call,
            request.client_key,
            None,
            lambda: psa.find_client(ours),
            lambda: psa.provision_client(ours, request),
        )

    @implements(ref.UNDO_PROVISION_PSA_CLIENT)
    async def undo_provision_psa_client(self, call: UndoCall[ProvisionPsaClient]) -> UndoReceipt:
        """Remove the client unless another deal uses it."""
        request, psa = call.request, self.ports.psa(call.request.connection)
        ours = external_id(request.client_key)
        return await self.runner.unshare(
            call, request.client_key, lambda record: psa.remove_client(ours, record)
        )

    @implements(ref.PROVISION_PSA_PROJECT)
    async def provision_psa_project(self, call: StepCall[ProvisionPsaProject]) -> Receipt:
        """Create the project from its template, closed for time.

        Key: the step. Undo: deletes it; refused once time, expenses or invoices are on it.
        """
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        return await self.runner.create(
            call,
            lambda: psa.find_project(ours),
            lambda: psa.provision_project(ours, call.request),
        )

    @implements(ref.UNDO_PROVISION_PSA_PROJECT)
    async def undo_provision_psa_project(self, call: UndoCall[ProvisionPsaProject]) -> UndoReceipt:
        """Delete the project."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        return await self.runner.undo_create(call, lambda record: psa.remove_project(ours, record))

    @implements(ref.PROVISION_TASKS)
    async def provision_tasks(self, call: StepCall[ProvisionTasks]) -> Receipt:
        """Create the task list in one call. Key: the step. Undo: deletes it."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        project = known(call.request.project)
        return await self.runner.create(
            call,
            lambda: psa.find_tasks(ours, project),
            lambda: psa.provision_tasks(ours, call.request),
        )

    @implements(ref.UNDO_PROVISION_TASKS)
    async def undo_provision_tasks(self, call: UndoCall[ProvisionTasks]) -> UndoReceipt:
        """Delete the task list."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        return await self.runner.undo_create(call, lambda record: psa.remove_tasks(ours, record))

    @implements(ref.PROVISION_MILESTONES)
    async def provision_milestones(self, call: StepCall[ProvisionMilestones]) -> Receipt:
        """Create all billing milestones in one bulk call. Key: the step. Undo: deletes them."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        project = known(call.request.project)
        return await self.runner.create(
            call,
            lambda: psa.find_milestones(ours, project),
            lambda: psa.provision_milestones(ours, call.request),
        )

    @implements(ref.UNDO_PROVISION_MILESTONES)
    async def undo_provision_milestones(self, call: UndoCall[ProvisionMilestones]) -> UndoReceipt:
        """Delete the billing milestones."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        return await self.runner.undo_create(
            call, lambda _record: psa.remove_milestones(ours, call.request.project)
        )

    @implements(ref.LINK_PSA_PROJECT)
    async def link_psa_project(self, call: StepCall[LinkPsaProject]) -> Receipt:
        """Note the ERP projects on the PSA project. Key: the step."""
        psa, project = self.ports.psa(call.request.connection), known(call.request.project)
        return await self.runner.update(
            call,
            _ids(call.request),
            lambda: psa.read_erp_link(project),
            lambda value: psa.write_erp_link(project, value),
        )

    @implements(ref.UNDO_LINK_PSA_PROJECT)
    async def undo_link_psa_project(self, call: UndoCall[LinkPsaProject]) -> UndoReceipt:
        """Take the note off again."""
        psa, project = self.ports.psa(call.request.connection), known(call.request.project)
        return await self.runner.undo_update(
            call,
            _ids(call.request),
            lambda: psa.read_erp_link(project),
            lambda value: psa.write_erp_link(project, value),
        )

    @implements(ref.OPEN_FOR_TIME)
    async def open_for_time(self, call: StepCall[OpenForTime]) -> Receipt:
        """Open the project for time: the pivot. Key: the step. No undo: people log at once."""
        psa, project = self.ports.psa(call.request.connection), known(call.request.project)

        async def read() -> str:
            return OPEN if await psa.is_open_for_time(project) else CLOSED

        return await self.runner.update(call, OPEN, read, lambda _value: psa.open_for_time(project))


def _ids(request: LinkPsaProject) -> str:
    return ";".join(f"{project.system}:{project.id}" for project in request.erp_projects)
