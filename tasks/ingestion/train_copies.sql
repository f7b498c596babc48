-- find_copies: training samples that have a copy under the same label among the other training samples, each beside one
-- whose name comes before its own.
--
-- Tables: samples (sample_id, content, split, label), pairs (content, other, distance), leaks (sample_id of samples
-- that are left out already). Bound: $exact, whether equal contents are copies.

WITH trained AS (
    FROM samples WHERE split = 'train' AND sample_id NOT IN (SELECT sample_id FROM leaks)
),
firsts AS (
    SELECT content, label, min(sample_id) AS sample_id FROM trained GROUP BY content, label
)
SELECT trained.sample_id, firsts.sample_id AS other_id, 'exact' AS kind, 0.0::DOUBLE AS distance
FROM trained JOIN firsts USING (content, label)
WHERE $exact AND trained.sample_id <> firsts.sample_id
UNION ALL
SELECT greatest(a.sample_id, b.sample_id), least(a.sample_id, b.sample_id), 'near', distance
FROM pairs JOIN firsts AS a ON a.content = pairs.content JOIN firsts AS b ON b.content = pairs.other
WHERE a.label = b.label
ORDER BY 1, 3, 4, 2
