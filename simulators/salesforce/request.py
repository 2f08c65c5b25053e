"""One call of a REST resource, whether it came over the wire or as a part of a composite."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from pydantic import JsonValue

from simulators.kit import Reply
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError, no_resource

VERSION_MIN = 31
VERSION_MAX = 68
RETIRED_MIN = 21
"""Versions 21 to 30 are retired: 410. Below them is nothing at all: 404 (vendor page 1)."""

_ROOT = re.compile(r"/services/data/v(\d{1,3})\.0(/.*)?")
_TRUE = re.compile(r"allowsave\s*=\s*true", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a resource: decoded path segments below the version, headers in lower case."""

    context: Context
    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: JsonValue
    dispatch: "Dispatch"

    def part(self, method: str, url: str, body: JsonValue, headers: Mapping[str, str]) -> "Request":
        """Return a call that is part of this one and shares its transaction.

        Raises:
            ApiError: the URL is not one below `/services/data`.
        """
        return make_request(self.context, method, url, headers, body, self.dispatch)


Dispatch = Callable[[Request], Reply]


def make_request(
    context: Context,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: JsonValue,
    dispatch: Dispatch,
) -> Request:
    """Take a URL apart; the context is the given one with this call's version and options.

    Raises:
        ApiError: no such version.
    """
    path, _, query = url.partition("?")
    match = _ROOT.fullmatch(path)
    if match is None:
        raise no_resource()
    lower = {name.lower(): value for name, value in headers.items()}
    own = replace(
        context,
        api_version=_checked_version(int(match[1])),
        allow_duplicates=bool(_TRUE.search(lower.get("sforce-duplicate-rule-header", ""))),
    )
    return Request(
        context=own,
        method=method,
        segments=path_segments(match[2] or ""),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=lower,
        body=body,
        dispatch=dispatch,
    )


def path_segments(path: str) -> tuple[str, ...]:
    """Return the decoded segments of a path; a slash at its end does not count."""
    trimmed = path.strip("/")
    return tuple(unquote(segment) for segment in trimmed.split("/")) if trimmed else ()


def _checked_version(version: int) -> int:
    if RETIRED_MIN <= version < VERSION_MIN:
        text = f"API version v{version}.0 is retired"
        raise ApiError(410, "UNSUPPORTED_API_VERSION", text)
    if not VERSION_MIN <= version <= VERSION_MAX:
        raise no_resource()
    return version
