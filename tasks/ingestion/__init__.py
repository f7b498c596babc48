"""From a source to checked Parquet: readers, columns, labels, noise made on purpose."""
