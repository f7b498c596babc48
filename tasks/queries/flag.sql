-- flag: which training samples are flagged, in what order, and why.
--
-- Tables: scores (sample_id, one suspicion column a detector), gradients (scalars), samples (thin columns).
-- Bound:  $detector, the one that decides; $budget, how many are flagged at most (each detector is said to mark as
--         many); $class_cap, the share of a class that may be flagged at most; $model, held-out or in-sample.

WITH suspicions AS (
    UNPIVOT scores ON COLUMNS(* EXCLUDE sample_id) INTO NAME detector VALUE suspicion
),
ranked AS (
    -- sample_id breaks ties, so that the same scores give the same flags in whatever order rows arrive.
    SELECT *, row_number() OVER (PARTITION BY detector ORDER BY suspicion DESC, sample_id) AS rank
    FROM suspicions
),
marks AS (
    SELECT sample_id, list(detector ORDER BY detector) AS marked_by
    FROM ranked WHERE rank <= $budget GROUP BY sample_id
),
decided AS (
    SELECT sample_id, suspicion, rank, label,
           -- Even a cap of 1 leaves one sample of each class.
           row_number() OVER (PARTITION BY label ORDER BY rank)
               <= least(floor($class_cap * count(*) OVER (PARTITION BY label)), count(*) OVER (PARTITION BY label) - 1)
               AS within_cap
    FROM ranked JOIN samples USING (sample_id)
    WHERE detector = $detector
),
flagged AS (
    SELECT *, within_cap AND sum(within_cap::INT) OVER (ORDER BY rank) <= $budget AS flag
    FROM decided
),
bounded AS (
    SELECT *, max(rank) FILTER (flag) OVER () AS last_flagged FROM flagged
)
SELECT
    sample_id,
    flag,
    rank,
    suspicion,
    $detector AS detector,
    coalesce(marked_by, []) AS marked_by,
    CASE
        WHEN NOT within_cap AND rank <= last_flagged
            THEN format('kept: {} of class {} is the most that may be flagged', $class_cap, label)
        WHEN NOT flag THEN 'kept: below the budget'
        WHEN predicted <> label
            THEN format('given {} (p = {:.3f}), {} model says {} (p = {:.3f}); rank {} by {}{}',
                        label, p_label, $model, predicted, p_predicted, rank, $detector, others)
        ELSE format('given {} (p = {:.3f}) is what the {} model says, but its gradient is far out; rank {} by {}{}',
                    label, p_label, $model, rank, $detector, others)
    END AS reason,
    CASE WHEN predicted <> label THEN predicted END AS suggested_label
FROM bounded
JOIN gradients USING (sample_id)
LEFT JOIN marks USING (sample_id),
LATERAL (
    SELECT list_filter(coalesce(marked_by, []), lambda d: d <> $detector) AS rest,
           CASE WHEN len(rest) > 0 THEN ', also marked by ' || array_to_string(rest, ', ') ELSE '' END AS others
)
ORDER BY rank
