"""Month end: approved milestones to posted invoices, and a bulk release of which one is refused."""

from collections.abc import Sequence

from bench.billing_projects import Project
from bench.invoicing_month import Job, bulk, month_end, seeded
from bench.invoicing_round import Office, Phase, Posted, running_office
from bench.report import Result, at_most, plain
from bench.servers import Servers
from bench.throughput import IN_FLIGHT, SYSTEM
from policies.bundle import load_bundle

MILESTONES, MILESTONES_QUICK = 5_000, 100
BULK, BULK_QUICK = 1_000, 20
"""Drafts of the bulk release of which one has a client PO that is short."""
WARM = 4
MEMORY_MB = 400
ACCOUNT = "invoicing"


async def invoicing(servers: Servers, *, milestones: int, bulk_release: int) -> list[Result]:
    """Invoice a month end, then the bulk release; assert that everything is where it belongs.

    Raises:
        AssertionError: a good milestone is not invoiced once, a bad one is not held with its
            reason, or ERP, subledger and PSA differ.
    """
    policies = load_bundle(None).policies
    month = month_end(milestones)
    many = bulk(len(month), bulk_release)
    first = len(month) + len(many)
    warm = tuple(Job(Project(number), 1) for number in range(first, first + WARM))
    jobs = (*month, *many, *warm)
    print(f"  making {len(jobs)} projects", flush=True)
    async with running_office(
        servers, ACCOUNT, lambda store: seeded(servers, ACCOUNT, jobs, store, policies)
    ) as office:
        await _carried(office, warm)
        found = _month(await _carried(office, month), month)
        found += _bulk(await _carried(office, many), many)
        await office.assert_conserved(jobs)
    return found


class _Carried:
    """What a set of projects took, part by part."""

    def __init__(self, handed: Phase, drafted: Phase, reviewed: Phase, posted: Posted) -> None:
        self.handed, self.drafted, self.reviewed, self.posted = handed, drafted, reviewed, posted

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All parts in their order."""
        return (self.handed, self.drafted, self.reviewed, self.posted.phase)

    def cpu(self, process: str) -> float:
        """Milliseconds of processor time for each invoice, from milestone to posted."""
        return sum(phase.cost(process, self.posted.released) for phase in self.phases)

    @property
    def seconds(self) -> float:
        """From the first milestone to the last invoice."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def peak(self) -> float:
        """Highest resident set of the worker, in MB."""
        return max(phase.peak for phase in self.phases)


async def _carried(office: Office, jobs: Sequence[Job]) -> _Carried:
    """Carry projects from approved milestones to posted invoices."""
    short = sum(1 for job in jobs if job.flaw is not None and job.flaw.drafted)
    count = sum(job.count for job in jobs)
    handed = await office.hand_over(jobs)
    _tell("milestones", count, handed)
    drafted, drafts = await office.assemble()
    assert len(drafts) == short + sum(1 for job in jobs if job.good)
    _tell("drafts made", len(drafts), drafted)
    reviewed = await office.review(drafts)
    _tell("reviewed", len(drafts), reviewed)
    posted = await office.post(drafts, short)
    _tell("posted", posted.released, posted.phase)
    return _Carried(handed, drafted, reviewed, posted)


def _month(made: _Carried, jobs: Sequence[Job]) -> list[Result]:
    posted, count = made.posted, sum(job.count for job in jobs)
    bad = sum(1 for job in jobs if job.flaw is not None)
    text = (
        f"{count} approved milestones of {len(jobs)} projects in one batch, {bad} of them bad: "
        f"{posted.released} invoices of up to 10 lines; {IN_FLIGHT} projects in flight, 4 "
        "currencies, simulators at 0 ms"
    )
    lines = sum(job.good for job in jobs)
    return [
        plain("invoicing: invoices posted", posted.released / made.seconds, "invoices/s", text),
        plain("invoicing: milestones invoiced", lines / made.seconds, "milestones/s", text),
        plain("invoicing: milestones handed over", count / made.handed.seconds, "/s", text),
        *_posting("invoicing", posted, text),
        *(plain(f"invoicing: CPU of {p}", made.cpu(p), "ms/invoice", text) for p in _PROCESSES),
        *(
            plain(f"invoicing: CPU of {p}, milestone", made.handed.cost(p, count), "ms", text)
            for p in _PROCESSES
        ),
        *(
            plain(
                f"invoicing: CPU of {p}, release to posted",
                posted.phase.cost(p, posted.released),
                "ms/invoice",
                text,
            )
            for p in _PROCESSES
        ),
        at_most(MEMORY_MB, "invoicing: worker memory", made.peak, "MB, peak resident set", text),
        plain(
            "invoicing: vendor calls of a milestone",
            made.handed.calls.total() / count,
            "calls/milestone",
            text,
        ),
        plain("invoicing: history events of DraftToInvoice", posted.draft_events, "events", text),
        plain("invoicing: history events of PostInvoice", posted.posting_events, "events", text),
    ]


def _bulk(made: _Carried, jobs: Sequence[Job]) -> list[Result]:
    posted = made.posted
    text = (
        f"{len(jobs)} drafts of one line released in bulk, the client PO of one is short: "
        f"{posted.released} posted; simulators at 0 ms"
    )
    name = "bulk release"
    return [
        plain(f"{name}: posted", posted.released, "drafts", text),
        plain(f"{name}: refused with its reason", posted.refused, "drafts", text),
        *_posting(name, posted, text),
        *(
            plain(f"{name}: CPU of {p}", posted.phase.cost(p, posted.released), "ms/invoice", text)
            for p in _PROCESSES
        ),
        at_most(MEMORY_MB, f"{name}: worker memory", made.peak, "MB, peak resident set", text),
    ]


def _posting(name: str, posted: Posted, text: str) -> list[Result]:
    calls = posted.phase.calls.total() / posted.released
    speed = posted.released / posted.phase.seconds
    return [
        plain(f"{name}: release to posted, invoices", speed, "invoices/s", text),
        plain(f"{name}: release to posted, p50", _part(posted.waits, 0.5), "s", text),
        plain(f"{name}: release to posted, p95", _part(posted.waits, 0.95), "s", text),
        plain(f"{name}: releases asked for again", posted.asked_again, "releases", text),
        plain(f"{name}: vendor calls of an invoice", calls, "calls/invoice", text),
    ]


def _part(rising: Sequence[float], share: float) -> float:
    return rising[min(int(len(rising) * share), len(rising) - 1)]


_PROCESSES = (*SYSTEM, "simulators")


def _tell(what: str, count: int, phase: Phase) -> None:
    spent = ", ".join(f"{process} {phase.cost(process, count):.0f}" for process in phase.cpu)
    calls = ", ".join(f"{vendor} {number / count:.1f}" for vendor, number in phase.calls.items())
    print(
        f"  {count:>5} {what:<12} {count / phase.seconds:6.1f}/s; ms each: {spent}; "
        f"calls each: {calls}; worker peak {phase.peak:.0f} MB",
        flush=True,
    )
