-- find_copies: pairs of contents that are nearly equal → each sample beside its nearest copies of other content: one of
-- each split under its own label, and one of each split under another. Rows are at most six times as many as samples.
--
-- Tables: samples (sample_id, content, split, label), pairs (content, other, distance). Macro: same_label. Bound: $kind, near, or alike where
-- pairs are of one scene.

WITH links AS (
    SELECT content, other, distance FROM pairs
    UNION ALL
    SELECT other, content, distance FROM pairs
),
-- Of a content with thousands of copies one speaks for those of its split and label.
firsts AS (
    SELECT content, split, label, min(sample_id) AS sample_id FROM samples GROUP BY content, split, label
)
SELECT samples.sample_id, other.sample_id AS other_id, $kind AS kind, distance,
       samples.split, other.split AS other_split, samples.label, other.label AS other_label
FROM samples JOIN links USING (content) JOIN firsts AS other ON other.content = links.other
QUALIFY row_number() OVER (
    PARTITION BY samples.sample_id, other.split, same_label(samples.label, other.label) ORDER BY distance, other.sample_id
) = 1
ORDER BY samples.sample_id, distance, other_id
