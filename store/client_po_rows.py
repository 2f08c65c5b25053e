"""Client POs and their lines as rows: where they stand, in their own basis."""

import json
from collections.abc import Iterable
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.client_pos import ClientPo, PoLineStanding, PoStanding, untaken_lines
from canonical.money import Money, minor_digits
from store.billing_session import PoKey, po_rows
from store.database import AnyRow
from store.subledger_session import as_rows

SUMS: Final = ("drafted", "released", "invoiced", "credited")

# Amounts as texts: a number of JSON would be read as a float.
STANDING: Final = """
    SELECT po.*, (
        SELECT CAST(jsonb_agg(jsonb_build_object('numbers', line.numbers,
            'contract_lines', line.contract_lines, 'amount', CAST(line.given AS text),
            'drafted', CAST(line.drafted AS text), 'released', CAST(line.released AS text),
            'invoiced', CAST(line.invoiced AS text), 'credited', CAST(line.credited AS text))
            ORDER BY line.place) AS text)
        FROM client_po_lines AS line
        WHERE line.client_id = po.client_id AND line.number = po.number) AS lines
    FROM client_pos AS po
"""
"""Client POs with their lines, for `standing`."""
_STANDINGS = text(f"""
    {STANDING} JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
        USING (client_id, number)
    ORDER BY po.client_id, po.number
""")

_FORGET_LINES = text("""
    DELETE FROM client_po_lines WHERE client_id = :client_id AND number = :number
""")
_PUT_LINES = text("""
    INSERT INTO client_po_lines (client_id, number, place, numbers, contract_lines, given, amount,
        digits)
    SELECT :client_id, :number, line.place,
        ARRAY(SELECT jsonb_array_elements_text(line.numbers)),
        ARRAY(SELECT jsonb_array_elements_text(line.contract_lines)),
        line.amount, line.amount, :digits
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS line(place integer, numbers jsonb,
        contract_lines jsonb, amount numeric)
""")


async def standings(session: AsyncConnection, keys: Iterable[PoKey]) -> tuple[PoStanding, ...]:
    """Return where client POs stand; unknown ones are missing."""
    rows = await session.execute(_STANDINGS, {"rows": po_rows(keys)})
    return tuple(standing(row) for row in rows)


def standing(row: AnyRow) -> PoStanding:
    """Return a row of `STANDING` as a standing."""
    lines = tuple(_line(each, row.currency) for each in json.loads(row.lines or "[]"))
    sums = {name: Money(amount=getattr(row, name), currency=row.currency) for name in SUMS}
    return PoStanding(po=ClientPo.model_validate_json(row.document), **sums, lines=lines)


async def put_lines(session: AsyncConnection, po: ClientPo) -> None:
    """Write the lines of a PO anew, with nothing taken of them: they have to be counted next."""
    key = {"client_id": po.client_id, "number": po.number}
    await session.execute(_FORGET_LINES, key)
    rows = [
        {
            "place": place,
            "numbers": line.numbers,
            "contract_lines": line.contract_lines,
            "amount": line.amount.amount,
        }
        for place, line in enumerate(untaken_lines(po), start=1)
    ]
    digits = minor_digits(po.amount.currency)
    await session.execute(_PUT_LINES, {**key, "rows": as_rows(rows), "digits": digits})


def _line(row: dict[str, object], currency: str) -> PoLineStanding:
    sums = {name: {"amount": row[name], "currency": currency} for name in ("amount", *SUMS)}
    return PoLineStanding.model_validate({**row, **sums})
