-- publish: what a version leaves out, and why. Tables: flags, samples (thin columns). Bound: $run_id.
SELECT f.* EXCLUDE flag, s.* EXCLUDE sample_id, $run_id AS run_id
FROM flags f JOIN samples s USING (sample_id)
WHERE flag
ORDER BY rank
