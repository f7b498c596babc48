-- audit: what flagging does to each class and to each group. Tables: flags, samples (thin columns and class).

WITH members AS (
    SELECT 'class' AS "by", class AS name, flags.* FROM flags JOIN samples USING (sample_id)
    UNION ALL
    SELECT 'group', "group", flags.* FROM flags JOIN samples USING (sample_id) WHERE "group" IS NOT NULL
),
overall AS (
    SELECT avg(flag::INT) AS share_overall FROM flags
),
suggestions AS (
    SELECT "by", name, suggested_label,
           row_number() OVER (PARTITION BY "by", name ORDER BY count(*) DESC, suggested_label) AS place
    FROM members WHERE flag AND suggested_label IS NOT NULL
    GROUP BY "by", name, suggested_label
),
counted AS (
    SELECT
        "by",
        name,
        count(*) AS samples,
        count(*) FILTER (flag) AS flagged,
        count(*) FILTER (NOT flag AND guard IN ('class_cap', 'group_cap')) AS capped,
        count(*) FILTER (NOT flag AND guard = 'rare') AS protected,
        -- In a fixed order, for sums of floats depend on it.
        sum(p_wrong ORDER BY rank) AS expected_wrong
    FROM members GROUP BY "by", name
)
SELECT
    "by",
    name,
    samples,
    flagged,
    flagged / samples AS share_flagged,
    share_overall,
    CASE WHEN share_overall > 0 THEN share_flagged / share_overall END AS lift,
    capped,
    protected,
    expected_wrong,
    suggested_label AS most_suggested
FROM counted CROSS JOIN overall LEFT JOIN (FROM suggestions WHERE place = 1) USING ("by", name)
ORDER BY "by", name
