"""What Temporal stores is unreadable without the key, and exact with it."""

import base64

import pytest
from pydantic import SecretStr
from temporalio.converter import DefaultFailureConverterWithEncodedAttributes

from canonical.deal import DealLinks
from operations.codec import data_converter
from operations.config import ConfigInvalid

KEY = SecretStr(base64.b64encode(b"k" * 32).decode())
OTHER = SecretStr(base64.b64encode(b"o" * 32).decode())
LINKS = DealLinks(erp_client_id="Zażółć GmbH")


async def test_a_payload_is_unreadable_on_the_server_and_comes_back_exact() -> None:
    converter = data_converter(KEY)
    (stored,) = await converter.encode([LINKS])
    assert "Zażółć".encode() not in stored.SerializeToString()
    assert await converter.decode([stored], [DealLinks]) == [LINKS]


async def test_two_equal_payloads_look_different() -> None:
    converter = data_converter(KEY)
    one, two = await converter.encode([LINKS, LINKS])
    assert one.data != two.data


async def test_what_was_stored_before_the_key_is_still_read() -> None:
    stored = await data_converter(None).encode([LINKS])
    assert await data_converter(KEY).decode(stored, [DealLinks]) == [LINKS]


async def test_another_key_is_refused() -> None:
    stored = await data_converter(KEY).encode([LINKS])
    with pytest.raises(ValueError, match="another key"):
        await data_converter(OTHER).decode(stored, [DealLinks])


async def test_a_tampered_payload_is_refused() -> None:
    (stored,) = await data_converter(KEY).encode([LINKS])
    stored.data = stored.data[:-1] + bytes([stored.data[-1] ^ 1])
    with pytest.raises(ValueError, match="another key"):
        await data_converter(KEY).decode([stored], [DealLinks])


def test_failure_messages_are_covered_too() -> None:
    converter = data_converter(KEY)
    assert converter.failure_converter_class is DefaultFailureConverterWithEncodedAttributes


@pytest.mark.parametrize("key", ["", "not base64!", "c2hvcnQ="])
def test_a_key_that_is_none_is_refused_with_what_to_do(key: str) -> None:
    with pytest.raises(ConfigInvalid, match="32 random bytes in base64"):
        data_converter(SecretStr(key))
