"""Master data in force on a day: people, exchange rates, versions of an engagement."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Generic, TypeVar

from canonical.engagement import ContractLine, Engagement
from canonical.entries import Entry, HoldReason
from canonical.people import Worker
from canonical.rating import ExchangeRate

K = TypeVar("K")
V = TypeVar("V")


class Held(Exception):
    """An entry cannot be rated until somebody mends what it says."""

    def __init__(self, reason: HoldReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class InForce(Generic[K, V]):
    """Versions by key, each in force from its day until the next one's; of one day, the last."""

    def __init__(self, versions: Iterable[tuple[K, date, V]]) -> None:
        by_key: dict[K, dict[date, V]] = defaultdict(dict)
        for key, since, version in versions:
            by_key[key][since] = version
        self._versions = {
            key: (sorted(days), [days[day] for day in sorted(days)]) for key, days in by_key.items()
        }

    def on(self, key: K, day: date) -> V | None:
        """Return the version in force on `day`; None before the first."""
        days, versions = self._versions.get(key, ([], []))
        place = bisect_right(days, day)
        return versions[place - 1] if place else None

    def knows(self, key: K) -> bool:
        """Whether there is any version."""
        return key in self._versions


class People:
    """Workers by e-mail, as the HCM keeps them."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._workers = InForce((each.email.lower(), each.valid_from, each) for each in workers)

    def of(self, entry: Entry) -> Worker:
        """Return who did the work, as they were employed on the service date.

        Raises:
            Held: nobody of that address was employed then.
        """
        email = entry.person_email.lower()
        if email and (worker := self._workers.on(email, entry.service_date)) is not None:
            return worker
        who = email or f"user {entry.person_id} without an e-mail"
        when = f" on {entry.service_date}" if self._workers.knows(email) else ""
        text = f"the HCM knows nobody with the address {who}{when}: HR or the PSA's admin adds it"
        raise Held(HoldReason.UNKNOWN_PERSON, text)


class Exchange:
    """Exchange rates as they were published; only direct ones: no inverse, no triangle."""

    def __init__(self, rates: Iterable[ExchangeRate]) -> None:
        self._rates = InForce(
            ((each.from_currency, each.to_currency), each.valid_from, each) for each in rates
        )

    def find(self, from_currency: str, to_currency: str, on: date) -> ExchangeRate | None:
        """Return the rate of a day, or None where there is none."""
        return self._rates.on((from_currency, to_currency), on)

    def rate(self, from_currency: str, to_currency: str, on: date) -> ExchangeRate | None:
        """Return the rate of a day; None where nothing is to be converted.

        Raises:
            Held: there is no such rate.
        """
        if from_currency == to_currency:
            return None
        found = self.find(from_currency, to_currency, on)
        if found is None:
            text = f"the ERP has no exchange rate {from_currency} to {to_currency} for {on}"
            raise Held(HoldReason.NO_EXCHANGE_RATE, f"{text}: finance enters it there")
        return found


class Contracts:
    """Engagements by PSA project, with the line that each piece of work belongs to."""

    def __init__(self, engagements: Iterable[Engagement]) -> None:
        self._engagements = InForce(
            ((each.psa, each.project_id), each.effective_from, _Version(each))
            for each in engagements
        )

    def line(self, entry: Entry) -> ContractLine:
        """Return the contract line in force on the service date.

        Raises:
            Held: there is no contract then, or no line for the task.
        """
        on = entry.service_date
        version = self._engagements.on((entry.source, entry.project_id), on)
        if version is None:
            text = f"project {entry.project_id} has no contract in force on {on}"
            raise Held(HoldReason.NO_CONTRACT_LINE, f"{text}: the engagement's owner adds it")
        line = version.lines.get(entry.task_id, version.default)
        if line is None:
            text = f"no contract line names task {entry.task_id or '(none)'}, and none is default"
            raise Held(HoldReason.NO_CONTRACT_LINE, f"{text}: the engagement's owner assigns it")
        return line


class _Version:
    """A version of an engagement, by task."""

    def __init__(self, engagement: Engagement) -> None:
        self.lines = {task: line for line in engagement.lines for task in line.task_ids}
        by_ref = {line.ref: line for line in engagement.lines}
        self.default = by_ref.get(engagement.default_line)
