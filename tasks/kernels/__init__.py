"""Arrays in, arrays out: torch and numpy only, no I/O. Each kernel has its naive twin in tests/tasks/kernels."""
