-- The catalogue's own tables; views over a run's files are added by tasks/catalogue.py, one for each schema.
-- {runs}, {versions} and {removed} are string literals: absolute paths with glob patterns.

CREATE SCHEMA latest;  -- the same views, of each dataset's newest run only
CREATE SCHEMA data;    -- one view for each dataset: its newest run's samples with the dataset's own columns

CREATE VIEW runs AS
    SELECT * EXCLUDE stages, recorded = max(recorded) OVER (PARTITION BY dataset) AS latest
    FROM read_json({runs}, format = 'auto', columns = {
        run_id: 'VARCHAR', dataset: 'VARCHAR', recorded: 'TIMESTAMP', version: 'VARCHAR',
        train_samples: 'BIGINT', test_samples: 'BIGINT', rejected: 'BIGINT', flagged: 'BIGINT', detector: 'VARCHAR',
        accuracy_untouched: 'DOUBLE', accuracy_cleaned: 'DOUBLE', accuracy_random: 'DOUBLE',
        facts: 'JSON', stages: 'JSON'});

CREATE VIEW versions AS
    SELECT * FROM read_json({versions}, format = 'auto', columns = {
        dataset: 'VARCHAR', version: 'VARCHAR', parent: 'VARCHAR', run_id: 'VARCHAR', published: 'TIMESTAMP',
        "rows": 'BIGINT', removed: 'BIGINT', samples: 'VARCHAR', flags: 'VARCHAR'});

CREATE VIEW removed AS
    SELECT parse_path(__file)[-3] AS dataset, parse_path(__file)[-2] AS version, * EXCLUDE __file
    FROM read_parquet({removed}, filename = '__file', union_by_name = true);
