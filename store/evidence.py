"""Records as they were read, sealed before they are stored (DESIGN 5, Evidence)."""

from typing import Protocol, TypeVar

from canonical.entries import Entry
from canonical.model import CanonicalModel
from store.errors import StoreError

M = TypeVar("M", bound=CanonicalModel)


class Named(CanonicalModel):
    """Whom a record names: all that some need of it, at a tenth of the cost of the whole."""

    person_id: str = ""
    person_email: str = ""


class Cipher(Protocol):
    """Encrypts what must not be readable in the database; the composition provides it."""

    def encrypt(self, data: bytes) -> bytes:
        """Return `data` unreadable, with all that `decrypt` needs."""

    def decrypt(self, data: bytes) -> bytes:
        """Return what was encrypted.

        Raises:
            ValueError: it was encrypted with another key, or tampered with.
        """


class Evidence:
    """Seals and opens records; without a cipher they are stored as plain JSON."""

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    @property
    def encrypted(self) -> bool:
        """Whether what is sealed now is encrypted."""
        return self._cipher is not None

    def seal(self, read: CanonicalModel) -> bytes:
        """Return the record as it is stored."""
        record = read.model_dump_json().encode()
        return record if self._cipher is None else self._cipher.encrypt(record)

    def open(self, record: bytes, encrypted: bool) -> Entry:
        """Return the record as it was read; raises as `read` does."""
        return self.read(record, encrypted, Entry)

    def read(self, record: bytes, encrypted: bool, as_: type[M]) -> M:
        """Return of the record what `as_` asks for.

        Raises:
            StoreError: it is encrypted, and there is no key or another one.
        """
        return as_.model_validate_json(self.text(record, encrypted))

    def text(self, record: bytes, encrypted: bool) -> str:
        """Return the record's JSON as it was sealed; raises as `read` does."""
        if not encrypted:
            return record.decode()
        if self._cipher is None:
            raise StoreError("the evidence is encrypted, and no key is configured")
        try:
            return self._cipher.decrypt(record).decode()
        except ValueError as error:
            raise StoreError("the evidence was encrypted with another key") from error
