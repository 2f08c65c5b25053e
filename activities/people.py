"""What BillingRun reads in the HCM: the people of its entries."""

from dataclasses import dataclass

from activities.attempt import attempt
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner
from canonical import activities as ref
from canonical.saga import StepCall
from canonical.time_to_billing import Counted, ReadPeople


@dataclass(frozen=True)
class HcmActivities:
    """The HCM side of the sagas; it is only read."""

    runner: StepRunner
    ports: Ports

    @implements(ref.READ_PEOPLE)
    async def read_people(self, call: StepCall[ReadPeople]) -> Counted:
        """Read every version of the run's people in force on its service dates into the store.

        Key: none needed, the last reading stands. A person whom the HCM does not know is no
        failure: rating holds that person's entries.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            wanted = await store.runs.wanted_people(request.run)
            if not wanted.emails:
                return Counted()
            hcm = self.ports.hcm(request.connection)
            workers = await hcm.read_workers(wanted.emails, wanted.since, wanted.until)
            await store.master.put_workers(request.connection, workers)
            return Counted(count=len(workers))
