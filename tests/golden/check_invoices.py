"""Cross-foots the golden month's invoices: standard library and a YAML reader, nothing of ours.

It works every formula anew with exact fractions, derives lines from the entries of `month.csv`,
quantities and tax by their rules, and adds everything up: lines to drafts, drafts to invoices,
credits to caps, client POs and the month's end. Tax rates are read from the bundle's YAML.
Run `python -m tests.golden.check_invoices`; it prints what does not agree and ends with status 1.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML

from tests.golden.check import rounded, worked_out

HERE = Path(__file__).parent
BUNDLE = HERE.parents[1] / "policies" / "bundles" / "default" / "invoicing.yaml"
EIGHT = 10**8
MINUTE = Fraction(1, 60)

Row: TypeAlias = Mapping[str, str]


def problems(folder: Path = HERE) -> list[str]:
    """Return everything in the folder that does not agree, one sentence each."""
    return list(_Invoices(folder).problems())


def quantity(minutes: int, rate: Fraction, net: Fraction, currency: str) -> Fraction | None:
    """Return hours with at most 8 decimals that make the net; None where none within a minute do.

    First the minutes as hours; where they make another amount, the net over the rate.
    """
    hours = Fraction(minutes, 60)
    for exact in (hours, net / rate):
        tried = Fraction((abs(exact) * EIGHT * 2 + 1) // 2, EIGHT) * (1 if exact >= 0 else -1)
        if abs(tried - hours) <= MINUTE and rounded(tried * rate, currency) == net:
            return tried
    return None


class _Invoices:
    """The files, and one check after the other."""

    def __init__(self, folder: Path) -> None:
        self.entries = {row["entry"]: row for row in _table(folder / "month.csv")}
        own = folder / "invoices"
        self.lines = _table(own / "lines.csv")
        self.drafts = {row["draft"]: row for row in _table(own / "drafts.csv")}
        self.acts = _table(own / "acts.csv")
        self.credits = _table(own / "credits.csv")
        self.pos = _table(own / "client_pos.csv")
        self.caps = _table(own / "caps.csv")
        self.contract_lines = _table(own / "contract_lines.csv")
        self.month_end = _table(own / "month_end.csv")
        self.terms = _yaml(own / "terms.yaml")
        self.tax = {
            entity: each["expected_tax"] for entity, each in _yaml(BUNDLE)["entities"].items()
        }

    def problems(self) -> Iterator[str]:
        yield from self._workings()
        for row in self.lines:
            for problem in (*self._line(row), *self._released(row)):
                yield f"{row['draft']} {row['line']}: {problem}"
        yield from self._billed_once()
        for row in self.drafts.values():
            for problem in (*self._draft(row), *self._invoice(row)):
                yield f"{row['draft']}: {problem}"
        yield from self._credits()
        yield from self._pos()
        yield from self._caps()
        yield from self._contract_lines()
        for row in self.month_end:
            yield from (f"{row['client']}: {problem}" for problem in self._month_end(row))

    # Formulas.

    def _workings(self) -> Iterator[str]:
        """Work out `figure: formula = result`, and find the result in its column."""
        tables = {
            "lines": self.lines,
            "client_pos": self.pos,
            "caps": self.caps,
            "contract_lines": self.contract_lines,
            "month_end": self.month_end,
        }
        for name, rows in tables.items():
            for number, row in enumerate(rows, 2):
                for problem in _formulas(row, self._currency(row)):
                    yield f"{name}.csv, line {number}: {problem}"

    def _currency(self, row: Row) -> str:
        if "currency" in row:
            return row["currency"]
        if "draft" in row:
            return self.drafts[row["draft"]]["currency"]
        if "po" in row:
            return str(self._po(row["po"])["amount"]["currency"])
        of = (each for each in self.drafts.values() if each["engagement"] == row["engagement"])
        return next(of)["currency"]

    # Lines.

    def _line(self, row: Row) -> Iterator[str]:
        currency = self._currency(row)
        bills = row["bills"].split(";")
        if row["kind"] != "fee":
            yield from self._of_entries(row, [self.entries[name] for name in bills])
        worth = Fraction(row["quantity"]) * Fraction(row["unit_price"])
        if rounded(worth, currency) != Decimal(row["net"]):
            yield f"{row['quantity']} x {row['unit_price']} is not {row['net']}"
        category = self.terms["lines"][row["contract_line"]].get("tax_category", "")
        entity = self.drafts[row["draft"]]["entity"]
        percent = self.tax[entity].get(category)
        if row["tax_percent"] != ("" if percent is None else str(percent)):
            yield f"tax is {percent} percent of {category or 'no category'}"
        yield from self._taxed(row, "net", "tax")

    def _taxed(self, row: Row, net: str, tax: str) -> Iterator[str]:
        if not row["tax_percent"] or not row[net]:
            if row[tax]:
                yield f"no {tax} is expected"
            return
        exact = Fraction(row[net]) * Fraction(row["tax_percent"]) / 100
        wanted = rounded(exact, self._currency(row))
        if not row[tax] or wanted != Decimal(row[tax]):
            yield f"{tax} is {row[tax]}, {row['tax_percent']} percent of {row[net]} are {wanted}"

    def _of_entries(self, row: Row, entries: list[Row]) -> Iterator[str]:
        parts = [part for entry in entries for part in _to_bill(entry)]
        again = self.drafts[row["draft"]]["cycle"] != "1"
        down = self._written_down(row) if again else Fraction(0)
        net = sum((amount for amount, _ in parts), Fraction(0)) - down
        if net != Fraction(row["net"]):
            yield f"its entries come to {float(net)}"
        if {entry["line"] for entry in entries} != {row["contract_line"]}:
            yield "its entries are of another contract line"
        project = self.drafts[row["draft"]]["project"]
        if {entry["project"] for entry in entries} != {project}:
            yield f"its entries are not of project {project}"
        days = sorted(entry["service_date"] for entry in entries)
        if (days[0], days[-1]) != (row["from"], row["to"]):
            yield f"its entries are of {days[0]} to {days[-1]}"
        yield from self._told(row, entries)
        if entries[0]["kind"] != "expense" and entries[0]["rate"]:
            minutes = sum(minutes for _, minutes in parts)
            # Of what was written down, minutes follow the amount, to the nearest.
            left = int(minutes * net / (net + down) + Fraction(1, 2)) if down else minutes
            yield from self._hours(row, entries, left, net)

    def _hours(self, row: Row, entries: list[Row], minutes: int, net: Fraction) -> Iterator[str]:
        rates = {Fraction(each["rate"]) * Fraction(each["multiplier"]) for each in entries}
        if len(rates) != 1 or len({(each["person"], each["role"]) for each in entries}) != 1:
            yield "it puts people, roles or rates together"
            return
        (rate,) = rates
        if rate != Fraction(row["unit_price"]):
            yield f"the rate is {float(rate)}"
        hours = quantity(minutes, rate, net, self._currency(row))
        if hours != Fraction(row["quantity"]):
            yield f"{minutes} minutes make {None if hours is None else float(hours)} hours"

    def _told(self, row: Row, entries: list[Row]) -> Iterator[str]:
        first = entries[0]
        note = " ".join(self.terms["notes"].get(first["entry"], "").split())
        who = " as ".join(filter(None, (first["person"].split("@")[0], first["role"])))
        wanted = note if note and len(entries) == 1 else f"{who}, {row['from']} to {row['to']}"
        if row["narrative"] != wanted:
            yield f"it should say {wanted!r}"

    def _written_down(self, row: Row) -> Fraction:
        """Return what people took off the first billing of these entries."""
        first = (each for each in self.lines if each["bills"] == row["bills"])
        return Fraction(next(first)["net"]) - Fraction(row["net"])

    def _released(self, row: Row) -> Iterator[str]:
        mine = (row["draft"], row["line"])
        acts = [a for a in self.acts if (a["draft"], a["line"]) == mine and a["answer"] == "taken"]
        down = sum((Fraction(act["amount"]) for act in acts if act["amount"]), Fraction(0))
        left = Fraction(row["net"]) - down
        held = any(act["act"] == "hold" for act in acts)
        state = "held" if held else "in" if left else "written_off"
        if row["state"] != state:
            yield f"it is {row['state']}, the acts leave it {state}"
        if state != "in":
            if row["released_net"] or row["released_tax"] or row["erp_tax"]:
                yield "it is on no invoice"
            return
        if left != Fraction(row["released_net"] or 0):
            yield f"the acts leave {float(left)}"
        yield from self._taxed(row, "released_net", "released_tax")

    def _billed_once(self) -> Iterator[str]:
        """Every amount to bill is on one line of each billing cycle, and on no other."""
        seen: dict[tuple[str, str, str], str] = {}
        for row in self.lines:
            of = self.drafts[row["draft"]]
            for name in row["bills"].split(";"):
                key = (of["engagement"], name, of["cycle"])
                if key in seen:
                    yield f"{name} is billed by {seen[key]} and by {row['draft']}"
                seen[key] = row["draft"]
        billed = {name for _, name, cycle in seen if cycle == "1"}
        for name, entry in self.entries.items():
            if _to_bill(entry) and not entry["hold"] and name not in billed:
                yield f"{name} is billed by no line"

    # Drafts and invoices.

    def _draft(self, row: Row) -> Iterator[str]:
        mine = [line for line in self.lines if line["draft"] == row["draft"]]
        out = [line for line in mine if line["state"] == "in"]
        for what, lines in (("", mine), ("released_", out)):
            if len(lines) != int(row[f"{what}lines"]):
                yield f"it has {len(lines)} {what}lines"
            for column in ("net", "tax"):
                total = _sum(line[f"{what}{column}"] for line in lines)
                if total != Decimal(row[f"{what}{column}"]):
                    yield f"{what}{column} is {row[f'{what}{column}']}, its lines come to {total}"
            gross = Decimal(row[f"{what}net"]) + Decimal(row[f"{what}tax"])
            if gross != Decimal(row[f"{what}gross"]):
                yield f"{what}gross is {row[f'{what}gross']}, net and tax are {gross}"
        pos = {self.terms["lines"][line["contract_line"]].get("client_po", "") for line in mine}
        if pos != {row["client_po"]}:
            yield f"its lines are of client PO {pos}"

    def _invoice(self, row: Row) -> Iterator[str]:
        out = [each for each in self.lines if each["draft"] == row["draft"]]
        if _sum(line["erp_tax"] for line in out) != Decimal(row["erp_tax"]):
            yield "the ERP's tax is not that of its lines"
        if row["erp_net"] != row["released_net"]:
            yield "the ERP issued another net than was released"
        gross = Decimal(row["erp_net"]) + Decimal(row["erp_tax"])
        if gross != Decimal(row["erp_gross"]):
            yield f"the ERP's gross is {row['erp_gross']}, net and tax are {gross}"
        paid = self._paid(row["draft"])
        credited = sum(self._notes(row["draft"]).values(), Decimal(0))
        if gross - paid - credited != Decimal(row["remaining"]):
            yield f"remaining is {row['remaining']}: {gross} - {paid} - {credited}"
        by = "several" if paid and credited else "cash" if paid else "credit" if credited else ""
        if by != row["settled_by"]:
            yield f"it is settled by {by or 'nothing'}"
        left, touched = Decimal(row["remaining"]), bool(paid or credited)
        done = "credited" if by == "credit" else "settled"
        state = ("part_settled" if touched else "issued") if left else done
        if state != row["state"]:
            yield f"it is {state}"

    def _paid(self, draft: str) -> Decimal:
        return _sum(each["amount"] for each in self.terms["payments"] if each["draft"] == draft)

    def _notes(self, draft: str, column: str = "note_gross") -> dict[str, Decimal]:
        """Return the credit notes of a draft's invoice."""
        mine = (row for row in self.credits if row["draft"] == draft)
        return {row["note"]: Decimal(row[column]) for row in mine}

    def _credits(self) -> Iterator[str]:
        for name in dict.fromkeys(row["credit"] for row in self.credits):
            rows = [row for row in self.credits if row["credit"] == name]
            total = _sum(row["amount"] for row in rows)
            if total != Decimal(rows[0]["note_net"]):
                yield f"{name}: the note's net is {rows[0]['note_net']}, its parts are {total}"
            gross = Decimal(rows[0]["note_net"]) + Decimal(rows[0]["note_tax"])
            if gross != Decimal(rows[0]["note_gross"]):
                yield f"{name}: the note's gross is not net and tax"
            draft = self.drafts[rows[0]["draft"]]
            whole = rows[0]["reason"] == "rebill"
            if whole and (total, gross) != (Decimal(draft["erp_net"]), Decimal(draft["erp_gross"])):
                yield f"{name}: a rebill takes the whole invoice back"
            for line in self.lines:
                mine = [row for row in rows if row["line"] == line["line"]]
                if line["draft"] == draft["draft"] and mine:
                    most = Decimal(line["released_net"])
                    if _sum(row["amount"] for row in mine) > most:
                        yield f"{name}: {line['line']} was billed at {most}"

    # What is left.

    def _pos(self) -> Iterator[str]:
        for row in self.pos:
            po = self._po(row["po"])
            gross = po["basis"] == "gross"
            mine = [each for each in self.drafts.values() if each["client_po"] == row["po"]]
            for column, wanted in self._taken(row["stage"], mine, gross=gross).items():
                if wanted != Decimal(row[column]):
                    yield f"{row['po']} {row['stage']}: {column} is {row[column]}, not {wanted}"
            taken = Decimal(row["released"]) + Decimal(row["invoiced"]) - Decimal(row["credited"])
            if Decimal(po["amount"]["amount"]) - taken != Decimal(row["left"]):
                yield f"{row['po']} {row['stage']}: left is {row['left']}"

    def _taken(self, stage: str, mine: list[Row], *, gross: bool) -> dict[str, Decimal]:
        what = "gross" if gross else "net"
        first = [row for row in mine if row["cycle"] == "1"]
        issued = mine if stage == "end" else first
        late = stage in ("invoiced", "credited", "end")
        notes = (self._notes(row["draft"], f"note_{what}").values() for row in mine)
        credited = sum((sum(each, Decimal(0)) for each in notes), Decimal(0))
        return {
            "drafted": _sum(row[what] for row in first if stage == "drafted"),
            "released": _sum(row[f"released_{what}"] for row in first if stage == "released"),
            "invoiced": _sum(row[f"erp_{what}"] for row in issued if late),
            "credited": credited if stage in ("credited", "end") else Decimal(0),
        }

    def _po(self, number: str) -> Any:
        return next(each for each in self.terms["client_pos"] if each["number"] == number)

    def _caps(self) -> Iterator[str]:
        for row in self.caps:
            where = f"{row['cap']} {row['stage']}"
            columns = ("reserved", "drafted", "invoiced")
            taken = _sum(row[column] for column in columns) - Decimal(row["credited"])
            if Decimal(row["amount"]) - taken != Decimal(row["left"]):
                yield f"{where}: left is {row['left']}, not {Decimal(row['amount']) - taken}"
            if taken > Decimal(row["amount"]):
                yield f"{where}: it is exceeded"
            entries = self._capped(row["cap"])
            again = self._rebilled(entries) if row["stage"] in ("credited", "end") else Decimal(0)
            whole = _sum(row[column] for column in columns)
            late = row["stage"] in ("credited", "end")
            less = self._released_of_cap(entries) if late else Decimal(0)
            total = sum(entries.values(), Decimal(0)) + again - less
            if whole != total:
                yield f"{where}: its entries come to {total}"
            if Decimal(row["credited"]) != (self._credited(entries) if late else Decimal(0)):
                yield f"{where}: credited is {row['credited']}"

    def _capped(self, cap: str) -> dict[str, Decimal]:
        """Return what is to be billed of each entry that counts towards a cap."""
        found: dict[str, Decimal] = {}
        for name, entry in self.entries.items():
            for part in ("p1", "p2", "p3"):
                counts = cap in entry[f"{part}_cap"].split("|")
                if counts and entry[f"{part}_disposition"] == "to_bill":
                    found[name] = Decimal(entry[f"{part}_amount"])
        return found

    def _released_of_cap(self, entries: Mapping[str, Decimal]) -> Decimal:
        """Return what issued lines with these entries were written down by."""
        lines = [row for row in self.lines if entries.keys() & set(row["bills"].split(";"))]
        return sum(
            (
                Decimal(row["net"]) - Decimal(row["released_net"])
                for row in lines
                if row["state"] == "in"
            ),
            Decimal(0),
        )

    def _credited(self, entries: Mapping[str, Decimal]) -> Decimal:
        return _sum(row["amount"] for row in self.credits if row["bills"] in entries)

    def _rebilled(self, entries: Mapping[str, Decimal]) -> Decimal:
        again = (row for row in self.credits if row["reason"] == "rebill")
        return _sum(row["amount"] for row in again if row["bills"] in entries)

    def _contract_lines(self) -> Iterator[str]:
        for row in self.contract_lines:
            mine = [
                line
                for line in self.lines
                if line["contract_line"] == row["line"] and line["state"] == "in"
            ]
            names = {name for line in mine for name in line["bills"].split(";")}
            found = {
                "invoiced": _sum(line["released_net"] for line in mine),
                "credited": _sum(each["amount"] for each in self.credits if each["bills"] in names),
            }
            found["taken"] = found["invoiced"] - found["credited"]
            for column, total in found.items():
                if total != Decimal(row[column]):
                    yield f"{row['line']}: {column} is {row[column]}, not {total}"

    def _month_end(self, row: Row) -> Iterator[str]:
        mine = [each for each in self.drafts.values() if each["client"] == row["client"]]
        names = {each["draft"] for each in mine}
        lines = [line for line in self.lines if line["draft"] in names]
        first = [line for line in lines if self.drafts[line["draft"]]["cycle"] == "1"]
        rebills = (each for each in self.credits if each["reason"] == "rebill")
        ahead = {each["draft"] for each in mine if each["period"] == "2026-10"}
        notes = [self._notes(name, "note_net").values() for name in names]
        figures = {
            "opening": _sum(line["net"] for line in first if line["draft"] in ahead),
            "rated": _sum(line["net"] for line in first if line["draft"] not in ahead),
            "billed": _sum(each["erp_net"] for each in mine),
            "written_off": _sum(
                act["amount"] for act in self.acts if act["draft"] in names and act["amount"]
            ),
            "reopened": _sum(each["amount"] for each in rebills if each["draft"] in names),
            "credited": sum((sum(each, Decimal(0)) for each in notes), Decimal(0)),
            "outstanding": _sum(each["remaining"] for each in mine),
        }
        figures["before_invoices"] = figures["opening"] + figures["rated"] - figures["written_off"]
        figures["invoiced"] = figures["billed"] - figures["credited"]
        figures["closing"] = (
            figures["opening"]
            + figures["rated"]
            - figures["billed"]
            - figures["written_off"]
            + figures["reopened"]
        )
        for column, wanted in figures.items():
            if wanted != Decimal(row[column]):
                yield f"{column} is {row[column]}, not {wanted}"
        held = _sum(line["net"] for line in first if line["state"] == "held")
        if held != figures["closing"]:
            yield f"what is held comes to {held}, the closing balance is {figures['closing']}"


def _to_bill(entry: Row) -> list[tuple[Fraction, int]]:
    """Return amount and minutes of what is to be billed of an entry."""
    return [
        (Fraction(entry[f"{part}_amount"]), int(entry[f"{part}_minutes"]))
        for part in ("p1", "p2", "p3")
        if entry[f"{part}_disposition"] == "to_bill"
    ]


def _formulas(row: Row, currency: str) -> Iterator[str]:
    for figure, formula, result in re.findall(
        r"(\w+): ([-\d(][-+x/(). \d]*) = (-?[\d.]+)(?=;|$)", row["working"]
    ):
        value = worked_out(formula)
        whole = figure == "minutes"
        if (value if whole else Fraction(rounded(value, currency))) != Fraction(result):
            yield f"{figure}: {formula} is not {result}"
        # A check makes the net from quantity and price; `to_date` is a step on the way.
        column = "net" if figure == "check" else figure
        if column in row and Fraction(row[column]) != Fraction(result):
            yield f"{column} is {row[column]}, worked out {result}"
    told = re.findall(r"(\w+): .*?(?:;|$)", row["working"])
    known = re.findall(r"(\w+): [-\d(][-+x/(). \d]* = -?[\d.]+(?:;|$)", row["working"])
    if told != known:
        yield f"its working cannot be read: {row['working']}"


def _sum(amounts: Iterable[str]) -> Decimal:
    return sum((Decimal(each) for each in amounts if each), Decimal(0))


def _table(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    found = problems()
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    sys.exit(1 if found else 0)
