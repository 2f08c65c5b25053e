"""The people who book time, and the projects of the "time" scenarios."""

from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Account
from simulators.netsuite.reading import Reader
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.state import Fields
from simulators.netsuite.writing import Writer


@dataclass(frozen=True)
class _Person:
    number: str
    first: str
    last: str
    title: str
    subsidiary: str
    labor_cost: float


_PEOPLE = (
    _Person("55", "Nora", "Lind", "Controller", "2", 55.0),
    _Person("56", "Tom", "Reyes", "Controller", "2", 55.0),
    _Person("103", "Maya", "Chen", "Principal", "2", 95.0),
    _Person("104", "Luca", "Rossi", "Consultant", "3", 62.5),
    _Person("105", "Aiko", "Tanaka", "Consultant", "4", 7800),
    _Person("106", "Priya", "Nair", "Engineer", "2", 70.0),
    _Person("107", "Jonas", "Weber", "Principal", "3", 88.0),
    _Person("108", "Sam", "Okoro", "Analyst", "2", 48.75),
)
"""Labor cost per hour, in the base currency of the subsidiary that employs them."""
_FIRST_CLIENT, _FIRST_PROJECT = 6001, 7001
_BY_CURRENCY = (("1", "2"), ("2", "3"), ("3", "3"), ("4", "4"))
"""Currency and subsidiary of every fourth project."""


def set_up_people(account: Account) -> None:
    """Add the employees; a name gives the address."""
    for person in _PEOPLE:
        fields: Fields = {
            "entityId": f"{person.first} {person.last}",
            "firstName": person.first,
            "lastName": person.last,
            "email": f"{person.first}.{person.last}@example.com".lower(),
            "title": person.title,
            "subsidiary": {"id": person.subsidiary},
            "laborCost": person.labor_cost,
            "isInactive": False,
        }
        account.store.insert("employee", fields, id=person.number)


def seed_projects(account: Account, count: int) -> list[JsonValue]:
    """Add customers and projects, and return the ids of the projects."""
    writer = Writer(Reader(account))
    made: list[JsonValue] = []
    for index in range(count):
        currency, subsidiary = _BY_CURRENCY[index % 4]
        number = f"{index + 1:04}"
        where: Fields = {"subsidiary": {"id": subsidiary}, "currency": {"id": currency}}
        client: Fields = {"companyName": f"Time client {number}", "terms": {"id": "2"}, **where}
        parent = writer.create(
            RECORD_TYPES["customer"],
            client,
            f"TIME-CLIENT-{number}",
            str(_FIRST_CLIENT + index),
        )
        project: Fields = {"companyName": f"Time project {number}", "parent": {"id": parent.id}}
        project |= {**where, "jobBillingType": {"id": "1"}}
        job = writer.create(
            RECORD_TYPES["job"],
            project,
            f"TIME-PROJECT-{number}",
            str(_FIRST_PROJECT + index),
        )
        made.append(job.id)
    return made
