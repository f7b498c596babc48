"""Python's collector and what is imported."""

from __future__ import annotations

import subprocess
import sys

LOOKS = """
import gc
from flows.imports import imports

looks = []
gc.callbacks.append(lambda phase, about: looks.append(about["generation"]))
with imports():
    kept = [[[]] for _ in range(100_000)]
during = len(looks)
later = [[[]] for _ in range(200_000)]
print(during, looks.count(2), looks.count(0) > 0, gc.isenabled())
"""


def test_what_is_imported_is_never_looked_at_and_what_steps_import_hardly_ever():
    done = subprocess.run([sys.executable, "-c", LOOKS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "True", "True"]
