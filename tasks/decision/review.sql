-- review: flags → the same as a person wants them.
--
-- Tables: flags (schema SUSPECTS), rows (sample_id, flag, new_label, remedy; of the samples the person has decided about).
-- Bound:  $reviewer, $note, $at; $removes, whether the flagged that nobody relabels are removed, whatever is suggested.

SELECT f.* REPLACE (
    coalesce(r.flag, f.flag) AS flag,
    CASE
        WHEN coalesce(r.flag, f.flag) AND coalesce(r.remedy, CASE WHEN $removes THEN 'remove' END) = 'remove' THEN NULL
        ELSE coalesce(r.new_label, f.suggested_label)
    END AS suggested_label,
    CASE
        WHEN r.sample_id IS NULL THEN f.reason
        ELSE format('{}; {} by {}{}', f.reason, CASE
                        WHEN NOT r.flag THEN 'kept'
                        WHEN r.remedy = 'relabel' THEN 'relabelled'
                        WHEN r.remedy = 'remove' THEN 'removed'
                        ELSE 'confirmed'
                    END, $reviewer,
                    CASE WHEN $note = '' THEN '' ELSE ': ' || $note END)
    END AS reason,
    CASE WHEN r.sample_id IS NOT NULL THEN $reviewer END AS decided_by,
    CASE WHEN r.sample_id IS NOT NULL THEN $at::TIMESTAMP END AS decided_at
)
FROM flags f LEFT JOIN rows r ON f.sample_id = r.sample_id
ORDER BY f.rank
