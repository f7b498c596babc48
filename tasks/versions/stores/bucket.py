"""Versions in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.versions.stores import Store

if TYPE_CHECKING:
    from tasks.versions.object_store import Objects


class BucketStore(Store):
    """A bucket of S3 or of what speaks like it, of Google Cloud Storage or of Azure.

    It must create objects conditionally (``If-None-Match``), as S3 does since 2024. Credentials are taken from the
    environment (``AWS_ACCESS_KEY_ID`` …) and stand in no configuration.
    """

    kind: Literal["bucket"] = "bucket"
    url: str = Field(
        pattern=r"^(s3|s3a|gs|az|abfs|abfss)://[^/]+", description="Where: s3://bucket/prefix, gs://…, az://…"
    )
    endpoint: str | None = Field(default=None, description="Address of a server of one's own; default: the cloud's.")
    region: str | None = Field(default=None, description="Region; default: from the environment.")

    def objects(self, lake: Path) -> Objects:
        """The bucket's prefix."""
        from tasks.versions.object_store import Objects

        given = {"endpoint": self.endpoint, "region": self.region}
        return Objects(self.url, **{name: value for name, value in given.items() if value is not None})
