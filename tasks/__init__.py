"""gradsieve's pipeline, in rooms along the data's way; tasks/steps.py is the table of contents.

A *step* is a file with one Prefect task, imported by flows alone; everything else is plain Python. A room knows only
the rooms below it. Exchangeable components lie one a file in ``ingestion/readers``, ``training/models``,
``gradients/kinds``, ``scoring/detectors`` and ``decision/budgets``.

Axis letters
    n samples · k classes · h features of the last hidden layer (h1 = h + 1 with the bias) · p parameters · f folds

Columns
    sample_id      content hash of the inputs; column 0 of every table, the only key anything is joined by
    label          the label as given (text); ``clean_label`` the known true one, where there is one
    split          train, validation or test; only train is ever fitted, scored or flagged
    fold           the cross-fitting fold a training sample is held out of
    suspicion      higher = more suspect, everywhere
"""
