import pytest

from adapters.masking import MASK, mask, mask_fields

SECRETS = [
    ("Authorization: Bearer abc.def-ghi", "abc.def"),
    ('Authorization: OAuth realm="1", oauth_token="tok3n", oauth_signature="s1g"', "s1g"),
    ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
    ('{"access_token": "s3cr3t-value", "x": 1}', "s3cr3t"),
    ("grant_type=x&client_secret=hunter22&y=1", "hunter22"),
    ("{'refreshToken': 'r-123'}", "r-123"),
    ("assertion=eyJhbGciOi.eyJpc3MiOi.c2ln", "eyJ"),
    ("token eyJhbGciOiJIUzI1.eyJpc3MiOiJ4.c2lnbmF0 refused", "eyJ"),
    ("key sk_live_abcdefgh12345678", "sk_live"),
    ("session 00Dxx0000001gER!AQ0AQPxyz123456", "AQ0AQ"),
    ("https://user:pa55word@example.com/x", "pa55word"),
    ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
    ("contact anna.b+x@example.co.uk about it", "anna"),
    ("/contacts/anna%40example.com/x", "anna"),
    ("VAT DE123456789 is invalid", "123456789"),
    ("VAT NL123456789B01 is invalid", "123456789"),
    ("VAT ESX1234567X is invalid", "1234567"),
    ("VAT CHE-123.456.789 is invalid", "456"),
    ("EIN 12-3456789 is invalid", "3456789"),
    ("SSN 123-45-6789 is invalid", "6789"),
]

HARMLESS = [
    "deal/sf/0065g00000ABCDEAA4/1:psa_project",
    "The period 2026-10 is closed for entity US01 (2026-11-21).",
    "Field custentity_dt_key has no value; project DE-BER-2026 is open",
    "Unexpected field names at line 3: name, amount",
    "amount 1234567.89 EUR",
]


@pytest.mark.parametrize(("text", "leak"), SECRETS)
def test_secrets_and_personal_data_are_replaced(text: str, leak: str) -> None:
    masked = mask(text)

    assert leak in text
    assert leak not in masked
    assert MASK in masked
    assert mask(masked) == masked


@pytest.mark.parametrize("text", HARMLESS)
def test_business_text_stays_readable(text: str) -> None:
    assert mask(text) == text


def test_what_surrounds_a_secret_is_kept() -> None:
    assert mask('{"access_token": "s3cr3t", "n": 1}') == '{"access_token": ***, "n": 1}'


def test_log_fields_are_masked_by_name_and_by_text() -> None:
    fields = mask_fields({"Authorization": "x", "path": "/u/a@b.example", "status": 200})

    assert fields == {"Authorization": MASK, "path": "/u/" + MASK, "status": 200}
