"""What every simulator stands on.

Accounts, records, faults, the call log, the clock and the control origin.
"""

from pydantic import JsonValue

from simulators.kit.account import Account, is_account_name
from simulators.kit.calls import Call, CallEntry, CallLog, Effect, MalformedBody
from simulators.kit.clock import Clock
from simulators.kit.faults import Fault, FaultKind, FaultSet, FaultSpec, MatchSpec
from simulators.kit.records import RecordStore
from simulators.kit.rows import Record
from simulators.kit.stack import SimulatorStack
from simulators.kit.vendor import (
    DEFAULT_ACCOUNT,
    Handler,
    Reply,
    ReplyError,
    Route,
    Vendor,
    secret_for,
)

__all__ = [
    "DEFAULT_ACCOUNT",
    "Account",
    "Call",
    "CallEntry",
    "CallLog",
    "Clock",
    "Effect",
    "Fault",
    "FaultKind",
    "FaultSet",
    "FaultSpec",
    "Handler",
    "JsonValue",
    "MalformedBody",
    "MatchSpec",
    "Record",
    "RecordStore",
    "Reply",
    "ReplyError",
    "Route",
    "SimulatorStack",
    "Vendor",
    "is_account_name",
    "secret_for",
]
