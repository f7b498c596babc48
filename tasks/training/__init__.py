"""From samples to networks: models, optimizers, the training loop, the run that this one builds on."""
