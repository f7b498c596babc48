"""A process id that was given anew is nobody's whom Prefect knew by it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from flows.operations.processes import is_process


def test_a_process_is_known_by_its_id_and_by_when_it_began():
    begun = datetime.now(UTC)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identifier = str(process.pid)
        assert is_process(identifier, begun + timedelta(seconds=2))
        # Whoever had this id before the machine, or the container, began again.
        assert not is_process(identifier, begun - timedelta(minutes=1))
        process.communicate()
    assert not is_process(identifier, begun + timedelta(seconds=2))


@pytest.mark.parametrize("identifier", [None, "", "elsewhere:1", "elsewhere:OWN", "namespace/job", "9" * 30])
def test_what_is_no_id_of_this_machine_is_no_process(identifier):
    # The workers of a test run must agree on the names of tests.
    own = identifier and identifier.replace("OWN", str(os.getpid()))
    assert not is_process(own, datetime.now(UTC))
