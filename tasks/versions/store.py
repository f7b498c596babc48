"""The one word for where dataset versions lie: a folder, or an object store's URL."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from tasks.core.errors import BadConfig

# Credentials have no place in it: it stands in configurations and manifests.
_URL = re.compile(r"((s3a?|gs|az)://[^/\s@]+|abfss?://[^/\s:]+)(/\S*)?")


def check_no_credentials(address: str, where: str) -> None:
    """Refuse an address with a user's name or password in it: it is kept in files that are never deleted.

    Args:
        address: of a store or a catalogue.
        where: the option or variable it stands in.

    Raises:
        BadConfig: there are some; they are not repeated.
    """
    url = urlsplit(address)
    # A container of Azure's stands where others have a user.
    is_user = url.username is not None and not url.scheme.startswith("abfs")
    if is_user or url.password is not None:
        raise BadConfig(
            where=where,
            expected="an address without a name or a password before an @",
            got=f"one with them, at {url.hostname}",
            do="Leave them out: credentials stand in the environment (AWS_ACCESS_KEY_ID …), or in .pyiceberg.yaml.",
        )


def _check_store(value: str | None) -> str | None:
    """A store that can be meant; whether it is there is asked when it is opened."""
    if value is not None and (not value.strip() or ("://" in value and not _URL.fullmatch(value))):
        raise ValueError(
            f"expected a folder, or a URL like s3://bucket/prefix (s3, gs, az or abfs), got {value or 'nothing'}"
        )
    return value


Store = Annotated[
    str | None,
    AfterValidator(_check_store),
    Field(
        description="Where the versions lie: a folder, or s3://bucket/prefix (gs://, az://), of which endpoint, region "
        "and credentials stand in the environment. Default: where the lake remembers them to lie, else in the lake."
    ),
]
