"""Listings of the NetSuite simulator by `id > last`, and merging customers in the screen."""

import pytest
from pydantic import JsonValue

from simulators.kit import Account, Clock
from simulators.netsuite import VENDOR
from simulators.netsuite.statement import parse_statement
from simulators.netsuite.suiteql import _Run, run_statement

PAGE = 100
ROWS = 2_500
"""More than a listing that is too short to be kept."""
CHARGES = (
    "SELECT c.id, c.externalid, j.id AS project, BUILTIN.CF(t.status) AS status FROM charge c "
    "LEFT JOIN job j ON j.id = c.billto LEFT JOIN transaction t ON t.id = c.invoice "
    "WHERE c.amount > 0 AND c.id > {after} ORDER BY c.id"
)
LINES = (
    "SELECT t.id, l.foreignamount FROM transaction t JOIN transactionline l "
    "ON l.transaction = t.id AND l.mainline = 'T' WHERE t.id > {after} ORDER BY t.id"
)
Fields = dict[str, JsonValue]


@pytest.fixture(name="account")
def make_account() -> Account:
    account = VENDOR.new_account("listing", Clock())
    VENDOR.seed(account, "time-small", 4, 1)
    for number in range(ROWS):
        fields: Fields = {"billTo": {"id": "7001"}, "amount": float(number % 3), "stage": None}
        account.store.insert("charge", fields, f"key-{number}", str(9_000 + number))
    return account


def pages(account: Account, query: str, limit: int = PAGE) -> list[list[str]]:
    """Return the ids of each page, asked for one after the other."""
    found: list[list[str]] = []
    last = "0"
    while True:
        result = run_statement(account, parse_statement(query.format(after=last)))
        ids = [str(row["id"]) for row in result.rows(0, limit)]
        assert result.count >= len(ids)
        if not ids:
            return found
        found.append(ids)
        last = ids[-1]


def wanted(account: Account) -> list[str]:
    rows = account.store.list("charge")
    return [row.id for row in rows if row.fields["amount"]]


class TestListing:
    def test_pages_by_id_are_the_whole_listing_in_its_order(self, account: Account) -> None:
        whole = run_statement(
            account, parse_statement(CHARGES.format(after=0).replace("AND c.id > 0 ", ""))
        )
        listed = [id_ for page in pages(account, CHARGES) for id_ in page]
        assert listed == [str(row["id"]) for row in whole.rows()] == wanted(account)

    def test_columns_of_joined_tables_are_there_on_every_page(self, account: Account) -> None:
        result = run_statement(account, parse_statement(CHARGES.format(after=11_000)))
        assert {row.get("project") for row in result.rows()} == {"7001"}
        assert all("status" not in row for row in result.rows())

    def test_a_long_listing_is_looked_for_once(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[str] = []
        matching = _Run._matching

        def counted(run: _Run) -> object:
            looks.append("look")
            return matching(run)

        monkeypatch.setattr(_Run, "_matching", counted)
        assert len(pages(account, CHARGES)) > 10
        assert looks == ["look"]

    def test_what_changes_between_pages_shows(self, account: Account) -> None:
        statement = parse_statement(CHARGES.format(after=0))
        count = run_statement(account, statement).count
        first, second, *_ = wanted(account)
        gone = account.store.get("charge", first)
        zeroed = account.store.get("charge", second)
        assert gone is not None
        assert zeroed is not None
        account.store.delete(gone)
        assert run_statement(account, statement).count == count - 1
        account.store.update(zeroed, {"amount": 0.0})
        assert run_statement(account, statement).count == count - 2
        account.store.insert("charge", {"amount": 5.0}, None, "99999")
        assert run_statement(account, statement).count == count - 1
        with account.store.atomic():
            snapshot = account.store.snapshot()
            account.store.undelete(gone)
            assert run_statement(account, statement).count == count
            account.store.restore(snapshot)
        assert run_statement(account, statement).count == count - 1

    def test_a_join_that_filters_is_paged_too(self, account: Account) -> None:
        customer = account.store.list("customer")[0]
        for number in range(3):
            fields: Fields = {"entity": customer.id, "subsidiary": "2", "tranDate": "2026-11-20"}
            fields["item"] = {"items": [{"item": "301", "quantity": 1, "rate": 100 + number}]}
            VENDOR.screen_create(account, "invoice", fields, None)
        assert len(pages(account, LINES, limit=1)) == 3


class TestMerge:
    def merged(self, account: Account, **other: JsonValue) -> tuple[str, str]:
        fields: Fields = {"companyName": "Master", "subsidiary": "2", "currency": "1", **other}
        into = VENDOR.screen_create(account, "customer", fields, "key-of-the-other")
        job = account.store.get("job", "7001")
        assert job is not None
        parent = job.fields["parent"]
        assert isinstance(parent, dict)
        gone = str(parent["id"])
        VENDOR.screen_create(account, "merge", {"customer": gone, "into": into.id}, None)
        return gone, into.id

    def test_what_named_the_one_names_the_other(self, account: Account) -> None:
        invoice = VENDOR.screen_create(
            account,
            "invoice",
            {
                "entity": "6001",
                "subsidiary": "2",
                "tranDate": "2026-11-20",
                "item": {"items": [{"item": "301", "quantity": 1, "rate": 100, "job": "7001"}]},
            },
            None,
        )
        gone, into = self.merged(account, vatRegNumber=self.tax_number(account))
        assert gone == "6001"
        assert account.store.get("customer", gone) is None
        job = account.store.get("job", "7001")
        assert job is not None
        assert job.fields["parent"] == {"id": into}
        entity = invoice.fields["entity"]
        assert isinstance(entity, dict)
        assert entity["id"] == into
        other = account.store.get("customer", into)
        assert other is not None
        assert (other.key, other.fields["companyName"]) == ("key-of-the-other", "Master")

    def test_other_tax_numbers_and_unknown_customers_are_refused(self, account: Account) -> None:
        with pytest.raises(ValueError, match="tax registration number"):
            self.merged(account, vatRegNumber="other")
        with pytest.raises(ValueError, match="cannot be merged"):
            VENDOR.screen_create(account, "merge", {"customer": "6001", "into": "6001"}, None)
        assert account.store.get("customer", "6001") is not None

    def tax_number(self, account: Account) -> JsonValue:
        customer = account.store.get("customer", "6001")
        assert customer is not None
        return customer.fields.get("vatRegNumber")


def test_an_invoice_is_voided_in_the_screen_once(account: Account) -> None:
    fields: Fields = {"entity": "6001", "subsidiary": "2", "tranDate": "2026-11-20"}
    fields["item"] = {"items": [{"item": "301", "quantity": 1, "rate": 100}]}
    invoice = VENDOR.screen_create(account, "invoice", fields, None)
    VENDOR.screen_create(account, "void", {"invoice": invoice.id}, None)
    assert invoice.fields["status"] == {"id": "V"}
    with pytest.raises(ValueError, match="already been voided"):
        VENDOR.screen_create(account, "void", {"invoice": invoice.id}, None)
