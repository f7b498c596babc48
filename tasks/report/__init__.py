"""What people see of a run: summary, page, figures, artifacts."""
