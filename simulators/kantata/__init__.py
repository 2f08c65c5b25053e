"""Kantata OX, simulated from its documentation: an independent reading that no adapter shares.

People act through the control origin (`simulators.kit.control.Control`, here `c`, of an account
`a`), under the rules that hold for the API; `acting_user_id` among the fields says who:

- log time: `c.put_record("kantata", a, "time_entries", {"workspace_id", "user_id",
  "date_performed", "time_in_minutes", "story_id"})`; `expenses` and `time_adjustments` likewise;
- edit an entry: `c.patch_record("kantata", a, "time_entries", id, {"time_in_minutes": 90})`; an
  approved one un-approves its timesheet (status `rejected`), if the person may approve at all;
- submit: `c.put_record("kantata", a, "timesheet_submissions", {"workspace_id",
  "line_item_ids": [...]})`; `expense_report_submissions` likewise;
- approve, un-approve: `c.patch_record("kantata", a, "timesheet_submissions", id, {"status":
  "approved"})`, or `rejected`, `cancelled`, with a `description` if wanted;
- invoice by hand: `c.put_record("kantata", a, "invoices", {"workspace_id", "payment_schedule": 30,
  "time_entry_ids": [...], "draft": False})`; cancel it by the status `cancelled`;
- lock a period: `c.put_record("kantata", a, "line_item_locks", {"locked_to": "2026-10-31"})`;
- complete a task: `c.patch_record("kantata", a, "stories", id, {"state": "completed"})`.

A refusal is a `ControlRefused` with the vendor's words. How rows of the feed arrive is said by
`c.emit("kantata", a, {"what": "feed", "duplicate": 1, "shuffle": True, "delay_seconds": 90})`.
"""

from simulators.kantata.vendor import Kantata

VENDOR = Kantata()

__all__ = ["VENDOR", "Kantata"]
