"""From gradients to suspicion: evidence, detectors, the probability of a wrong label."""
