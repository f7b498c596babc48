"""Versions of datasets: immutable, each with a parent and a reason for every row that changed.

objects        bytes under names, on a disk or in a bucket; who creates a name has it
address        where they lie, if not in the lake: remembered by the lake
manifest       what a version is
seal           what a manifest and a link of the log say of themselves and of those before them; signed with a key
log            where tags point and what was cleared away, one link after another
history        a dataset's versions and tags, in the order they were committed
contents       the rows of a version: ingested parts with what was decided applied to them
publication    a run's result → a version, and the tag it has earned
mirror         what the lake shows of versions that lie elsewhere

What is done with them: difference, rollback, export, live, integrity (chain, claims), vacuum; showing and commands
for people.
"""
