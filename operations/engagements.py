"""Reads an engagement from a YAML file, and refuses what billing could not work with.

The model checks the shape; whether companies, connections and currencies exist is checked here, so
that a slip in the file is met at the import and not by a billing run at night.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from canonical.engagement import ContractLine, Engagement
from canonical.ids import VENDOR_ID_PATTERN
from canonical.money import minor_digits
from operations.config_errors import reason
from operations.people import Refused, short
from policies.retainers import retainer_problems

FILE_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True)
class Known:
    """What an engagement may name."""

    psas: frozenset[str]
    """Connections, by name."""
    erps: frozenset[str]
    legal_entities: frozenset[str]


class _Dateless(SafeConstructor):
    """Leaves dates to the model, which names the field of an impossible one."""


_Dateless.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def read_engagement(file: Path, known: Known) -> Engagement:
    """Return the engagement in a YAML file.

    Raises:
        Refused: one line per problem, each naming the file and the field.
    """
    try:
        engagement = Engagement.model_validate(_content(file), extra="forbid")
    except ValidationError as error:
        problems = [_sentence(each) for each in error.errors(include_url=False)]
    else:
        problems = list(_problems(engagement, known))
        if not problems:
            return engagement
    raise Refused("\n".join(f"{file}: {problem}." for problem in problems))


def _content(file: Path) -> object:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise Refused(f"{file} is larger than {FILE_BYTES_MAX:,} bytes.")
        yaml = YAML(typ="safe", pure=True)
        yaml.Constructor = _Dateless
        content: object = yaml.load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is no UTF-8 text (byte {error.start}).") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"{file} is no YAML: {_where(error)}.") from error
    return content


def _where(error: Exception) -> str:
    """Return what a YAML parser says, in one line, with the place."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return short(str(error)) if str(error) else type(error).__name__


def _sentence(problem: ErrorDetails) -> str:
    field = ".".join(map(str, problem["loc"])) or "the file"
    if problem["type"] == "string_type":
        return f"{field}: it must be text: put it in quotes"
    return f"{field}: {reason(problem)}"


def _problems(engagement: Engagement, known: Known) -> Iterator[str]:
    """Yield what is well-formed and still wrong, by field."""
    if not engagement.id:
        yield "id: it must not be empty"
    if not VENDOR_ID_PATTERN.fullmatch(engagement.project_id):
        yield f"project_id: {short(engagement.project_id)} cannot be a project's id"
    if unknown := _unknown(engagement.psa, known.psas, "PSA connection"):
        yield f"psa: {unknown}"
    yield from _of_lines(engagement)
    for number, line in enumerate(engagement.lines):
        place = f"lines.{number}"
        if unknown := _unknown(line.legal_entity, known.legal_entities, "legal entity"):
            yield f"{place}.legal_entity: {unknown}"
        if unknown := _unknown(line.erp, known.erps, "ERP connection"):
            yield f"{place}.erp: {unknown}"
        yield from _of_numbers(line, place)
        yield from _of_money(line, place)
        yield from (f"{place}.{field}: {text}" for field, text in retainer_problems(line))


def _of_lines(engagement: Engagement) -> Iterator[str]:
    """Yield where lines get in each other's way."""
    if not engagement.lines:
        yield "lines: at least one contract line is needed"
    refs = Counter(line.ref for line in engagement.lines)
    tasks = Counter(task for line in engagement.lines for task in line.task_ids)
    for what, counted in (("line", refs), ("task", tasks)):
        twice = [name for name, count in counted.items() if count > 1]
        yield from (f"lines: {what} {short(name)} stands there twice" for name in twice)
    default = engagement.default_line
    if default and (unknown := _unknown(default, refs, "contract line")):
        yield f"default_line: {unknown}"
    currencies = {line.currency for line in engagement.lines}
    for number, cap in enumerate(engagement.caps):
        if currencies - {cap.amount.currency}:
            yield f"caps.{number}.amount: it must be in the currency of every line"


def _of_numbers(line: ContractLine, place: str) -> Iterator[str]:
    if line.increment_minutes < 1:
        yield f"{place}.increment_minutes: it must be at least 1"
    if line.minimum_minutes < 0:
        yield f"{place}.minimum_minutes: it must not be below 0"
    for number, rate in enumerate(line.rates):
        if rate.rate < 0:
            yield f"{place}.rates.{number}.rate: it must not be below 0"


def _of_money(line: ContractLine, place: str) -> Iterator[str]:
    if minor_digits(line.currency) is None:
        yield f"{place}.currency: {short(line.currency)} is no ISO 4217 currency"
        return
    amounts = {f"caps.{number}.amount": cap.amount for number, cap in enumerate(line.caps)}
    if line.retainer is not None:
        amounts["retainer.balance"] = line.retainer.balance
    if line.value is not None:
        amounts["value"] = line.value
    if line.schedule is not None and line.schedule.currency != line.currency:
        yield f"{place}.schedule.currency: it must be {line.currency}, as the line is"
    for field, amount in amounts.items():
        if amount.currency != line.currency:
            yield f"{place}.{field}: it must be in {line.currency}, as the line is"


def _unknown(value: str, known: Iterable[str], what: str) -> str:
    """Return that there is no such thing; empty where there is."""
    names = sorted(known)
    if value in names:
        return ""
    return f"there is no {what} {short(value)}; known: {', '.join(names) or 'none'}"
