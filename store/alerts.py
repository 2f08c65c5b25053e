"""The states of service-level rules: raised once, however many workers measure, and silences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text

from canonical.alerts import Alert, TellingKind, alert_id
from canonical.model import CanonicalModel
from store.audit import audit_data
from store.database import AnyRow, Database
from store.models import REASON_MAX

ALERTS_LOCK: Final = 0x616C6572
"""Number of the advisory lock under which one worker at a time changes states."""

_DUE = text("""
    SELECT wanted.rule FROM unnest(CAST(:rules AS text[]), CAST(:every AS float8[]))
        AS wanted (rule, every)
    LEFT JOIN alert_rounds AS known ON known.rule = wanted.rule
    WHERE known.rule IS NULL
        OR known.judged_at <= CAST(:now AS timestamptz) - make_interval(secs => wanted.every)
""")

_JUDGED = text("""
    INSERT INTO alert_rounds (rule, judged_at, error) VALUES (:rule, :now, :error)
    ON CONFLICT (rule) DO UPDATE SET judged_at = excluded.judged_at, error = excluded.error
""")

_STATES = text("""
    SELECT state.*, coalesce(silence.until, CAST(NULL AS timestamptz)) AS silenced_until
    FROM alert_states AS state
    LEFT JOIN LATERAL (SELECT max(until) AS until FROM alert_silences
        WHERE alert_silences.rule = state.rule AND alert_silences.entity IN ('', state.entity)
            AND until > CAST(:now AS timestamptz)) AS silence ON true
    WHERE CAST(:rule AS text) = '' OR state.rule = :rule
    ORDER BY state.rule, state.entity
""")

_SILENCED = text("""
    SELECT entity FROM alert_silences
    WHERE rule = :rule AND until > CAST(:now AS timestamptz)
""")

_PUT = text("""
    INSERT INTO alert_states
        (rule, entity, standing, turning_since, told, raised_at, cleared_at, document)
    VALUES (:rule, :entity, :standing, :turning_since, :told, :raised_at, :cleared_at, :document)
    ON CONFLICT (rule, entity) DO UPDATE SET standing = excluded.standing,
        turning_since = excluded.turning_since, told = excluded.told,
        raised_at = excluded.raised_at, cleared_at = excluded.cleared_at,
        document = excluded.document
""")

_TELL = text("INSERT INTO outbox (kind, subject, payload_json) VALUES (:kind, :subject, :payload)")

_GONE = text("""
    DELETE FROM alert_states WHERE NOT rule = ANY(CAST(:rules AS text[]))
""")

_ROUNDS = text("SELECT rule, judged_at, error FROM alert_rounds ORDER BY rule")

_SILENCE = text("""
    WITH silenced AS (
        INSERT INTO alert_silences (rule, entity, until, by, because)
        VALUES (:rule, :entity, :until, :by, :because)
        RETURNING rule
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :subject, :by, 'alert_silenced', CAST(:audit AS jsonb) FROM silenced
""")


class StoredState(CanonicalModel):
    """A rule's alert at one legal entity, as it stands."""

    rule: str
    entity: str
    standing: str
    """`quiet` or `raised`."""
    turning_since: datetime | None = None
    told: bool = False
    raised_at: datetime | None = None
    cleared_at: datetime | None = None
    silenced_until: datetime | None = None
    alert: Alert
    """As it was measured last."""


class Round(CanonicalModel):
    """When a rule was measured last."""

    rule: str
    judged_at: datetime
    error: str = ""
    """Why it could not be measured; empty where it was."""


@dataclass(frozen=True)
class Change:
    """What a measurement makes of a state."""

    state: StoredState
    tell: TellingKind | None
    """What people are told of it."""


Judge = Callable[[Mapping[str, StoredState], Callable[[str], bool]], Sequence[Change]]
"""Takes the states of a rule by legal entity, and what tells whether one is silenced."""


class AlertStore:
    """Keeps the states of alerts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, rules: Mapping[str, float], now: datetime) -> frozenset[str]:
        """Return which rules are to be measured; given are all, with seconds between two rounds."""
        values = {"rules": list(rules), "every": list(rules.values()), "now": now}
        return frozenset(str(row.rule) for row in await self._database.rows(_DUE, values))

    async def judged(self, rule: str, now: datetime, error: str = "") -> None:
        """Put down that a rule was measured, or why it could not be."""
        await self._database.run(_JUDGED, {"rule": rule, "now": now, "error": error[:REASON_MAX]})

    async def change(self, rule: str, now: datetime, judge: Judge) -> tuple[Change, ...]:
        """Change the states of a rule, and write what people are told with them.

        One at a time: the second of two workers finds the states that the first left.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ALERTS_LOCK}
            )
            rows = (await connection.execute(_STATES, {"rule": rule, "now": now})).all()
            silences = (await connection.execute(_SILENCED, {"rule": rule, "now": now})).all()
            silenced = {str(row.entity) for row in silences}
            states = {state.entity: state for state in map(_state, rows)}
            changes = tuple(judge(states, lambda entity: bool(silenced & {"", entity})))
            for change in changes:
                await connection.execute(_PUT, _values(change.state))
                if change.tell is not None:
                    alert = change.state.alert
                    message = {"kind": change.tell, "subject": alert.id}
                    payload = alert.model_dump_json()
                    await connection.execute(_TELL, {**message, "payload": payload})
        return changes

    async def forget_all_but(self, rules: Sequence[str]) -> None:
        """Forget the states of rules that there are no more."""
        await self._database.run(_GONE, {"rules": list(rules)})

    async def states(self, now: datetime) -> tuple[StoredState, ...]:
        """Return all states."""
        rows = await self._database.rows(_STATES, {"rule": "", "now": now})
        return tuple(_state(row) for row in rows)

    async def rounds(self) -> tuple[Round, ...]:
        """Return when each rule was measured last."""
        rows = await self._database.rows(_ROUNDS)
        return tuple(Round.model_validate(row._mapping) for row in rows)

    async def silence(
        self, rule: str, entity: str, *, until: datetime, by: str, because: str
    ) -> None:
        """Let nobody be told of a rule for a while; at all legal entities where none is named."""
        audit = audit_data(rule=rule, entity=entity, until=until.isoformat(), because=because)
        values = {"rule": rule, "entity": entity, "until": until, "by": by}
        subject = {"because": because[:REASON_MAX], "subject": alert_id(rule, entity)}
        await self._database.run(_SILENCE, {**values, **subject, "audit": audit})


def _values(state: StoredState) -> dict[str, object]:
    document = state.alert.model_dump_json()
    return {**state.model_dump(exclude={"alert", "silenced_until"}), "document": document}


def _state(row: AnyRow) -> StoredState:
    known = dict(row._mapping)
    alert = Alert.model_validate_json(str(known.pop("document")))
    return StoredState.model_validate({**known, "alert": alert})
