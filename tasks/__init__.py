"""gradsieve's pipeline. Inside this package **verbs are Prefect tasks and nouns are plain Python**.

The data's way, top to bottom:

    ingest → plan → vote → plant → train → examine → extract → score → flag (→ retrain → halve, for each of several
    budgets) → retrain → verify → publish → record → index → report

and, where detectors are compared, after score:

    measure → tabulate → index → present

Exchangeable parts, one file each: ``readers models gradients detectors budgets``.

Axis letters
    n samples · k classes · h features of the last hidden layer (h1 = h + 1 with the bias) · p parameters · f folds

Columns
    sample_id      content hash of the inputs; column 0 of every table, the only key anything is joined by
    label          the label as given (text); ``clean_label`` the known true one, where there is one
    split          train, validation or test; only train is ever fitted, scored or flagged
    fold           the cross-fitting fold a training sample is held out of
    suspicion      higher = more suspect, everywhere
"""
