"""Encrypts what Temporal stores: payloads and failure messages, AES-GCM, when a key is configured.

Workflow ids and search attributes stay plain text on the server (DESIGN 11): no names, people or
amounts are in them.
"""

import base64
import binascii
import dataclasses
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

from operations.config import ConfigInvalid

ENCODING: Final = b"binary/encrypted"
NONCE_BYTES: Final = 12
KEY_BYTES: Final = (16, 24, 32)


class EncryptionCodec(PayloadCodec):
    """One key; what was stored before it was configured is read as it is."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return each payload encrypted, with a nonce of its own."""
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return each payload in the clear.

        Raises:
            ValueError: it was encrypted with another key, or tampered with.
        """
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        data = nonce + self._cipher.encrypt(nonce, payload.SerializeToString(), ENCODING)
        return Payload(metadata={"encoding": ENCODING}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        nonce, data = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(self._cipher.decrypt(nonce, data, ENCODING))
        except InvalidTag:
            raise ValueError("a payload was encrypted with another key") from None


class RecordCipher:
    """Encrypts what the store keeps of other people's data: evidence, bodies of events."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, data: bytes) -> bytes:
        """Return a nonce and `data` encrypted with it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def decrypt(self, data: bytes) -> bytes:
        """Return what was encrypted.

        Raises:
            ValueError: it was encrypted with another key, or tampered with.
        """
        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
        except InvalidTag:
            raise ValueError("a record was encrypted with another key") from None


def record_cipher(key: SecretStr | None) -> RecordCipher | None:
    """Return the cipher for records in the store; without a key they are stored as they are.

    Raises:
        ConfigInvalid: the key is not base64 of 16, 24 or 32 bytes.
    """
    return None if key is None else RecordCipher(_key_bytes(key))


def data_converter(key: SecretStr | None) -> DataConverter:
    """Return the converter of workers and clients; with a key, everything is encrypted.

    Raises:
        ConfigInvalid: the key is not base64 of 16, 24 or 32 bytes.
    """
    if key is None:
        return pydantic_data_converter
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(_key_bytes(key)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def _key_bytes(key: SecretStr) -> bytes:
    try:
        found = base64.b64decode(key.get_secret_value(), validate=True)
    except binascii.Error:
        found = b""
    if len(found) not in KEY_BYTES:
        raise ConfigInvalid(
            "worker.codec_key: it must be 16, 24 or 32 random bytes in base64 "
            "(for example from `openssl rand -base64 32`)."
        )
    return found
