"""A Prefect block that sends what an automation says to wherever Apprise reaches: e-mail, Slack, Teams and others.

Prefect finds it by its entry point in pyproject.toml. Prefect's own blocks know no mail server.
"""

from __future__ import annotations

from prefect.blocks.notifications import AbstractAppriseNotificationBlock
from pydantic import Field, SecretStr


class AppriseAddress(AbstractAppriseNotificationBlock):
    """Where a notification goes, as an Apprise URL."""

    _block_type_name = "Apprise address"
    _block_type_slug = "gradsieve-apprise"
    _documentation_url = "https://github.com/caronc/apprise/wiki"  # pyright: ignore[reportAssignmentType]

    url: SecretStr = Field(description="For example mailtos://user:password@smtp.example.org?to=me@example.org.")
