"""Reads `docs/schedules.md`: the cases, the lines worked by hand, and the arithmetic in them."""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from canonical.money import Money, minor_digits
from canonical.schedule_facts import ScheduledLine, ScheduleFact
from canonical.schedules import ScheduleTerms

PAGE = Path(__file__).resolve().parents[3] / "docs" / "schedules.md"
TERMS: TypeAdapter[ScheduleTerms] = TypeAdapter(ScheduleTerms)
FACTS: TypeAdapter[list[ScheduleFact]] = TypeAdapter(list[ScheduleFact])
LONG_AGO, FAR_OFF = date(2000, 1, 1), date(2030, 1, 1)
COLUMNS = "| case | item | service | invoice on | net | balance | by hand |"
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Row:
    """One line worked by hand."""

    item: str
    service: str
    invoice_on: str
    net: str
    balance: str
    by_hand: str

    def shown(self) -> tuple[str, ...]:
        """What a computed line is compared with."""
        return (self.item, self.service, self.invoice_on, self.net, self.balance)


@dataclass(frozen=True)
class Case:
    """Terms and facts with the lines that come of them."""

    name: str
    terms: ScheduleTerms
    facts: tuple[ScheduleFact, ...]
    since: date
    until: date
    done: tuple[str, ...]
    rows: tuple[Row, ...]


def shown(line: ScheduledLine) -> tuple[str, ...]:
    """Return a computed line as the tables show one."""
    return (
        line.item,
        f"{line.service_start} to {line.service_end}",
        str(line.invoice_on),
        _amount(line.net),
        "" if line.balance_effect is None else _amount(line.balance_effect),
    )


def examples() -> list[object]:
    """Return the terms that the page shows as an example, as read."""
    return [block["schedule"] for block in _blocks() if "schedule" in block]


def cases() -> list[Case]:
    """Return every case of the page."""
    rows: dict[str, list[Row]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-Z]\d+", cells[0]) and line.startswith("|"):
            rows.setdefault(cells[0], []).append(Row(*cells[1:]))
    found = []
    for block in _blocks():
        for name, content in block.items():
            if name == "schedule":
                continue
            assert set(content) <= {"terms", "facts", "since", "until", "done"}, name
            found.append(
                Case(
                    name=name,
                    terms=TERMS.validate_python(content["terms"], extra="forbid"),
                    facts=tuple(FACTS.validate_python(content.get("facts", []), extra="forbid")),
                    since=content.get("since", LONG_AGO),
                    until=content.get("until", FAR_OFF),
                    done=tuple(content.get("done", ())),
                    rows=tuple(rows.pop(name)),
                )
            )
    assert not rows, f"lines of cases that are not there: {sorted(rows)}"
    return found


def wrong_sums(text: str, currency: str) -> Iterator[str]:
    """Yield the statements `expression = result` whose arithmetic is wrong."""
    for statement in text.split(";"):
        sums = statement.rpartition(":")[2]
        if "=" not in sums:
            continue
        expression, _, result = sums.partition("=")
        value = _value(ast.parse(_python(expression), mode="eval").body)
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        if Money.rounded(exact, currency).amount != number(result):
            yield f"{statement.strip()} (it is {exact})"


def number(text: str) -> Decimal:
    """Return the last number of a text."""
    return Decimal(re.findall(r"[\d,]+(?:\.\d+)?", text)[-1].replace(",", ""))


def _python(expression: str) -> str:
    signs = {"×": "*", "÷": "/", "−": "-", "%": "/ 100", ",": ""}
    for sign, meaning in signs.items():
        expression = expression.replace(sign, meaning)
    return expression.strip()


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    assert isinstance(node, ast.Constant), ast.dump(node)
    return Fraction(str(node.value))


def _blocks() -> Iterator[dict[str, dict[str, Any]]]:
    yaml = YAML(typ="safe", pure=True)
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        yield yaml.load(block)


def _amount(money: Money) -> str:
    return f"{money.amount:,.{minor_digits(money.currency)}f}"
