-- flag: which training samples are flagged, in what order, and why.
--
-- Tables: scores (sample_id, one suspicion column a detector), gradients (scalars), samples (thin columns and class),
--         advice (rare, support, recognised, p_wrong, suggested_label, p_suggested).
-- Bound:  $detector, the one that decides; $budget, up to which rank one is flagged (each detector is said to mark as
--         many); $class_cap and $group_cap, the share of a class or group that may be flagged at most; $rare, keep or
--         list or off; $model, held-out or in-sample; $suggests, whether it says
--         which label it would give.

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
-- Whom a guard keeps takes no room of the caps of the guards below it. Running counts are sums: DuckDB counts a
-- filtered window anew for every row.
unguarded AS (
    SELECT sample_id, suspicion, rank, class, "group",
           -- A response may be as long as a page.
           CASE WHEN length(label) > 80 THEN left(label, 79) || '…' ELSE label END AS label,
           support, p_wrong, suggested_label, p_suggested,
           rare AND $rare <> 'off' AS is_rare,
           NOT recognised AND $rare <> 'off' AS is_unknown,
           is_unknown OR (rare AND $rare = 'keep') AS protected,
           -- Even a cap of 1 leaves one sample of each class. A group may go as a whole: no network needs it.
           least(floor($class_cap * count(*) OVER (PARTITION BY class) + 1e-9), count(*) OVER (PARTITION BY class) - 1)
               AS class_room,
           CASE WHEN "group" IS NOT NULL THEN floor($group_cap * count(*) OVER (PARTITION BY "group") + 1e-9) END AS group_room
    FROM ranked JOIN samples USING (sample_id) JOIN advice USING (sample_id)
    WHERE detector = $detector
),
within_group AS (
    SELECT *, NOT protected AND coalesce(
        sum((NOT protected)::INT) OVER (PARTITION BY "group" ORDER BY rank) <= group_room, true
    ) AS in_group
    FROM unguarded
),
within_class AS (
    SELECT *, in_group AND sum(in_group::INT) OVER (PARTITION BY class ORDER BY rank) <= class_room AS free
    FROM within_group
),
-- A place that a guard frees stays empty: whoever is below the budget is less suspect than it takes to be flagged.
decided AS (
    SELECT *,
           free AND rank <= $budget AS flag,
           CASE
               WHEN rank > $budget THEN NULL
               WHEN free THEN CASE WHEN is_rare THEN 'rare' END
               WHEN is_unknown THEN 'unrecognised'
               WHEN protected THEN 'rare'
               WHEN in_group THEN 'class_cap'
               ELSE 'group_cap'
           END AS guard
    FROM within_class
),
worded AS (
    SELECT * EXCLUDE marked_by,
           coalesce(marked_by, []) AS markers,
           format('far from class {}, but {} of its nearest bear that label and are recognised: likely rare and valid',
                  class, support) AS rarity,
           coalesce(format('; wrong with p = {:.3f}', p_wrong), '')
               || coalesce(format(', {} with p = {:.3f}', suggested_label, p_suggested),
                           format('; {} suggested', suggested_label), '') AS thoughts,
           list_filter(markers, lambda d: d <> $detector) AS rest,
           CASE WHEN len(rest) > 0 THEN ', also marked by ' || array_to_string(rest, ', ') ELSE '' END
               || CASE WHEN guard = 'rare' THEN '; ' || rarity ELSE '' END AS others
    FROM decided JOIN gradients USING (sample_id) LEFT JOIN marks USING (sample_id)
)
SELECT
    sample_id,
    flag,
    rank,
    suspicion,
    $detector AS detector,
    markers AS marked_by,
    CASE
        WHEN guard = 'unrecognised'
            THEN format('kept: neither the network nor the neighbours recognise class {}; it may be wrong or rare', class)
        WHEN guard = 'rare' AND NOT flag THEN format('kept: {}', rarity)
        WHEN guard = 'group_cap' THEN format('kept: {} of group {} is the most that may be flagged', $group_cap, "group")
        WHEN guard = 'class_cap' THEN format('kept: {} of class {} is the most that may be flagged', $class_cap, class)
        WHEN NOT flag THEN 'kept: below the budget'
        -- Of a response no other is proposed.
        WHEN NOT $suggests
            THEN format('{} model gives {} p = {:.3f} a token; rank {} by {}{}',
                        $model, label, p_label, rank, $detector, others)
        WHEN predicted <> label
            THEN format('given {} (p = {:.3f}), {} model says {} (p = {:.3f}){}; rank {} by {}{}',
                        label, p_label, $model, predicted, p_predicted, thoughts, rank, $detector, others)
        ELSE format('given {} (p = {:.3f}) is what the {} model says, but other evidence is against it{}; '
                        || 'rank {} by {}{}',
                    label, p_label, $model, thoughts, rank, $detector, others)
    END AS reason,
    guard,
    p_wrong,
    suggested_label,
    p_suggested,
    NULL AS decided_by,
    NULL AS decided_at
FROM worded
ORDER BY rank
