"""Moves of an entry version cost one row, not eleven index entries; people are kept by HCM.

PostgreSQL leaves the indexes alone when an update changes no column that one of them names and the
new row fits beside the old one. So the indexes name where a version stands, which is the same from
its claim to its hand-over, instead of its state, which is not; and pages keep room.
"""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

GONE = (
    "uq_entry_versions_live",
    "uq_entry_versions_waiting",
    "ix_entry_versions_claimable",
    "ix_entry_versions_project",
    "ix_entry_versions_expenses",
)

UP = (
    """
    ALTER TABLE entry_versions ADD COLUMN standing text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN state IN ('waiting', 'withdrawn') THEN state ELSE 'live' END) STORED
    """,
    "ALTER TABLE entry_versions SET (fillfactor = 50)",
    *(f"DROP INDEX {index}" for index in GONE),
    """
    CREATE UNIQUE INDEX uq_entry_versions_standing
    ON entry_versions (source, kind, entry_id, standing) WHERE standing <> 'withdrawn'
    """,
    """
    CREATE INDEX ix_entry_versions_claimable
    ON entry_versions (source, project_id, approved_at, entry_id, kind)
    WHERE standing = 'live' AND run_key IS NULL
    """,
    "CREATE INDEX ix_entry_versions_project ON entry_versions (source, project_id)",
    """
    CREATE INDEX ix_entry_versions_expenses ON entry_versions (source, project_id)
    WHERE kind = 'expense' AND standing = 'live'
    """,
    "ALTER TABLE workers DROP CONSTRAINT pk_workers",
    "ALTER TABLE workers ADD CONSTRAINT pk_workers PRIMARY KEY (source, email, valid_from)",
)

DOWN = (
    # The later reading of two HCMs was the one that stood.
    """
    DELETE FROM workers AS worker USING workers AS later
    WHERE worker.email = later.email AND worker.valid_from = later.valid_from
        AND (worker.read_at, worker.source) < (later.read_at, later.source)
    """,
    "ALTER TABLE workers DROP CONSTRAINT pk_workers",
    "ALTER TABLE workers ADD CONSTRAINT pk_workers PRIMARY KEY (email, valid_from)",
    "DROP INDEX uq_entry_versions_standing",
    "DROP INDEX ix_entry_versions_claimable",
    "DROP INDEX ix_entry_versions_project",
    "DROP INDEX ix_entry_versions_expenses",
    "ALTER TABLE entry_versions DROP COLUMN standing",
    "ALTER TABLE entry_versions RESET (fillfactor)",
    """
    CREATE UNIQUE INDEX uq_entry_versions_live ON entry_versions (source, kind, entry_id)
    WHERE state NOT IN ('waiting', 'withdrawn')
    """,
    """
    CREATE UNIQUE INDEX uq_entry_versions_waiting ON entry_versions (source, kind, entry_id)
    WHERE state = 'waiting'
    """,
    """
    CREATE INDEX ix_entry_versions_claimable
    ON entry_versions (source, project_id, approved_at, entry_id, kind) WHERE state = 'approved'
    """,
    "CREATE INDEX ix_entry_versions_project ON entry_versions (source, project_id, state)",
    """
    CREATE INDEX ix_entry_versions_expenses ON entry_versions (source, project_id)
    WHERE kind = 'expense' AND state NOT IN ('waiting', 'withdrawn')
    """,
)


def upgrade() -> None:
    """Let indexes name the standing; key people by HCM too."""
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    """Put the old indexes and the old key back; of two HCMs' people the later ones stay."""
    for statement in DOWN:
        op.execute(statement)
