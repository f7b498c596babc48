-- find_copies: samples that have a copy on the other side of the border between training and what is held out; each
-- beside one: an exact copy where there is one, else the nearest.
--
-- Tables: samples (sample_id, content, split, label), pairs (content, other, distance). Bound: $exact, whether equal
-- contents are copies, and no repeats of a combination of values.

WITH links AS (
    SELECT DISTINCT content, content AS other, 'exact' AS kind, 0.0::DOUBLE AS distance FROM samples WHERE $exact
    UNION ALL
    SELECT content, other, 'near', distance FROM pairs
    UNION ALL
    SELECT other, content, 'near', distance FROM pairs
),
firsts AS (
    SELECT content, split, min(sample_id) AS sample_id FROM samples GROUP BY content, split
)
SELECT samples.sample_id, other.sample_id AS other_id, kind, distance, samples.split, other.split AS other_split
FROM samples JOIN links USING (content)
JOIN firsts AS other ON other.content = links.other AND (other.split = 'train') <> (samples.split = 'train')
QUALIFY row_number() OVER (PARTITION BY samples.sample_id ORDER BY kind, distance, other.split, other.sample_id) = 1
ORDER BY samples.sample_id
