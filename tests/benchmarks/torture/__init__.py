"""What gradsieve does when the machine does not: killed, without room, with damaged files, in company, elsewhere.

    python -m tests.benchmarks.torture [--long] [--seed N] [--only crash|errno|corruption|concurrency|determinism]

faults.c is loaded into the process before all else and counts what is done to files below the lake; at a chosen deed it
kills, or lets the deed fail. Every trial is a forked child on a fresh copy of one lake. gradsieve knows nothing of it.
"""
