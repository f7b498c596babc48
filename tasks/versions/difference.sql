-- versions diff: what changed from version a to version b, row by row, and why.
--
-- Tables: a, b (sample_id, split, label), decisions_a, decisions_b (schema DECISIONS).

WITH changed AS (
    SELECT coalesce(a.sample_id, b.sample_id) AS sample_id,
           a.label AS old_label, b.label AS new_label, a.split AS old_split, coalesce(b.split, a.split) AS split
    FROM a FULL JOIN b ON a.sample_id = b.sample_id
    WHERE a.label IS DISTINCT FROM b.label OR a.split IS DISTINCT FROM b.split
),
explained AS (
    SELECT
        CASE
            WHEN c.new_label IS NULL THEN CASE WHEN d2.decision = 'remove' THEN 'removed' ELSE 'gone' END
            WHEN c.old_label IS NULL THEN CASE WHEN d1.decision = 'remove' THEN 'restored' ELSE 'added' END
            WHEN c.old_label = c.new_label THEN 'moved'
            WHEN d1.decision = 'relabel' AND d2.decision IS DISTINCT FROM 'relabel' THEN 'restored'
            ELSE 'relabelled'
        END AS change,
        c.sample_id,
        c.split,
        coalesce(d2.source, d1.source) AS source,
        coalesce(d2."row", d1."row") AS "row",
        c.old_label,
        c.new_label,
        coalesce(d2.rank, d1.rank) AS rank,
        coalesce(d2.suspicion, d1.suspicion) AS suspicion,
        -- The decision that makes the change: b's, or the one of a that stands no longer.
        CASE
            WHEN d2.reason IS NOT NULL THEN d2.reason
            WHEN d1.decision = 'remove' THEN format('no longer removed for: {}', d1.reason)
            WHEN d1.decision = 'relabel' THEN format('no longer relabelled for: {}', d1.reason)
            WHEN c.new_label IS NULL THEN 'not in the source any more'
            WHEN c.old_label IS NULL THEN 'new in the source'
            WHEN c.old_label = c.new_label THEN format('from split {}', c.old_split)
            ELSE 'another label in the source'
        END AS reason,
        coalesce(d2.rule, d1.rule) AS rule,
        coalesce(d2.decided_by, d1.decided_by) AS decided_by,
        coalesce(d2.decided_at, d1.decided_at) AS decided_at
    FROM changed c
    LEFT JOIN decisions_a d1 ON c.sample_id = d1.sample_id
    LEFT JOIN decisions_b d2 ON c.sample_id = d2.sample_id
)
SELECT * FROM explained
ORDER BY list_position(['removed', 'relabelled', 'restored', 'added', 'gone', 'moved'], change), rank, sample_id
