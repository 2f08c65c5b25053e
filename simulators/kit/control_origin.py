"""The control origin, where tests and the demo watch the simulators, break them and act in them.

`account` is a query parameter; the account `default` is meant where it is left out, except for
`/reset`, which then means all. What is done here meets no faults and is in no call log. Errors are
400 or 404 with `{"error": "..."}`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from simulators.kit.account import Account, is_account_name
from simulators.kit.faults import FaultSpec
from simulators.kit.records import dump_record
from simulators.kit.rows import Record
from simulators.kit.vendor import DEFAULT_ACCOUNT, Vendor
from simulators.kit.world import World

Endpoint = Callable[[web.Request], Awaitable[object]]
WAIT_SECONDS_MAX = 60.0


class ControlError(Exception):
    """The request to the control origin makes no sense; the message says what to change."""

    def __init__(self, message: str, status: int = 400) -> None:
        """Carry message and status."""
        super().__init__(message)
        self.status = status


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReleaseBody(_Body):
    """Which fault to release; all of the account when left out."""

    id: str | None = None


class SeedBody(_Body):
    """What to fill accounts with; at every vendor unless one is named."""

    scenario: str
    count: int = Field(default=1, ge=0)
    seed: int = 1
    vendor: str | None = None


class ClockBody(_Body):
    """How to move an account's clock: frozen or thawed first, then set, then advanced."""

    freeze: bool | None = None
    set: datetime | None = None
    advance_seconds: float | None = None


class LatencyBody(_Body):
    """How long every request takes at least, in milliseconds."""

    ms: float = Field(ge=0)


class NewRecordBody(_Body):
    """A record which a person enters in the vendor's own screen."""

    type: str
    fields: dict[str, JsonValue] = {}
    key: str | None = None


class FieldsBody(_Body):
    """The fields which a person changes in the vendor's own screen."""

    fields: dict[str, JsonValue]


BodyT = TypeVar("BodyT", bound=BaseModel)


def control_app(world: World, urls: Mapping[str, str]) -> web.Application:
    """Return the aiohttp application of the control origin."""
    return _Control(world, urls).app()


class _Control:
    def __init__(self, world: World, urls: Mapping[str, str]) -> None:
        self._world = world
        self._urls = urls

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        endpoints: list[tuple[str, str, Endpoint]] = [
            ("GET", "/healthz", self._healthz),
            ("GET", "/vendors", self._vendors),
            ("POST", "/reset", self._reset),
            ("POST", "/seed", self._seed),
            ("GET", "/clock", self._clock),
            ("POST", "/clock", self._set_clock),
            ("POST", "/latency", self._latency),
            ("GET", "/{vendor}/credentials", self._credentials),
            ("GET", "/{vendor}/records", self._records),
            ("POST", "/{vendor}/records", self._create_record),
            ("PATCH", "/{vendor}/records/{type}/{id}", self._update_record),
            ("DELETE", "/{vendor}/records/{type}/{id}", self._delete_record),
            ("GET", "/{vendor}/calls", self._calls),
            ("POST", "/{vendor}/faults", self._add_fault),
            ("GET", "/{vendor}/faults", self._faults),
            ("GET", "/{vendor}/faults/{id}", self._fault),
            ("DELETE", "/{vendor}/faults", self._clear_faults),
            ("DELETE", "/{vendor}/faults/{id}", self._clear_faults),
            ("POST", "/{vendor}/release", self._release),
            ("POST", "/{vendor}/emit", self._emit),
        ]
        for method, path, endpoint in endpoints:
            app.router.add_route(method, path, _answering(endpoint))
        app.router.add_route("*", "/{path:.*}", _answering(_unknown))
        return app

    async def _healthz(self, request: web.Request) -> object:
        del request
        return {"status": "ok"}

    async def _vendors(self, request: web.Request) -> object:
        del request
        return [{"name": name, "base_url": url} for name, url in self._urls.items()]

    async def _reset(self, request: web.Request) -> object:
        name = request.query.get("account")
        return {"reset": self._world.reset(None if name is None else _valid(name))}

    async def _seed(self, request: web.Request) -> object:
        body = await _body(request, SeedBody)
        names = [body.vendor] if body.vendor is not None else list(self._world.vendors)
        made: dict[str, Mapping[str, JsonValue]] = {}
        for name in names:
            vendor = self._vendor(name)
            account = self._world.account(name, _account_name(request))
            made[name] = vendor.seed(account, body.scenario, body.count, body.seed)
        return made

    async def _clock(self, request: web.Request) -> object:
        clock = self._world.clock(_account_name(request))
        return {"now": clock.now().isoformat(), "frozen": clock.is_frozen}

    async def _set_clock(self, request: web.Request) -> object:
        body = await _body(request, ClockBody)
        clock = self._world.clock(_account_name(request))
        if body.freeze is not None:
            (clock.freeze if body.freeze else clock.thaw)()
        if body.set is not None:
            clock.set(body.set)
        if body.advance_seconds is not None:
            clock.advance(body.advance_seconds)
        return await self._clock(request)

    async def _latency(self, request: web.Request) -> object:
        body = await _body(request, LatencyBody)
        named = request.query.get("vendor")
        for name in [named] if named is not None else list(self._world.vendors):
            self._vendor(name)
            self._world.account(name, _account_name(request)).latency_ms = body.ms
        return {"ms": body.ms}

    async def _credentials(self, request: web.Request) -> object:
        return self._vendor(request.match_info["vendor"]).credentials(_account_name(request))

    async def _records(self, request: web.Request) -> object:
        kind, key = request.query.get("type"), request.query.get("key")
        return [
            dump_record(record)
            for record in self._account(request).store.everything()
            if kind in (None, record.type) and key in (None, record.key)
        ]

    async def _create_record(self, request: web.Request) -> object:
        body = await _body(request, NewRecordBody)
        vendor = self._vendor(request.match_info["vendor"])
        account = self._account(request)
        return dump_record(vendor.screen_create(account, body.type, body.fields, body.key))

    async def _update_record(self, request: web.Request) -> object:
        body = await _body(request, FieldsBody)
        vendor = self._vendor(request.match_info["vendor"])
        record = self._record(request)
        return dump_record(vendor.screen_update(self._account(request), record, body.fields))

    async def _delete_record(self, request: web.Request) -> object:
        vendor = self._vendor(request.match_info["vendor"])
        record = self._record(request)
        vendor.screen_delete(self._account(request), record)
        return dump_record(record)

    async def _calls(self, request: web.Request) -> object:
        since = _integer(request, "since", 0)
        return [entry.view() for entry in self._account(request).calls.since(since)]

    async def _add_fault(self, request: web.Request) -> object:
        spec = await _body(request, FaultSpec)
        return {"id": self._account(request).faults.add(spec).id}

    async def _faults(self, request: web.Request) -> object:
        return [fault.view() for fault in self._account(request).faults.all()]

    async def _fault(self, request: web.Request) -> object:
        """Show one fault; `?hits=n` waits up to `?timeout=` seconds until it was met so often."""
        name = request.match_info["id"]
        fault = self._account(request).faults.get(name)
        if fault is None:
            raise ControlError(f"no fault {name!r}: GET the list, or was it cleared?", 404)
        seconds = min(_integer(request, "timeout", 10), WAIT_SECONDS_MAX)
        try:
            async with asyncio.timeout(seconds):
                await fault.wait(_integer(request, "hits", 0))
        except TimeoutError:
            pass  # the answer shows how many hits there were; the caller judges
        return fault.view()

    async def _clear_faults(self, request: web.Request) -> object:
        name = request.match_info.get("id")
        count = self._account(request).faults.clear(name)
        if name is not None and count == 0:
            raise ControlError(f"no fault {name!r}: GET the list, or was it cleared?", 404)
        return {"cleared": count}

    async def _release(self, request: web.Request) -> object:
        body = await _body(request, ReleaseBody)
        return {"released": self._account(request).faults.release(body.id)}

    async def _emit(self, request: web.Request) -> object:
        vendor = self._vendor(request.match_info["vendor"])
        what = await _json(request)
        if not isinstance(what, dict):
            raise ControlError("the body must be a JSON object")
        return await vendor.emit(self._account(request), what)

    def _vendor(self, name: str) -> Vendor:
        vendor = self._world.vendors.get(name)
        if vendor is None:
            known = ", ".join(self._world.vendors) or "none"
            raise ControlError(f"no vendor {name!r}: there are {known}", 404)
        return vendor

    def _account(self, request: web.Request) -> Account:
        vendor = self._vendor(request.match_info["vendor"])
        return self._world.account(vendor.name, _account_name(request))

    def _record(self, request: web.Request) -> Record:
        kind, name = request.match_info["type"], request.match_info["id"]
        record = self._account(request).store.get(kind, name)
        if record is None:
            raise ControlError(f"no live record {kind} {name} in this account", 404)
        return record


def _answering(endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await endpoint(request))
        except ControlError as error:
            return web.json_response({"error": str(error)}, status=error.status)
        except ValidationError as error:
            return web.json_response({"error": _faulty_fields(error)}, status=400)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer


async def _unknown(request: web.Request) -> object:
    raise ControlError(f"nothing at {request.method} {request.path}", 404)


async def _json(request: web.Request) -> JsonValue:
    raw = await request.read()
    try:
        parsed: JsonValue = json.loads(raw) if raw else {}
    except ValueError as error:
        raise ControlError(f"the body is not JSON: {error}") from error
    return parsed


async def _body(request: web.Request, model: type[BodyT]) -> BodyT:
    return model.model_validate(await _json(request))


def _faulty_fields(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems)


def _account_name(request: web.Request) -> str:
    return _valid(request.query.get("account", DEFAULT_ACCOUNT))


def _valid(name: str) -> str:
    if not is_account_name(name):
        raise ControlError(f"{name[:80]!r} is no account name: letters, digits, . _ - only")
    return name


def _integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if text and not text.isdecimal():
        raise ControlError(f"{name} must be a whole number, not {text!r}")
    return int(text) if text else default
