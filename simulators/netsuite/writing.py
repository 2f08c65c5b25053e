"""Creates, updates and deletes records: the one way for requests, screens and seeds alike."""

# ruff: noqa: A002 - `type` is what NetSuite calls it

from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Account, Record, ReplyError
from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft
from simulators.netsuite.effects import after_delete, after_save
from simulators.netsuite.reading import Reader, read_external_id
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rules import RELATIONSHIP, check_removal, check_save
from simulators.netsuite.schema import RecordType
from simulators.netsuite.state import Fields, ref_id
from simulators.netsuite.sublists import merge_lines


@dataclass
class Writer:
    """Writes for one request; `replace` names the sublists that lines sent are to replace."""

    reader: Reader
    replace: frozenset[str] = frozenset()

    @property
    def account(self) -> Account:
        """The account written to."""
        return self.reader.account

    def create(
        self,
        kind: RecordType,
        body: Fields,
        key: str | None = None,
        id: str | None = None,
        preset: Fields | None = None,
    ) -> Record:
        """Create a record; `key` comes before an external id in the body.

        `preset` are fields that NetSuite itself gives, whatever clients may set.

        Raises:
            ReplyError: the account refuses it.
        """
        account = self.account
        if key is None and body.get("externalId") is not None:
            key = read_external_id(body["externalId"])
        changes, sent = self.reader.read(kind, body)
        if key is not None:
            self._check_free(kind.name, key, None)
        named = frozenset((*changes, *sent))
        with account.store.atomic():
            id = id or state.next_id(account, state.space_of(kind.name))  # noqa: A001 - as above
            fields = self._with_lines(kind, {**changes, **(preset or {})}, sent)
            draft = Draft(account, kind.name, id, None, fields, named)
            check_save(draft)
            record = account.store.insert(kind.name, draft.fields, key, id)
            if kind.name == "customer":
                self._open_primary(record)
            after_save(account, record, None)
        return record

    def update(self, record: Record, body: Fields) -> Record:
        """Change the fields sent, and merge the lines sent.

        Raises:
            ReplyError: the account refuses it.
        """
        kind = RECORD_TYPES[record.type]
        key = record.key
        if "externalId" in body:
            sent_key = body["externalId"]
            key = None if sent_key is None else read_external_id(sent_key)
        changes, sent = self.reader.read(kind, body)
        fields = self._with_lines(kind, {**record.fields, **changes}, sent)
        named = frozenset((*changes, *sent))
        before = record.fields
        with self.account.store.atomic():
            draft = Draft(self.account, record.type, record.id, record, fields, named)
            check_save(draft)
            if key != record.key:
                if key is not None:
                    self._check_free(record.type, key, record)
                self.account.store.set_key(record, key)
            self.account.store.update(record, draft.fields)
            if record.type == "customer":
                self._move_primary(record)
            after_save(self.account, record, before)
        return record

    def delete(self, record: Record) -> None:
        """Delete a record and what is a part of it.

        Raises:
            ReplyError: it is in use.
        """
        check_removal(self.account, record)
        with self.account.store.atomic():
            if record.type == "customer":
                for row in state.relationships(self.account, record.id):
                    self.account.store.delete(row)
            self.account.store.delete(record)
            after_delete(self.account, record)

    def _check_free(self, type: str, key: str, own: Record | None) -> None:
        space = state.space_of(type)
        holder = state.find_external(self.account, state.types_of_space(space), key)
        if holder is not None and holder is not own:
            raise errors.already_exists("entity" if space == "entity" else "record")

    def _with_lines(
        self, kind: RecordType, fields: Fields, sent: dict[str, list[Fields]]
    ) -> Fields:
        for name, lines in sent.items():
            rows: list[JsonValue] = []
            rows.extend(
                merge_lines(
                    self.account,
                    name,
                    kind.sublists[name],
                    state.lines(fields, name),
                    lines,
                    name in self.replace,
                )
            )
            fields[name] = {"items": rows}
        return fields

    def _open_primary(self, customer: Record) -> None:
        self.account.store.insert(
            RELATIONSHIP,
            {
                "entity": {"id": customer.id},
                "subsidiary": customer.fields["subsidiary"],
                "isPrimarySub": True,
            },
            id=state.next_id(self.account, RELATIONSHIP),
        )

    def _move_primary(self, customer: Record) -> None:
        """Make the relationship to the customer's subsidiary the primary one."""
        wanted = ref_id(customer.fields, "subsidiary")
        rows = state.relationships(self.account, customer.id)
        primary = next((row for row in rows if row.fields.get("isPrimarySub")), None)
        if primary is None or ref_id(primary.fields, "subsidiary") == wanted:
            return
        target = next((r for r in rows if ref_id(r.fields, "subsidiary") == wanted), None)
        if target is None:
            self.account.store.update(primary, {"subsidiary": customer.fields["subsidiary"]})
        else:
            self.account.store.update(primary, {"isPrimarySub": False})
            self.account.store.update(target, {"isPrimarySub": True})


def refusal_text(error: ReplyError) -> str:
    """Return the words of a refusal, for those who act in the screen."""
    body = error.reply.body
    details = body.get("o:errorDetails") if isinstance(body, dict) else None
    if isinstance(details, list) and details and isinstance(details[0], dict):
        return str(details[0].get("detail"))
    return str(error)
