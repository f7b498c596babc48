-- verify: held-out predictions of every arm and seed → one row for all samples, for all that are not suspect themselves,
-- for all that have no copy in training (where some have), for all but the few that the figure hangs on (where there
-- are such), for each class and for each group.
-- Tables: predictions (arm, seed, trained_on, sample_id, class, a credit of each part, for that of a number depends on
--         the part's labels), members (sample_id, "group", suspect, is_seen, is_few),
--         calibration (arm, seed, "by", calibration_error).

WITH known AS (
    SELECT predictions.*, "group", suspect, is_seen, is_few
    FROM predictions LEFT JOIN members USING (sample_id)
),
parts AS (
    SELECT 'all' AS "by", '' AS name, *, all_credit AS credit FROM known
    UNION ALL
    SELECT 'trusted', '', *, trusted_credit FROM known WHERE NOT coalesce(suspect, false)
    UNION ALL
    SELECT 'unseen', '', *, unseen_credit FROM known WHERE NOT is_seen AND (SELECT bool_or(is_seen) FROM known)
    UNION ALL
    SELECT 'usual', '', *, usual_credit FROM known WHERE NOT is_few AND (SELECT bool_or(is_few) FROM known)
    UNION ALL
    SELECT 'class', class, *, all_credit FROM known
    UNION ALL
    SELECT 'group', "group", *, all_credit FROM known WHERE "group" IS NOT NULL
)
SELECT
    arm,
    seed,
    "by",
    name,
    any_value(trained_on) AS trained_on,
    count(*) AS tested_on,
    avg(credit ORDER BY credit) AS accuracy,
    any_value(calibration_error) AS calibration_error
FROM parts LEFT JOIN calibration USING (arm, seed, "by")
GROUP BY arm, seed, "by", name
ORDER BY seed, arm, "by", name
