"""The connection check: all steps pass on a good account, and each fails where it should."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    Rejected,
    Transient,
)
from adapters.ports import Check, Connected
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.suite import Scene, open_scene

pytestmark = pytest.mark.contract

DEAD = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Broken:
    """One thing wrong with a connection: which step tells, how, and what its remedy speaks of."""

    vendor: str
    step: str
    error: type[AdapterError]
    says: str
    remedy: str
    kind: str = ""
    url: str = ""
    secrets: Mapping[str, str] | None = None
    settings: Mapping[str, JsonValue] | None = None
    fault: Mapping[str, JsonValue] | None = None
    """Which call is refused, and how."""


STEPS = {
    "salesforce": ["reach", "clock", "sign in", "fields", "read"],
    "netsuite": ["reach", "sign in", "permission", "fields", "mappings", "billing"],
}
SIGN_INS = [
    ("salesforce", "client_credentials"),
    ("salesforce", "jwt_bearer"),
    ("netsuite", "token_based"),
    ("netsuite", "client_credentials"),
]
NO_ACCESS: Mapping[str, JsonValue] = {
    "match": {"path": "/query"},
    "options": {
        "errorCode": "INSUFFICIENT_ACCESS_OR_READONLY",
        "message": "no access to opportunities",
        "status": 403,
    },
}
NO_PERMISSION: Mapping[str, JsonValue] = {
    "match": {"path": "suiteql$", "nth": 2},
    "options": {
        "code": "INSUFFICIENT_PERMISSION",
        "detail": "You need the permission Customers",
        "status": 403,
    },
}
BROKEN = {
    "salesforce: nobody answers": Broken(
        "salesforce", "reach", Transient, "could not be reached", "base_url", url=DEAD
    ),
    "salesforce: something else answers": Broken(
        "salesforce", "reach", ContractBroken, "Something else", "base_url", url="netsuite"
    ),
    "salesforce: old version": Broken(
        "salesforce",
        "reach",
        ContractBroken,
        "20.0",
        "base_url",
        settings={"api_version": "v20.0"},
    ),
    "salesforce: wrong secret": Broken(
        "salesforce",
        "sign in",
        Forbidden,
        "invalid client credentials",
        "secret",
        secrets={"client_secret": "wrong"},
    ),
    "salesforce: a user who is not approved": Broken(
        "salesforce",
        "sign in",
        Forbidden,
        "hasn't approved",
        "pre-authorised",
        kind="jwt_bearer",
        settings={"auth": {"username": "someone@example.com"}},
    ),
    "salesforce: a field is missing": Broken(
        "salesforce",
        "fields",
        Invalid,
        "Opportunity.Nope__c",
        "Create the missing fields",
        settings={"opportunity": {"start": "Nope__c"}},
    ),
    "salesforce: a field that it owns cannot be edited": Broken(
        "salesforce",
        "fields",
        Invalid,
        "IsClosed (not editable)",
        "edit",
        settings={"opportunity": {"integration_status": "IsClosed"}},
    ),
    "salesforce: no access": Broken(
        "salesforce", "read", Forbidden, "no access", "read access", fault=NO_ACCESS
    ),
    "netsuite: nobody answers": Broken(
        "netsuite", "reach", Transient, "could not be reached", "base_url", url=DEAD
    ),
    "netsuite: something else answers": Broken(
        "netsuite", "reach", ContractBroken, "Something else", "base_url", url="salesforce"
    ),
    "netsuite: wrong token secret": Broken(
        "netsuite",
        "sign in",
        Forbidden,
        "Login Audit Trail",
        "token",
        secrets={"token_secret": "wrong"},
    ),
    "netsuite: wrong account id": Broken(
        "netsuite",
        "sign in",
        Forbidden,
        "Login Audit Trail",
        "account id",
        settings={"auth": {"account": "1"}},
    ),
    "netsuite: unknown certificate": Broken(
        "netsuite",
        "sign in",
        Forbidden,
        "invalid_client",
        "certificate",
        kind="client_credentials",
        settings={"auth": {"certificate_id": "other"}},
    ),
    "netsuite: no permission": Broken(
        "netsuite",
        "permission",
        Forbidden,
        "permission Customers",
        "View on customers",
        fault=NO_PERMISSION,
    ),
    "netsuite: the field is missing": Broken(
        "netsuite",
        "fields",
        Invalid,
        "custentity_nope",
        "custentity_nope",
        settings={"psa_project_field": "custentity_nope"},
    ),
    "netsuite: an id that does not exist": Broken(
        "netsuite",
        "mappings",
        Invalid,
        "EUR, NET15",
        "settings.currencies",
        settings={"currencies": {"USD": "1", "EUR": "99"}, "terms": {"NET15": "77"}},
    ),
}


@pytest_asyncio.fixture(loop_scope="session")
async def scene(
    request: pytest.FixtureRequest, control: Control
) -> AsyncIterator[Scene[Connected]]:
    """An account of the vendor that the test is about."""
    async with open_scene(control, request.param) as opened:
        yield opened


async def first_failure(adapter: Connected) -> tuple[Check | None, AdapterError | None]:
    for check in adapter.checks():
        try:
            assert await check.run()
        except AdapterError as error:
            return check, error
    return None, None


@pytest.mark.parametrize(("scene", "kind"), SIGN_INS, indirect=["scene"])
async def test_all_steps_pass_on_a_good_account_and_write_nothing(
    scene: Scene[Connected], kind: str
) -> None:
    adapter = await scene.another(kind=kind)

    assert [check.name for check in adapter.checks()] == STEPS[scene.vendor]
    assert await first_failure(adapter) == (None, None)
    calls = await scene.control.calls(scene.vendor, scene.name)
    assert calls
    assert {call["effect"] for call in calls} == {"none"}


@pytest.mark.parametrize(
    ("scene", "broken"),
    [(broken.vendor, broken) for broken in BROKEN.values()],
    ids=BROKEN,
    indirect=["scene"],
)
async def test_what_is_broken_is_told_by_its_step_with_a_remedy(
    scene: Scene[Connected], control: Control, broken: Broken
) -> None:
    urls = await control.vendors()
    adapter = await scene.another(
        kind=broken.kind,
        url=urls.get(broken.url, broken.url),
        secrets=broken.secrets,
        settings=broken.settings,
    )
    if broken.fault is not None:
        await control.add_fault(
            scene.vendor,
            scene.name,
            dict(broken.fault["match"]),  # type: ignore[arg-type]
            FaultKind.REJECT,
            options=broken.fault["options"],
        )

    check, error = await first_failure(adapter)

    assert check is not None
    assert error is not None
    assert check.name == broken.step
    assert type(error) is broken.error
    assert broken.says in str(error)
    assert broken.remedy in check.remedy


@pytest.mark.parametrize(
    ("scene", "module", "step"),
    [
        ("salesforce", "adapters.salesforce.adapter", "clock"),
        ("netsuite", "adapters.netsuite.checks", "reach"),
    ],
    indirect=["scene"],
)
async def test_a_clock_that_is_wrong_is_told(
    scene: Scene[Connected], module: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The servers' clocks are right, so the tolerance is what a test can change.
    monkeypatch.setattr(f"{module}.CLOCK_SKEW_SECONDS_MAX", -1.0)

    check, error = await first_failure(scene.adapter)

    assert check is not None
    assert check.name == step
    assert isinstance(error, Rejected)
    assert "clock" in str(error)
