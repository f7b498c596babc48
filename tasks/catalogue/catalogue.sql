-- The catalogue's own tables; views over the tables of runs are added by tasks/catalogue/views.py, one for each file name.
-- {runs}, {versions}, {moves}, {links}, {decisions}, {comparisons}, {traces}, {traced}, {reviews}, {review_samples}
-- and {review_estimates} stand for the files read, or for no rows where there are none yet; {checkpoints} is a string literal: an absolute path with a
-- glob pattern, {dataset} the dataset in a checkpoint's path, and {latest} the ids of runs whose column latest is true.

CREATE SCHEMA latest;  -- the same views, of each dataset's newest run only
CREATE SCHEMA data;    -- <dataset>: its newest run's samples; <dataset>@<version or tag>: the rows of that version

-- Every move of every tag; version is null where the tag was taken away. Of moves from before a dataset had a log those
-- count that were there when it began.
CREATE VIEW tag_moves AS
    WITH links AS (FROM {links}),
    adopted AS (
        SELECT parse_path(__file)[-3] AS dataset, unnest(map_keys(adopted)) AS name FROM links WHERE number = 1
    ),
    early AS (
        SELECT parse_path(__file)[-4] AS dataset, concat_ws('/', 'tags', tag, parse_path(__file)[-1]) AS name,
               tag, 0 AS link, version, "at", "by", reason
        FROM {moves}
    ),
    moves AS (
        FROM early
        WHERE dataset NOT IN (SELECT parse_path(__file)[-3] FROM links)
           OR (dataset, name) IN (SELECT (dataset, name) FROM adopted)
        UNION ALL
        SELECT parse_path(__file)[-3], NULL, tag, number, version, "at", "by", reason FROM links WHERE tag IS NOT NULL
    )
    SELECT dataset, tag, row_number() OVER (PARTITION BY dataset, tag ORDER BY link, name) AS number,
           version, "at" AS moved_at, "by" AS moved_by, reason
    FROM moves;

CREATE VIEW tags AS
    SELECT * FROM (FROM tag_moves QUALIFY number = max(number) OVER (PARTITION BY dataset, tag))
    WHERE version IS NOT NULL;

CREATE VIEW versions AS
    SELECT v.* EXCLUDE __file REPLACE (verdict ->> '$.word' AS verdict) RENAME ("by" AS published_by, "rows" AS row_count),
           verdict AS verdict_json, coalesce(t.tags, []) AS tags
    FROM {versions} v
    LEFT JOIN (SELECT dataset, version, list(tag ORDER BY tag) AS tags FROM tags GROUP BY ALL) t
        USING (dataset, version);

-- The version knows its run, and a run no version.
CREATE VIEW runs AS
    SELECT r.* EXCLUDE (__file, gains, started), v.version,
           recorded = max(recorded) OVER (PARTITION BY dataset) AS latest,
           started, date_diff('second', started, recorded) AS seconds,
           (gains ->> '$.untouched.mean')::DOUBLE AS gain,
           (gains ->> '$.untouched.low')::DOUBLE AS gain_low,
           (gains ->> '$.untouched.high')::DOUBLE AS gain_high,
           (gains ->> '$.random.mean')::DOUBLE AS gain_over_random,
           (gains ->> '$.random.low')::DOUBLE AS gain_over_random_low,
           (gains ->> '$.random.high')::DOUBLE AS gain_over_random_high
    FROM (SELECT *, json_extract(facts, '$.metrics.gains.' || (facts ->> '$.metrics.verdict.arm')) AS gains,
                 try_strptime(regexp_extract(run_id, '-(\d{8}T\d{6})-', 1), '%Y%m%dT%H%M%S') AS started
          FROM {runs}) r
    LEFT JOIN (SELECT run_id, max(version) AS version FROM versions WHERE kind = 'cleaned' GROUP BY run_id) v
        USING (run_id);

CREATE VIEW latest.runs AS SELECT * FROM main.runs WHERE latest;

CREATE VIEW comparisons AS
    SELECT parse_path(__file)[-2] AS run_id, * EXCLUDE __file FROM {comparisons};

-- What gradsieve trace has made, of which run and by which options; how well it tells the queries' groups.
CREATE VIEW traces AS SELECT * EXCLUDE __file FROM {traces};

CREATE VIEW traced AS
    SELECT t.run_id, t.dataset, t.trace_id, f.* EXCLUDE __file
    FROM {traced} f JOIN traces t ON t.trace_id = parse_path(f.__file)[-2];

CREATE VIEW latest.traced AS
    SELECT * FROM main.traced WHERE run_id IN ({latest});

-- Random samples of runs that a person has answered, and what follows. Decisions about flagged samples are none of them.
CREATE VIEW reviews AS SELECT * EXCLUDE __file FROM {reviews};

CREATE VIEW review_samples AS
    SELECT r.run_id, r.dataset, r.review_id, f.* EXCLUDE __file
    FROM {review_samples} f JOIN reviews r ON r.review_id = parse_path(f.__file)[-2];

CREATE VIEW review_estimates AS
    SELECT r.run_id, r.dataset, r.review_id, r.recorded, f.* EXCLUDE __file
    FROM {review_estimates} f JOIN reviews r ON r.review_id = parse_path(f.__file)[-2];

CREATE VIEW latest.review_samples AS
    SELECT * FROM main.review_samples WHERE run_id IN ({latest});

CREATE VIEW latest.review_estimates AS
    SELECT * FROM main.review_estimates WHERE run_id IN ({latest});

-- By the manifests: what a killed publish left behind belongs to no version and does not show.
CREATE VIEW decisions AS
    SELECT v.dataset, v.version, v.run_id, v.published,
           d.* EXCLUDE __file REPLACE (coalesce(d.decided_at, v.published) AS decided_at)
    FROM {decisions} d
    JOIN (SELECT dataset, version, run_id, published, content FROM {versions}) v
        ON v.dataset = parse_path(d.__file)[-4] AND v.content = parse_path(d.__file)[-2];

CREATE VIEW removed AS
    SELECT * EXCLUDE (decision, old_label, new_label), old_label AS label FROM decisions WHERE decision = 'remove';

-- What a run kept of its networks: the file in the run's folder.
CREATE VIEW checkpoints AS
    SELECT parse_path(file)[-3] AS run_id, {dataset} AS dataset, regexp_extract(file, 'fold-(\d+)-epoch', 1)::SMALLINT AS fold,
           regexp_extract(file, 'epoch-(\d+)\.pt$', 1)::BIGINT AS epoch, 'checkpoints/' || parse_filename(file) AS file
    FROM glob({checkpoints});
