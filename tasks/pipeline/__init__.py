"""How a stage is run and kept: artefacts, cache keys, the lock of a dataset, schemas, the record of a run."""
