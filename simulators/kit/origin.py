"""One vendor's origin: takes requests, applies faults, answers or drops the connection.

A handler goes on when its client has gone away (aiohttp's default), so a held write lands late as
at a real vendor.
"""

import asyncio
import json
import logging
import time
from functools import partial

from aiohttp import web

from simulators.kit.account import Account, is_account_name
from simulators.kit.calls import Call, MalformedBody
from simulators.kit.faults import Facts, Fault, FaultKind, FaultSpec
from simulators.kit.vendor import DEFAULT_ACCOUNT, Handler, Reply, ReplyError, Route, Vendor
from simulators.kit.world import World

BODY_BYTES_MAX = 64 * 1024 * 1024

_log = logging.getLogger(__name__)
_CROWDED = Fault("concurrency", FaultSpec(kind=FaultKind.RATE_LIMIT))


class VendorOrigin:
    """Serves one vendor for all its accounts."""

    def __init__(self, vendor: Vendor, world: World) -> None:
        """Bind a vendor to the accounts of a stack."""
        self._vendor = vendor
        self._find_account = partial(world.account, vendor.name)

    def app(self) -> web.Application:
        """Return the aiohttp application.

        A path that no route serves gets the vendor's own 404.
        """
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for route in self._vendor.routes():
            app.router.add_route(route.method, route.path, partial(self._serve, route))
        unknown = Route("*", "/{path:.*}", self._not_found, public=True)
        app.router.add_route("*", unknown.path, partial(self._serve, unknown))
        return app

    async def _not_found(self, call: Call) -> Reply:
        return self._vendor.not_found_reply(call)

    async def _serve(self, route: Route, request: web.Request) -> web.Response:
        call = _call(request, await request.read())
        call.vendor_accounts = self._find_account
        refusal: Reply | None = None
        try:
            name = (self._vendor.account_of if route.public else self._vendor.authenticate)(call)
        except ReplyError as error:
            name, refusal = error.account or DEFAULT_ACCOUNT, error.reply
        if route.public and not is_account_name(name):
            name = DEFAULT_ACCOUNT  # unchecked so far: the handler will refuse it
        account = call.account = self._find_account(name)
        self._enter(call, account)
        started = time.perf_counter()
        try:
            reply = refusal or await self._perform(route.handler, call, account)
        finally:
            account.in_flight -= 1
            if call.entry is not None:
                call.entry.finished = True
                call.entry.seconds = round(time.perf_counter() - started, 6)
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if call.entry is not None:
            call.entry.status = reply.status
        return _response(reply)

    def _enter(self, call: Call, account: Account) -> None:
        account.in_flight += 1
        call.in_flight = account.in_flight
        try:
            call.keys = self._vendor.request_keys(call)
            search = self._vendor.is_search(call)
        except MalformedBody:  # the handler will say so in the vendor's words
            search = False
        call.entry = account.calls.open(call, account.clock.now(), search)

    async def _perform(self, handler: Handler, call: Call, account: Account) -> Reply | None:
        """Return the reply, or None when the connection is to be dropped."""
        limit = self._vendor.concurrency_limit(account)
        if limit is not None and call.in_flight > limit:
            return self._vendor.fault_reply(FaultKind.RATE_LIMIT, call, _CROWDED)
        if account.latency_ms:
            await asyncio.sleep(account.latency_ms / 1000)
        if call.entry is None:
            raise RuntimeError("a call is logged before it is performed")
        for fault in account.faults.strike(call.entry.n, _facts(call, call.entry.search)):
            call.entry.fault = fault.kind.value
            if fault.kind is FaultKind.SLOW:
                await asyncio.sleep(fault.spec.seconds)
            else:
                return await self._struck(fault, handler, call)
        return await self._run(handler, call)

    async def _struck(self, fault: Fault, handler: Handler, call: Call) -> Reply | None:
        match fault.kind:
            case FaultKind.DROP_BEFORE:
                return None
            case FaultKind.DROP_AFTER:
                await self._run(handler, call)
                return None
            case FaultKind.FAIL_AFTER:
                await self._run(handler, call)
            case FaultKind.HOLD:
                return await self._held(fault, handler, call)
            case _:
                pass
        return self._vendor.fault_reply(fault.kind, call, fault)

    async def _held(self, fault: Fault, handler: Handler, call: Call) -> Reply | None:
        if fault.spec.effect == "before":
            reply = await self._run(handler, call)
            return reply if await fault.hold() else None
        return await self._run(handler, call) if await fault.hold() else None

    async def _run(self, handler: Handler, call: Call) -> Reply:
        before = call.account.faults.hidden_so_far()
        try:
            return await handler(call)
        except ReplyError as error:
            return error.reply
        except MalformedBody as error:
            return self._vendor.malformed_reply(call, str(error))
        except (
            Exception
        ) as error:  # a simulator's own defect must reach the test as words, not as silence
            _log.exception("%s simulator: %s %s", self._vendor.name, call.method, call.path)
            return Reply(500, {"error": f"defect in the simulator: {error!r}"})
        finally:
            if before and call.entry is not None:
                call.account.faults.note_hidden(call.entry.n, before)


def _call(request: web.Request, body: bytes) -> Call:
    url = request.rel_url
    return Call(
        method=request.method,
        path=url.path,
        raw_path=url.raw_path,
        query_string=url.raw_query_string,
        query_pairs=list(url.query.items()) if url.raw_query_string else [],
        headers=request.headers,
        body=body,
        params=request.match_info,
        origin=f"{request.scheme}://{request.host}",
    )


def _facts(call: Call, search: bool) -> Facts:
    query = f"?{call.query_string}" if call.query_string else ""
    return Facts(
        method=call.method,
        path=call.path,
        path_qs=call.raw_path + query,
        keys=call.keys,
        correlation=call.headers.get("X-Correlation-Id") or "",
        write=call.method not in {"GET", "HEAD", "OPTIONS"} and not search,
    )


def _response(reply: Reply) -> web.Response:
    body = reply.body
    if body is None:
        return web.Response(status=reply.status, headers=reply.headers)
    headers = {"Content-Type": "application/json", **reply.headers}
    if isinstance(body, str):
        raw = body.encode()
    elif isinstance(body, bytes):
        raw = body
    else:
        raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return web.Response(status=reply.status, body=raw, headers=headers)
