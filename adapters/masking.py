"""Masking of secrets and personal data, for log lines, span attributes and error messages.

Best effort by pattern: what must never leak (credentials) is kept in `SecretStr` and not passed
to a logger in the first place; this is the second net.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

MASK: Final = "***"

_NAMES: Final = (
    r"(?:access|refresh|id|session|security|csrf|bearer|auth|api)[_-]?token|token"
    r"|(?:client|consumer|token|shared|webhook|signing)[_-]?secret|secret"
    r"|(?:api|private|access|consumer)[_-]?key|pass(?:word|wd|phrase)|assertion"
    r"|oauth_(?:token|signature|consumer_key)|sessionid|sid|set-cookie|cookie"
)
_VAT_COUNTRIES: Final = (
    "AT|BE|BG|CHE|CY|CZ|DE|DK|EE|EL|ES|FI|FR|GB|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK"
)

_Replacement = str | Callable[[re.Match[str]], str]

_PATTERNS: Final[tuple[tuple[re.Pattern[str], _Replacement], ...]] = (
    # PEM blocks: keys and certificates
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL), MASK),
    # an Authorization header with all that follows its scheme (OAuth 1.0 has commas and quotes)
    (re.compile(r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*)[^\r\n]+"), r"\1" + MASK),
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=!-]{6,}"), r"\1 " + MASK),
    (re.compile(r"(?i)\bOAuth\s+(?=[^\r\n]*oauth_)[^\r\n]+"), "OAuth " + MASK),
    # "name": "value" and name=value; the value ends at its quote, or at the next separator
    (
        re.compile(
            rf"(?i)(?<![A-Za-z0-9])((?:{_NAMES})[\"']?\s*[:=]\s*)"
            r"(?:\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s&,;\"'}\])]+)"
        ),
        r"\1" + MASK,
    ),
    # credentials in a URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@"), r"\1" + MASK + "@"),
    # JSON web tokens, Stripe keys, Salesforce session ids
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]+){1,2}"), MASK),
    (re.compile(r"\b(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{8,}"), MASK),
    (re.compile(r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{8,}"), MASK),
    # e-mail addresses, also percent-encoded in a URL
    (re.compile(r"[\w.!#$'*+~-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), MASK),
    # tax ids: EU, Swiss and British VAT numbers; US EIN and SSN
    (
        re.compile(rf"\b(?:{_VAT_COUNTRIES})[ -]?[A-Z0-9]{{0,2}}\d(?:[ .-]?[A-Z0-9]){{6,10}}\b"),
        lambda match: MASK if sum(map(str.isdigit, match[0])) >= _VAT_DIGITS_MIN else match[0],
    ),
    (re.compile(r"(?<![\w-])(?:\d{2}-\d{7}|\d{3}-\d{2}-\d{4})(?![\w-])"), MASK),
)
_VAT_DIGITS_MIN: Final = 7

_SECRET_KEY: Final = re.compile(rf"(?i)(?:{_NAMES}|(?:proxy-)?authorization)")


def mask(text: str) -> str:
    """Return `text` with secrets and personal data replaced; masking twice changes nothing."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def mask_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return log fields with secret ones blanked and every text masked."""
    return {
        name: MASK
        if _SECRET_KEY.fullmatch(name)
        else mask(value)
        if isinstance(value, str)
        else value
        for name, value in fields.items()
    }
