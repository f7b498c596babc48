"""Whether the cleaning helps: the arms, their retraining, the verdict, the audit of held-out labels."""
