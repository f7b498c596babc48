"""The environment of the commands that tests start."""

import os


def environment_of_a_command(**more: str) -> dict[str, str]:
    """This process's environment without its Prefect settings, and with one thread for each numeric library.

    PREFECT_HOME stays where it is set: the tests may run on a Prefect whose database the user's own could not read.
    """
    kept = {
        name: value for name, value in os.environ.items() if name == "PREFECT_HOME" or not name.startswith("PREFECT_")
    }
    return kept | {"OMP_NUM_THREADS": "1"} | more
