-- find_copies: training samples that have a copy under the same label among the other training samples, each beside one
-- whose name comes before its own.
--
-- Tables: samples (sample_id, content, split, label), pairs (content, other, distance), leaks (sample_id of samples
-- that are left out already). Macro: same_label. Bound: $exact, whether equal contents are copies.

WITH trained AS (
    FROM samples WHERE split = 'train' AND sample_id NOT IN (SELECT sample_id FROM leaks)
),
firsts AS (
    SELECT content, label, min(sample_id) AS sample_id FROM trained GROUP BY content, label
)
SELECT trained.sample_id, firsts.sample_id AS other_id, 'exact' AS kind, 0.0::DOUBLE AS distance
FROM trained JOIN firsts ON firsts.content = trained.content AND same_label(firsts.label, trained.label)
WHERE $exact AND trained.sample_id > firsts.sample_id
UNION ALL
-- Of every sample, and not of the first alone: a content's first may be left out, and its equals must not stay for it.
SELECT trained.sample_id, firsts.sample_id, 'near', distance
FROM pairs JOIN trained ON trained.content = greatest(pairs.content, pairs.other)
JOIN firsts ON firsts.content = least(pairs.content, pairs.other) AND same_label(firsts.label, trained.label)
ORDER BY 1, 3, 4, 2
