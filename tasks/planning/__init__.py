"""What is fixed before training: folds, neighbours' votes, canaries."""
