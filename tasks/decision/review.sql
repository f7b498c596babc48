-- review: flags → the same as a person wants them.
--
-- Tables: flags (schema SUSPECTS), rows (sample_id, flag, new_label; of the samples the person has decided about).
-- Bound:  $reviewer, $note, $at.

SELECT f.* REPLACE (
    coalesce(r.flag, f.flag) AS flag,
    coalesce(r.new_label, f.suggested_label) AS suggested_label,
    CASE
        WHEN r.sample_id IS NULL THEN f.reason
        ELSE format('{}; {} by {}{}', f.reason, CASE WHEN r.flag THEN 'confirmed' ELSE 'kept' END, $reviewer,
                    CASE WHEN $note = '' THEN '' ELSE ': ' || $note END)
    END AS reason,
    CASE WHEN r.sample_id IS NOT NULL THEN $reviewer END AS decided_by,
    CASE WHEN r.sample_id IS NOT NULL THEN $at::TIMESTAMP END AS decided_at
)
FROM flags f LEFT JOIN rows r ON f.sample_id = r.sample_id
ORDER BY f.rank
