"""All runs and versions in one DuckDB file of views."""
