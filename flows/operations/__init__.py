"""A Prefect server of one's own: its processes, deployments, automations."""
