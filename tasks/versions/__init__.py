"""Versions of datasets: immutable, each with a parent and a reason for every row that changed.

objects        bytes under names, on a disk or in a bucket; who creates a name has it
address        where they lie, if not in the lake: remembered by the lake
manifest       what a version is
history        a dataset's versions and tags, in the order they were committed
contents       the rows of a version: ingested parts with what was decided applied to them
publication    a run's result → a version, and the tag it has earned
mirror         what the lake shows of versions that lie elsewhere

What is done with them: difference, rollback, export, live, integrity, vacuum; showing and commands for people.
"""
