"""The table of key figures: what each is called, counts in and means; `docs/kpis.md` agrees."""

from types import MappingProxyType
from typing import Final

from canonical.kpis import Kpi, KpiUnit
from store import kpi_facts as facts

_TABLE: Final = (
    Kpi(
        "time_to_project",
        "Time to project",
        KpiUnit.HOURS,
        "From when a deal's saga first began to when its project was open for time, of the deals "
        "that completed; dated by the completion.",
        facts.TIME_TO_PROJECT,
    ),
    Kpi(
        "failed_provisioning",
        "Failed provisioning",
        KpiUnit.COUNT,
        "Deals whose last try ended rolled back or abandoned, dated by its end, and deals that "
        "wait for a person at a step or an undo, dated now.",
        facts.FAILED_PROVISIONING,
    ),
    Kpi(
        "days_to_bill",
        "Days to bill",
        KpiUnit.DAYS,
        "From the approval of an entry, or the reservation of a fee, to its first invoice as "
        "issued; dated by the issue.",
        facts.DAYS_TO_BILL,
    ),
    Kpi(
        "unbilled_approved_time",
        "Unbilled approved time",
        KpiUnit.MONEY,
        "Approved, placed time that is to be billed and on no invoice yet, net of write-downs; "
        "dated by the approval.",
        facts.UNBILLED_APPROVED_TIME,
        stands=True,
    ),
    Kpi(
        "unpriced_time",
        "Approved time without a price",
        KpiUnit.HOURS_WORKED,
        "Approved billable time that no billing run has placed yet, with each legal entity of its "
        "contract; dated by the approval.",
        facts.UNPRICED_TIME,
        stands=True,
    ),
    Kpi(
        "unbilled_labor_percent",
        "Unbilled labor",
        KpiUnit.PERCENT,
        "Of the time to be billed that was approved in these days, net of write-downs and credits, "
        "the share that is on no invoice yet.",
        facts.UNBILLED_LABOR_PERCENT,
    ),
    Kpi(
        "invoice_ready_backlog",
        "Invoice-ready backlog",
        KpiUnit.MONEY,
        "Net of the drafts in the billing queue; dated by their last change.",
        facts.INVOICE_READY_BACKLOG,
        stands=True,
    ),
    Kpi(
        "transmission_backlog",
        "Transmission backlog",
        KpiUnit.MONEY,
        "Gross of issued, unpaid invoices that did not go to the client, or came back; dated by "
        "the issue.",
        facts.TRANSMISSION_BACKLOG,
        stands=True,
    ),
    Kpi(
        "invoice_exceptions",
        "Invoice exceptions",
        KpiUnit.COUNT,
        "Open work items of drafts, postings, issued invoices and credits; dated by their opening.",
        facts.INVOICE_EXCEPTIONS,
        stands=True,
    ),
    Kpi(
        "disputes",
        "Disputes",
        KpiUnit.MONEY,
        "What remains to be paid of disputed invoices; dated by the dispute.",
        facts.DISPUTES,
        stands=True,
    ),
    Kpi(
        "dso",
        "Days sales outstanding",
        KpiUnit.DAYS_OF_SALES,
        "What remains to be paid of all invoices, over the gross invoiced in the last 90 days net "
        "of its credit notes, times 90.",
        facts.DSO,
        stands=True,
        dated=False,
    ),
    Kpi(
        "reconciliation_variance",
        "Reconciliation variance",
        KpiUnit.MONEY,
        "The amounts of open findings, each without its sign, timing gaps left out; dated by when "
        "the finding was first seen.",
        facts.RECONCILIATION_VARIANCE,
        stands=True,
    ),
    Kpi(
        "customer_master_exceptions",
        "Customer-master exceptions",
        KpiUnit.COUNT,
        "Open work items of the steps that match, create or extend a client, and open findings of "
        "clients that are missing, merged or inactive.",
        facts.CUSTOMER_MASTER_EXCEPTIONS,
        stands=True,
    ),
    Kpi(
        "master_mismatch_rate",
        "Master mismatch rate",
        KpiUnit.PERCENT,
        "Of the client and project records that contracts and deals name, the share with an open "
        "finding: missing, merged, inactive, doubled, or without its counterpart's id.",
        facts.MASTER_MISMATCH_RATE,
        stands=True,
        dated=False,
    ),
    Kpi(
        "intercompany_posting_errors",
        "Intercompany posting errors",
        KpiUnit.COUNT,
        "Costs of people whose work another legal entity bills, in billing runs that wait for a "
        "person at the posting of cost; dated by the oldest work item.",
        facts.INTERCOMPANY_POSTING_ERRORS,
        stands=True,
    ),
    Kpi(
        "integration_failure_rate",
        "Integration failure rate",
        KpiUnit.PERCENT,
        "Of the attempts to write to a connected system, the share that was refused or not "
        "answered and not found done since; dated by the attempt.",
        facts.INTEGRATION_FAILURE_RATE,
        flows=True,
    ),
    Kpi(
        "replays",
        "Replays",
        KpiUnit.COUNT,
        "How often a person had something tried again: a dead letter, dated by its arrival, or a "
        "parked step, dated by the decision.",
        facts.REPLAYS,
        flows=True,
    ),
    Kpi(
        "sync_latency",
        "Sync latency",
        KpiUnit.SECONDS,
        "From an event's arrival to its delivery to a saga, dated by the arrival, and from a "
        "change of an invoice to when a system was told of it, dated by the telling.",
        facts.SYNC_LATENCY,
        flows=True,
    ),
)

KPIS: Final = MappingProxyType({kpi.name: kpi for kpi in _TABLE})
"""By name, in the order in which they are shown."""
