"""The ``gradsieve`` command: options, answers, one file for each subcommand."""
