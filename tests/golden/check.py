"""Cross-foots the golden month: standard library and a YAML reader, nothing of Dealthread.

It works every formula of the column `working` out anew with exact fractions, derives amounts,
costs and prices a second time from contracts and people, and compares the sums with the README.
Run `python tests/golden/check.py`; it prints what does not agree and ends with status 1.
"""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML

HERE = Path(__file__).parent
DECIMALS = {"JPY": 0, "KWD": 3, "USD": 2, "EUR": 2, "GBP": 2}
PARTS = ("p1", "p2", "p3")

Row: TypeAlias = Mapping[str, str]


def problems(folder: Path = HERE) -> list[str]:
    """Return everything in the folder that does not agree, one sentence each."""
    return list(_Month(folder).problems())


def rounded(value: Fraction, currency: str) -> Decimal:
    """Return the value in minor units of the currency; exactly half goes away from zero."""
    scale: int = 10 ** DECIMALS[currency]
    units = (abs(value) * scale * 2 + 1) // 2
    return Decimal(units if value >= 0 else -units) / scale


def worked_out(formula: str) -> Fraction:
    """Return what a formula of numbers, `+ - x /` and brackets comes to."""
    tokens = re.findall(r"\d+(?:\.\d+)?|[-+x/()]", formula.replace("min", ""))
    value = _sum(tokens)
    if tokens:
        raise ValueError(f"{formula!r} does not end at {tokens[0]!r}")
    return value


def _sum(tokens: list[str]) -> Fraction:
    value = _product(tokens)
    while tokens and tokens[0] in "+-":
        sign = tokens.pop(0)
        value = value + _product(tokens) if sign == "+" else value - _product(tokens)
    return value


def _product(tokens: list[str]) -> Fraction:
    value = _factor(tokens)
    while tokens and tokens[0] in "x/":
        sign = tokens.pop(0)
        value = value * _factor(tokens) if sign == "x" else value / _factor(tokens)
    return value


def _factor(tokens: list[str]) -> Fraction:
    token = tokens.pop(0)
    if token == "-":
        return -_factor(tokens)
    if token != "(":
        return Fraction(token)
    value = _sum(tokens)
    tokens.pop(0)
    return value


class _Month:
    """The files, and one check after the other."""

    def __init__(self, folder: Path) -> None:
        with (folder / "month.csv").open(newline="") as file:
            self.rows: list[Row] = list(csv.DictReader(file))
        self.engagements = _yaml(folder / "engagements.yaml")
        self.people = _yaml(folder / "people.yaml")
        self.rates = _yaml(folder / "exchange_rates.yaml")
        self.policy = _yaml(folder / "policy.yaml")
        self.readme = (folder / "README.md").read_text(encoding="utf-8")

    def problems(self) -> Iterator[str]:
        if len({row["entry"] for row in self.rows}) != len(self.rows):
            yield "an entry is there twice"
        for row in self.rows:
            checks = (_held,) if row["hold"] else (_parts, _written_off, self._money)
            for check in (_workings, *checks):
                yield from (f"{row['entry']}: {problem}" for problem in check(row))
        yield from self._limits()
        yield from self._totals()

    def _money(self, row: Row) -> Iterator[str]:
        line = self._line(row)
        if row["kind"] == "expense":
            yield from self._expense(row, line)
        elif row["minutes"]:
            yield from self._time(row, line)
        if row["ic_amount"]:
            yield from self._price(row)
        if row["cost_entity"] != row["entity"] and row["minutes"] and not row["ic_amount"]:
            yield "two companies and no price between them"

    def _time(self, row: Row, line: Any) -> Iterator[str]:
        minutes, billed = int(row["minutes"]), int(row["billed_minutes"])
        if minutes > 0 and billed != _billed(minutes, line):
            yield f"{minutes} minutes bill {_billed(minutes, line)}, not {billed}"
        if minutes < 0:
            yield from self._taken_back(row, line)
        multiplier = Fraction(str((line.get("multipliers") or {}).get(row["category"], 1)))
        if multiplier != Fraction(row["multiplier"]):
            yield f"the multiplier is {multiplier}"
        rate = Fraction(row["rate"] or 0)
        yield from _same("amount", row, billed * rate * multiplier / 60, row["currency"])
        if row["rate_source"] == "psa":
            if rate != Fraction(row["psa_rate"]) * Fraction(row["fx"] or 1):
                yield "not the PSA's rate"
        elif row["rate"] and not self._has_rate(row, line):
            yield f"the contract has no rate {row['rate']} by {row['rate_source']} on the day"
        worker = self._worker(row)
        if worker["cost_rate"] != row["cost_rate"]:
            yield f"the person costs {worker['cost_rate']}"
        cost = minutes * Fraction(row["cost_rate"]) / 60
        yield from _same("cost", row, cost, worker["cost_currency"])

    def _taken_back(self, row: Row, line: Any) -> Iterator[str]:
        of = next(each for each in self.rows if each["entry"] == row["adjusts"])
        left = int(of["minutes"]) + int(row["minutes"])
        back = int(of["billed_minutes"]) - (_billed(left, line) if left else 0)
        if -back != int(row["billed_minutes"]):
            yield f"takes {back} billed minutes back"

    def _has_rate(self, row: Row, line: Any) -> bool:
        said = dict(
            pair.split("=", 1)
            for pair in row["rate_source"].removeprefix("contract:").split(",")
            if "=" in pair
        )
        worker, day = self._worker(row), date.fromisoformat(row["service_date"])
        of = {"person": row["person"], "role": row["role"] or worker["role"]}
        of["employee_class"] = worker["employee_class"]
        return all(of[key] == value for key, value in said.items()) and any(
            {key: rate[key] for key in of if rate.get(key)} == said
            and rate["rate"] == row["rate"]
            and rate["valid_from"].isoformat() == row["rate_from"]
            and rate["valid_from"] <= day <= rate.get("valid_to", date.max)
            for rate in line["rates"]
        )

    def _expense(self, row: Row, line: Any) -> Iterator[str]:
        gross, net = (
            Fraction(row["incurred"]),
            Fraction(row["incurred"]) - Fraction(row["tax"] or 0),
        )
        rule = next(
            each for each in line["expense_rules"] if each["category"] in (row["category"], "")
        )
        if rule.get("per_diem"):
            amount = Fraction(rule["per_diem"])
        else:
            base = gross if rule["treatment"] == "disbursement" else net
            markup = 1 + Fraction(rule.get("markup_percent", 0)) / 100
            amount = base * self._fx(row, row["currency"], "fx") * markup
        yield from _same("amount", row, amount, row["currency"])
        above = amount - Fraction(rule["ceiling"]) if rule.get("ceiling") else Fraction(0)
        if max(above, Fraction(0)) != Fraction(row["above_ceiling"] or 0):
            yield f"{above} is above the ceiling"
        if (rule["treatment"] == "not_billable") != (row["base"] == "non_billable"):
            yield "billable or not: the rule says otherwise"
        cost = net * self._fx(row, row["cost_currency"], "cost_fx")
        yield from _same("cost", row, cost, row["cost_currency"])

    def _fx(self, row: Row, to: str, column: str) -> Fraction:
        if row["entry_currency"] == to:
            return Fraction(row[column] or 1)
        rate = self._rate(row["entry_currency"], to, row["service_date"])
        if rate != row[column]:
            raise ValueError(f"{row['entry']}: {column} is {row[column]}, not {rate}")
        return Fraction(rate)

    def _rate(self, of: str, to: str, day: str) -> str:
        fit = [
            (each["valid_from"].isoformat(), str(each["rate"]))
            for each in self.rates
            if (each["from_currency"], each["to_currency"]) == (of, to)
        ]
        return max(each for each in fit if each[0] <= day)[1]

    def _price(self, row: Row) -> Iterator[str]:
        pair = (row["ic_from"], row["ic_to"])
        if pair != (row["cost_entity"], row["entity"]):
            yield "the price is between other companies"
        rule = next(
            each for each in self.policy["intercompany"] if (each["from"], each["to"]) == pair
        )
        if rule["of"] == "cost":
            cost = int(row["minutes"]) * Fraction(row["cost_rate"]) / 60
            price = cost * (1 + Fraction(rule["markup_percent"]) / 100)
        else:
            fx = self._rate(row["currency"], row["cost_currency"], row["service_date"])
            price = Fraction(row["amount"]) * Fraction(rule["percent"]) / 100 * Fraction(fx)
        yield from _same("ic_amount", row, price, row["cost_currency"])

    def _limits(self) -> Iterator[str]:
        """Yield caps exceeded and retainers overdrawn, entry by entry in claim order."""
        caps = {
            cap["id"]: cap["amount"]
            for of in self.engagements
            for holder in (of, *of["lines"])
            for cap in holder.get("caps", ())
        }
        retainers = {
            line["ref"]: Decimal(line["retainer"]["balance"]["amount"])
            for of in self.engagements
            for line in of["lines"]
            if line.get("retainer")
        }
        used: dict[str, Decimal] = defaultdict(Decimal)
        for row, part in self._all_parts():
            amount = Decimal(row[f"{part}_amount"])
            named = [cap for cap in row[f"{part}_cap"].split("|") if cap]
            if row[f"{part}_disposition"] == "to_bill":
                for cap in named:
                    used[cap] += amount
                    if used[cap] > Decimal(caps[cap]["amount"]):
                        yield f"{row['entry']}: {cap} is exceeded"
            elif row[f"{part}_disposition"] == "over_cap":
                left = [cap for cap in named if used[cap] != Decimal(caps[cap]["amount"])]
                if left:
                    yield f"{row['entry']}: over {left[0]}, which is not used up"
            elif row[f"{part}_disposition"] == "drawn_from_retainer":
                retainers[row["line"]] -= amount
                if retainers[row["line"]] < 0:
                    yield f"{row['entry']}: the retainer of {row['line']} is overdrawn"

    def _totals(self) -> Iterator[str]:
        """Yield where the README's tables and the sums of the rows differ."""
        sums: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
        for row, part in self._all_parts():
            amount = Decimal(row[f"{part}_amount"])
            sums["billing", row["line"], row["currency"], row[f"{part}_disposition"]] += amount
            sums["billing", row["line"], row["currency"], "rated"] += amount
            sums["currency", row["currency"], row[f"{part}_disposition"]] += amount
            sums["currency", row["currency"], "rated"] += amount
        for row in self.rows:
            if row["cost"]:
                kind = "expenses" if row["kind"] == "expense" else "hours"
                sums["cost", row["cost_entity"], row["cost_currency"], kind] += Decimal(row["cost"])
            if row["ic_amount"]:
                pair = (row["ic_from"], row["ic_to"])
                sums["intercompany", *pair, row["cost_currency"]] += Decimal(row["ic_amount"])
            if row["written_off_amount"]:
                where = (row["line"], row["currency"])
                sums["after", *where, "written_off"] += Decimal(row["written_off_amount"])
            if row["hold"]:
                sums["held", row["hold"]] += 1
        for place in [key[1:3] for key in sums if key[0] == "after"]:
            left = sums["billing", *place, "to_bill"] - sums["after", *place, "written_off"]
            sums["after", *place, "to_bill"] = left
        told = dict(_tables(self.readme))
        for key in sorted(sums.keys() | told.keys()):
            if sums.get(key) != told.get(key):
                yield f"README {' '.join(key)}: {told.get(key)}, the rows say {sums.get(key)}"

    def _all_parts(self) -> Iterator[tuple[Row, str]]:
        for row in self.rows:
            yield from ((row, part) for part in PARTS if row[f"{part}_disposition"])

    def _line(self, row: Row) -> Any:
        fit = [
            (of["effective_from"], line)
            for of in self.engagements
            for line in of["lines"]
            if line["ref"] == row["line"]
            and of["effective_from"].isoformat() <= row["service_date"]
        ]
        return max(fit, key=lambda each: each[0])[1]

    def _worker(self, row: Row) -> Any:
        fit = [
            each
            for each in self.people
            if each["email"] == row["person"]
            and each["valid_from"].isoformat() <= row["service_date"]
        ]
        return max(fit, key=lambda each: each["valid_from"])


def _workings(row: Row) -> Iterator[str]:
    """Work the formulas out; the ones that name a figure of the row must come to it."""
    for step in filter(None, row["working"].split("; ")):
        label, _, text = step.partition(": ")
        formula, _, result = text.rpartition(" = ")
        if not formula:
            continue
        said, unit = result.split(" ")
        exact = worked_out(formula)
        value = Decimal(int(exact)) if unit == "min" else rounded(exact, unit)
        if value != Decimal(said):
            yield f"{step}: it is {value}"
        column = {"amount": "amount", "cost": "cost", "intercompany": "ic_amount"}.get(label)
        if column and row[column] != said:
            yield f"{label} is {said} in the working and {row[column]} in its column"


def _parts(row: Row) -> Iterator[str]:
    named = [part for part in PARTS if row[f"{part}_disposition"]]
    if not named or sum(Decimal(row[f"{part}_amount"]) for part in named) != Decimal(row["amount"]):
        yield "the parts do not sum to the amount"
    if sum(int(row[f"{part}_minutes"]) for part in named) != int(row["billed_minutes"]):
        yield "the parts' minutes do not sum to the billed minutes"
    for column in ("amount", *(f"{part}_amount" for part in named)):
        if rounded(Fraction(row[column]), row["currency"]) != Decimal(row[column]):
            yield f"{column} is finer than {row['currency']} allows"


def _written_off(row: Row) -> Iterator[str]:
    """Check that a person's write-off has the value of its minutes, and fits the to_bill part."""
    if not row["written_off_amount"]:
        return
    worth = int(row["written_off_minutes"]) * Fraction(row["rate"]) / 60
    yield from _same("written_off_amount", row, worth, row["currency"])
    if Decimal(row["written_off_amount"]) > Decimal(row["p1_amount"]):
        yield "more is written off than was to be billed"


def _held(row: Row) -> Iterator[str]:
    if row["amount"] or row["p1_disposition"]:
        yield "it is held, and has an amount"


def _billed(minutes: int, line: Any) -> int:
    step = line.get("increment_minutes", 1)
    return int(max(line.get("minimum_minutes", 0), ceil(minutes / step) * step))


def _same(column: str, row: Row, exact: Fraction, currency: str) -> Iterator[str]:
    if rounded(exact, currency) != Decimal(row[column]):
        yield f"{column} is {row[column]}, worked out anew {rounded(exact, currency)} {currency}"


def _tables(readme: str) -> Iterator[tuple[tuple[str, ...], Decimal]]:
    """Yield every figure of the README's tables under a `<!-- name -->` mark, with its place."""
    for name, table in re.findall(r"<!-- (\w+) -->\n((?:\|.*\n)+)", readme):
        head, _, *lines = [
            [cell.strip() for cell in row.strip("|\n").split("|")] for row in table.splitlines()
        ]
        for line in lines:
            keys = [cell for title, cell in zip(head, line, strict=True) if title[0].isupper()]
            for title, cell in zip(head, line, strict=True):
                if cell and not title[0].isupper():
                    place = () if title in ("amount", "entries") else (title,)
                    yield (name, *keys, *place), Decimal(cell.replace(",", ""))


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    found = problems()
    sys.stdout.write("".join(f"{each}\n" for each in found) or "the month agrees\n")
    sys.exit(bool(found))
