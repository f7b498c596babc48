-- verify: test predictions of every arm and seed → one row each. Table: predictions (arm, seed, trained_on, …).
SELECT arm, seed, any_value(trained_on) AS trained_on, count(*) AS tested_on, avg((predicted = label)::INT) AS accuracy
FROM predictions
GROUP BY arm, seed
ORDER BY seed, arm
