"""From networks to per-sample gradients in Arrow shards."""
