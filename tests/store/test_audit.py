"""The audit trail: refused changes, detected changes."""

import asyncio

import pytest
from sqlalchemy import text

from store import Store
from store.audit import audit_data
from store.errors import Conflict

SUBJECT = "invoice/netsuite/42"


@pytest.fixture
async def trail(store: Store) -> Store:
    """A store in which the subject has four entries."""
    for n in range(1, 5):
        await store.audit.append(SUBJECT, "maya@example.com", "approved", audit_data(n=n, é="ü"))
    return store


async def tamper(store: Store, *statements: str) -> None:
    """Change the trail as someone who owns the tables can: with the triggers out of the way."""
    async with store.database.transaction() as session:
        await session.execute(text("ALTER TABLE audit_trail DISABLE TRIGGER ALL"))
        for statement in statements:
            await session.execute(text(statement))
        await session.execute(
            text("ALTER TABLE audit_trail ENABLE ALWAYS TRIGGER audit_trail_chain")
        )


async def test_entries_are_numbered_and_chained_per_subject(trail: Store) -> None:
    await trail.audit.append("other", "dealthread", "began", audit_data())

    entries = await trail.audit.trail(SUBJECT)

    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert [e.prev_hash for e in entries] == ["", *(e.hash for e in entries[:-1])]
    assert [entry.seq for entry in await trail.audit.trail("other")] == [1]
    assert await trail.audit.verify(SUBJECT) is None
    assert await trail.audit.verify("never seen") is None


async def test_entries_appended_at_once_make_one_chain(store: Store) -> None:
    await asyncio.gather(
        *(store.audit.append(SUBJECT, "dealthread", "act", audit_data(n=n)) for n in range(20))
    )

    assert len(await store.audit.trail(SUBJECT)) == 20
    assert await store.audit.verify(SUBJECT) is None


async def test_numbers_times_and_hashes_of_the_application_are_overruled(store: Store) -> None:
    forged = text(
        "INSERT INTO audit_trail (subject, seq, at, actor, act, data, prev_hash, hash) "
        "VALUES ('s', 77, '2001-01-01', 'me', 'forged', '{}', 'x', 'y')"
    )
    await store.database.run(forged)

    (entry,) = await store.audit.trail("s")

    assert (entry.seq, entry.prev_hash, len(entry.hash)) == (1, "", 64)
    assert entry.at.year > 2001
    assert await store.audit.verify("s") is None


@pytest.mark.parametrize("table", ["audit_trail", "audit_seals"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET subject = 'x'", "DELETE FROM {}", "TRUNCATE {}"], ids=str.split
)
async def test_change_is_refused_even_for_the_superuser(
    trail: Store, table: str, change: str
) -> None:
    await trail.audit.seal_heads()

    with pytest.raises(Conflict, match="append-only"):
        await trail.database.run(text(change.format(table)))

    # As a replica, ordinary triggers are silent; these are not.
    with pytest.raises(Conflict, match="append-only"):
        async with trail.database.transaction() as session:
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            await session.execute(text(change.format(table)))


@pytest.mark.parametrize(
    ("change", "first_broken"),
    [
        ("UPDATE audit_trail SET data = '{\"n\": 9}' WHERE seq = 2", 2),
        ("UPDATE audit_trail SET actor = 'luca@example.com' WHERE seq = 3", 3),
        ("UPDATE audit_trail SET at = at + interval '1 microsecond' WHERE seq = 1", 1),
        ("UPDATE audit_trail SET hash = repeat('0', 64) WHERE seq = 4", 4),
        ("DELETE FROM audit_trail WHERE seq = 2", 2),
        ("DELETE FROM audit_trail WHERE seq = 1", 1),
    ],
    ids=["data", "actor", "time", "hash", "middle", "first"],
)
async def test_tampering_is_detected_at_its_place(
    trail: Store, change: str, first_broken: int
) -> None:
    await tamper(trail, change)

    assert await trail.audit.verify(SUBJECT) == first_broken


class TestSeals:
    async def test_entries_cut_off_at_the_end_are_missed(self, trail: Store) -> None:
        await trail.audit.seal_heads()

        await tamper(trail, "DELETE FROM audit_trail WHERE seq >= 3")

        assert await trail.audit.verify(SUBJECT) == 3

    async def test_chain_computed_anew_contradicts_its_seal(self, trail: Store) -> None:
        await trail.audit.seal_heads()

        await tamper(trail, "DELETE FROM audit_trail WHERE seq = 4")
        await trail.audit.append(SUBJECT, "maya@example.com", "approved", audit_data(n=99))

        assert await trail.audit.verify(SUBJECT) == 4

    async def test_only_what_changed_is_sealed_again(self, trail: Store) -> None:
        first = await trail.audit.seal_heads()
        nothing = await trail.audit.seal_heads()
        await trail.audit.append("other", "dealthread", "began", audit_data())
        second = await trail.audit.seal_heads()

        assert (first.subjects, nothing.subjects, second.subjects) == (1, 0, 1)
        assert first.digest != second.digest


async def test_hostile_text_is_kept_and_still_verifies(store: Store) -> None:
    data = audit_data(name="\x00שלום 🚀 \"'; DROP", long="x" * 9_000, none=None, n=1.5)
    await store.audit.append(SUBJECT, "mäya 1:2", "a\x1fct", data)

    (entry,) = await store.audit.trail(SUBJECT)

    assert "🚀" in entry.data_json
    assert await store.audit.verify(SUBJECT) is None
