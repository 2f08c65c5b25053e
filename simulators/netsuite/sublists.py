"""How lines sent meet lines there are (vendor page, section 4).

A line with a known key updates it, one without a key is appended: a repeated upsert appends again
unless `?replace=` names the sublist.
"""

from simulators.kit import Account
from simulators.netsuite import errors, state
from simulators.netsuite.schema import Sublist
from simulators.netsuite.state import Fields


def merge_lines(
    account: Account,
    name: str,
    spec: Sublist,
    present: list[Fields],
    sent: list[Fields],
    replace: bool,
) -> list[Fields]:
    """Return the lines as they stand after an update.

    Raises:
        ReplyError: a line names a key that is not there, or lacks a key that it must bring.
    """
    before = {line_key(spec, line): line for line in present}
    after: dict[str, Fields] = {} if replace else dict(before)
    for number, line in enumerate(sent):
        path = f"{name}.items[{number}]"
        own = line_key(spec, line)
        if spec.key in spec.fields:
            if not own:
                raise errors.missing_values([spec.fields[spec.key].label])
        elif not own:
            own = _new_key(account, spec, {**before, **after})
        elif own not in before:
            raise errors.invalid_value(own, spec.key, path)
        after[own] = _merged(before.get(own, {}), line)
        if spec.key not in spec.fields:
            after[own][spec.key] = own
        _single_default(after, own)
    return list(after.values())


def line_key(spec: Sublist, line: Fields) -> str:
    """Return the key of a line, empty where it has none yet."""
    if spec.key in spec.fields:
        return state.ref_id(line, spec.key) or ""
    value = line.get(spec.key)
    return "" if value is None else str(value)


def _merged(present: Fields, sent: Fields) -> Fields:
    merged = {**present, **sent}
    for name, value in sent.items():
        older = present.get(name)
        if isinstance(value, dict) and isinstance(older, dict) and "id" not in value:
            merged[name] = {**older, **value}
    return merged


def _new_key(account: Account, spec: Sublist, known: dict[str, Fields]) -> str:
    if spec.key == "line":
        return str(max((int(key) for key in known), default=0) + 1)
    return state.next_id(account, "address")


def _single_default(book: dict[str, Fields], newest: str) -> None:
    """Only one address is the default one for billing, and one for shipping."""
    for flag in ("defaultBilling", "defaultShipping"):
        if book[newest].get(flag):
            for key, line in book.items():
                if key != newest and line.get(flag):
                    book[key] = {**line, flag: False}
