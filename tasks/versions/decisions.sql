-- publish: flags → what becomes of each sample about which there was something to decide.
--
-- Tables: flags, samples (thin columns), scores. Bound: $remedy, remove or relabel; $rule, in words.
-- A sample that is not listed is kept: nothing spoke against it, or the budget had no room for it.

WITH concerned AS (
    SELECT *, coalesce($remedy = 'relabel' AND suggested_label <> label, false) AS relabels
    FROM flags JOIN samples USING (sample_id)
    WHERE flag OR guard IS NOT NULL OR decided_by IS NOT NULL
),
-- Of these alone: they are few, and a map for every sample would be the largest table of a run.
suspicions AS (
    SELECT sample_id, map_from_entries(list((detector, suspicion) ORDER BY detector)) AS scores
    FROM (
        UNPIVOT (FROM scores SEMI JOIN concerned USING (sample_id))
        ON COLUMNS(* EXCLUDE sample_id) INTO NAME detector VALUE suspicion
    )
    GROUP BY sample_id
)
SELECT
    sample_id,
    CASE WHEN NOT flag THEN 'keep' WHEN relabels THEN 'relabel' ELSE 'remove' END AS decision,
    label AS old_label,
    CASE WHEN flag AND relabels THEN suggested_label END AS new_label,
    reason,
    $rule AS rule,
    rank,
    suspicion,
    scores,
    source,
    "row",
    source_id,
    split,
    coalesce(decided_by, 'rule') AS decided_by,
    decided_at
FROM concerned LEFT JOIN suspicions USING (sample_id)
ORDER BY rank
