"""The SQL of backfills: what is kept of them, and how outcomes are seen, one statement a tick."""

from sqlalchemy import text

NEXT_NUMBER = text("""
    SELECT coalesce(max(CAST(substring(id FROM '/([0-9]{1,9})$') AS int)), 0) + 1 AS number
    FROM backfills WHERE kind = :kind
""")

OPEN = text("""
    WITH opened AS (
        INSERT INTO backfills
            (id, kind, connection, since, until, filter, state, rate, in_flight_max, begun_by)
        VALUES (:id, :kind, :connection, :since, :until, :filter, :state, :rate, :in_flight_max,
            :by)
        ON CONFLICT DO NOTHING RETURNING id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT id, coalesce(nullif(:by, ''), 'dealthread'), 'backfill_began', CAST(:audit AS jsonb)
    FROM opened
""")

NOTE = text("""
    UPDATE backfills SET state = :state, rate = :rate, in_flight_max = :in_flight_max, why = :why,
        ended_at = CASE WHEN :ended THEN coalesce(ended_at, now()) END
    WHERE id = :id
""")

AUDIT = text("""
    INSERT INTO audit_trail (subject, actor, act, data)
    VALUES (:id, :actor, :act, CAST(:data AS jsonb))
""")

KEEP = text("""
    INSERT INTO backfill_records (backfill, record, target, day, amount, currency, version, state,
        why, planned, workflow_id, generation, followed)
    SELECT :id, given.record, given.target, given.day, given.amount, given.currency,
        given.version, given.state, given.why, given.state, given.workflow_id, given.generation,
        given.followed
    FROM ROWS FROM (jsonb_to_recordset(CAST(:rows AS jsonb)) AS (record text, target text,
        day date, amount numeric, currency text, version text, state text, why text,
        workflow_id text, generation int, followed boolean)) WITH ORDINALITY
        AS given(record, target, day, amount, currency, version, state, why, workflow_id,
            generation, followed, n)
    ORDER BY given.n
    ON CONFLICT (backfill, record) DO NOTHING
""")

# A saga that carries this backfill's correlation id was started by it, any other was adopted. Work
# items of the kinds that a saga itself opens: the others only watch.
SEE_SAGAS = text("""
    UPDATE backfill_records AS record
    SET state = seen.state, why = seen.why,
        ended_at = CASE WHEN seen.ended THEN coalesce(record.ended_at, now()) END
    FROM (
        SELECT followed.id,
            CASE
                WHEN saga.outcome IN ('completed', 'completed_with_residue') THEN
                    CASE WHEN saga.correlation_id = followed.backfill || '/' || followed.target
                        THEN 'completed' ELSE 'adopted' END
                WHEN saga.outcome IS NOT NULL THEN 'rejected'
                WHEN item.step IS NOT NULL THEN 'parked'
                ELSE 'under_way'
            END AS state,
            CASE
                WHEN saga.outcome IN ('completed', 'completed_with_residue') THEN ''
                WHEN saga.outcome IS NOT NULL THEN saga.outcome || ': ' || saga.reason
                WHEN item.step IS NOT NULL THEN item.step || ': ' || item.message
                ELSE ''
            END AS why,
            saga.outcome IS NOT NULL AS ended
        FROM backfill_records AS followed
        CROSS JOIN LATERAL (
            SELECT outcome, reason, correlation_id FROM saga_generations
            WHERE workflow_id = followed.workflow_id AND generation > followed.generation
            ORDER BY generation DESC LIMIT 1
        ) AS saga
        LEFT JOIN LATERAL (
            SELECT step, left(CAST(item_json AS jsonb) #>> '{failure,message}', 1500) AS message
            FROM work_items
            WHERE workflow_id = followed.workflow_id AND state = 'open'
                AND kind IN ('step', 'gate', 'undo')
            ORDER BY opened_at LIMIT 1
        ) AS item ON true
        WHERE followed.backfill = :id AND followed.followed
            AND followed.state NOT IN ('completed', 'adopted', 'already_done')
    ) AS seen
    WHERE record.id = seen.id AND (record.state, record.why) IS DISTINCT FROM (seen.state, seen.why)
""")

# An entry goes to a billing run, and with it, or is held. One that no run took although one that
# began after it was sent has ended, was not fit to be billed.
SEE_ENTRIES = text("""
    UPDATE backfill_records AS record
    SET state = seen.state, why = seen.why,
        ended_at = CASE WHEN seen.state IN ('completed', 'adopted', 'rejected')
            THEN coalesce(record.ended_at, now()) END
    FROM (
        SELECT followed.id,
            CASE
                WHEN entry.handed_over_at IS NOT NULL THEN
                    CASE WHEN followed.planned = 'planned' THEN 'completed' ELSE 'adopted' END
                WHEN hold.reason IS NOT NULL OR item.step IS NOT NULL THEN 'parked'
                WHEN entry.run_key IS NULL AND run.outcome IS NOT NULL THEN 'rejected'
                ELSE 'under_way'
            END AS state,
            CASE
                WHEN entry.handed_over_at IS NOT NULL THEN ''
                WHEN hold.reason IS NOT NULL THEN hold.reason || ': ' || hold.because
                WHEN item.step IS NOT NULL THEN item.step || ': ' || item.message
                WHEN entry.run_key IS NULL AND run.outcome IS NOT NULL THEN
                    'not in billing run ' || run.number || ', which ended as ' || run.outcome
                ELSE ''
            END AS why
        FROM backfill_records AS followed
        JOIN backfills AS backfill ON backfill.id = followed.backfill
        LEFT JOIN LATERAL (
            SELECT handed_over_at, run_key FROM entry_versions
            WHERE source = backfill.connection AND kind = split_part(followed.record, ':', 1)
                AND entry_id = split_part(followed.record, ':', 2)
                AND version = followed.version AND state <> 'withdrawn'
            LIMIT 1
        ) AS entry ON true
        LEFT JOIN LATERAL (
            SELECT reason, because FROM holds
            WHERE source = backfill.connection AND kind = split_part(followed.record, ':', 1)
                AND entry_id = split_part(followed.record, ':', 2) AND released_at IS NULL
            ORDER BY id LIMIT 1
        ) AS hold ON true
        LEFT JOIN LATERAL (
            SELECT number, saga.outcome FROM billing_runs
            JOIN saga_generations AS saga ON saga.workflow_id = run_key
                AND saga.generation = billing_runs.generation
            WHERE psa = backfill.connection AND project_id = followed.target
                AND billing_runs.opened_at > followed.started_at
            ORDER BY number DESC LIMIT 1
        ) AS run ON true
        LEFT JOIN LATERAL (
            SELECT step, left(CAST(item_json AS jsonb) #>> '{failure,message}', 1500) AS message
            FROM work_items
            WHERE workflow_id = entry.run_key AND state = 'open'
                AND kind IN ('step', 'gate', 'undo')
            ORDER BY opened_at LIMIT 1
        ) AS item ON true
        WHERE followed.backfill = :id AND followed.followed
            AND followed.state NOT IN ('starting', 'completed', 'adopted', 'already_done')
    ) AS seen
    WHERE record.id = seen.id AND (record.state, record.why) IS DISTINCT FROM (seen.state, seen.why)
""")

# Targets that are in flight already but not known to run come first: an earlier attempt marked
# them, and may have been killed before it started them.
TAKE = text("""
    WITH flight AS (
        SELECT count(DISTINCT target) AS targets FROM backfill_records
        WHERE backfill = :id AND state IN ('starting', 'under_way') AND started_at IS NOT NULL
    ), next AS (
        SELECT target, min(id) AS first FROM backfill_records
        WHERE backfill = :id AND state = 'planned'
        GROUP BY target ORDER BY first
        LIMIT (SELECT greatest(0, least(:start_max, :in_flight_max - targets)) FROM flight)
    ), taken AS (
        UPDATE backfill_records AS record
        SET state = 'starting', started_at = clock_timestamp(), followed = true
        FROM next
        WHERE record.backfill = :id AND record.target = next.target AND record.state = 'planned'
        RETURNING record.id, record.target, record.record, record.workflow_id
    ), all_of_them AS (
        SELECT * FROM taken
        UNION ALL
        SELECT id, target, record, workflow_id FROM backfill_records
        WHERE backfill = :id AND state = 'starting'
    )
    SELECT target, array_agg(record ORDER BY id) AS records, max(workflow_id) AS workflow_id
    FROM all_of_them GROUP BY target ORDER BY min(id)
""")

STARTED = text("""
    UPDATE backfill_records SET state = 'under_way', workflow_id = :workflow_id
    WHERE backfill = :id AND target = :target AND state = 'starting'
""")

REFUSE = text("""
    UPDATE backfill_records
    SET state = 'rejected', why = :why, followed = false, ended_at = now()
    WHERE backfill = :id AND target = :target AND state = 'starting'
""")

GIVE_UP = text("""
    UPDATE backfill_records SET state = 'not_started', why = 'the backfill was cancelled',
        ended_at = now()
    WHERE backfill = :id AND state = 'planned'
""")

COUNTS = text("""
    SELECT state, currency, count(*) AS records, sum(amount) AS amount FROM backfill_records
    WHERE backfill = :id GROUP BY state, currency ORDER BY state, currency NULLS FIRST
""")

IN_FLIGHT = text("""
    SELECT count(DISTINCT target) AS in_flight FROM backfill_records
    WHERE backfill = :id AND state IN ('starting', 'under_way') AND started_at IS NOT NULL
""")

LIST = text("""
    SELECT * FROM backfills WHERE :id = '' OR id = :id ORDER BY begun_at DESC, id LIMIT :limit
""")

RECORDS = text("""
    SELECT * FROM backfill_records WHERE backfill = :id AND id > :after ORDER BY id LIMIT :limit
""")

KNOWN_SAGAS = text("""
    SELECT saga.workflow_id, saga.generation, saga.outcome, saga.reason,
        coalesce(item.step || ': ' || item.message, '') AS parked
    FROM unnest(CAST(:ids AS text[])) AS given(workflow_id)
    CROSS JOIN LATERAL (
        SELECT * FROM saga_generations WHERE workflow_id = given.workflow_id
        ORDER BY generation DESC LIMIT 1
    ) AS saga
    LEFT JOIN LATERAL (
        SELECT step, left(CAST(item_json AS jsonb) #>> '{failure,message}', 1500) AS message
        FROM work_items
        WHERE workflow_id = given.workflow_id AND state = 'open'
            AND kind IN ('step', 'gate', 'undo')
        ORDER BY opened_at LIMIT 1
    ) AS item ON true
""")

KNOWN_ENTRIES = text("""
    SELECT given.record, coalesce(entry.version = given.version, false) AS same,
        coalesce(entry.handed_over_at IS NOT NULL, false) AS handed_over,
        coalesce(entry.run_key IS NOT NULL, false) AS in_run,
        coalesce(hold.reason || ': ' || hold.because, '') AS held
    FROM unnest(CAST(:records AS text[]), CAST(:versions AS text[])) AS given(record, version)
    CROSS JOIN LATERAL (
        SELECT version, handed_over_at, run_key FROM entry_versions
        WHERE source = :psa AND kind = split_part(given.record, ':', 1)
            AND entry_id = split_part(given.record, ':', 2) AND state <> 'withdrawn'
        ORDER BY (version = given.version) DESC, id DESC LIMIT 1
    ) AS entry
    LEFT JOIN LATERAL (
        SELECT reason, because FROM holds
        WHERE source = :psa AND kind = split_part(given.record, ':', 1)
            AND entry_id = split_part(given.record, ':', 2) AND released_at IS NULL
        ORDER BY id LIMIT 1
    ) AS hold ON true
""")

# As `activities.engaging` would find one, which makes an engagement and so is none for a dry run.
BILLED_PROJECTS = text("""
    SELECT given.project FROM unnest(CAST(:projects AS text[])) AS given(project)
    WHERE EXISTS (SELECT FROM engagements WHERE psa = :psa AND project_id = given.project)
        OR EXISTS (
            SELECT FROM cross_references AS reference
            JOIN saga_generations AS saga USING (workflow_id, generation)
            WHERE reference.system = :psa AND reference.record_type = 'project'
                AND reference.record_id = given.project
                AND reference.step = 'provision_psa_project' AND reference.undone_at IS NULL
                AND saga.outcome IN ('completed', 'completed_with_residue'))
""")
