"""Credentials are in no address that is kept: neither in the log of the versions nor in what the lake remembers."""

from __future__ import annotations

import pytest

from tasks.core.errors import BadConfig
from tasks.versions.object_store import Objects
from tasks.versions.store import check_no_credentials
from tasks.versions.table_publication import publish_to


@pytest.mark.parametrize("at", ["https://ann:secret@catalogue:8181", "s3://secret@bucket/a", "https://:secret@host"])
def test_tables_are_not_published_to_an_address_with_a_password_and_nothing_repeats_it(prepare, at):
    ready = prepare()
    ready.publish()
    with pytest.raises(BadConfig, match="option at") as refusal:
        publish_to(ready.history, ready.history.resolve("v0002"), "iceberg", at)
    assert "secret" not in str(refusal.value)
    kept = b"".join(path.read_bytes() for path in ready.run.lake.rglob("*.json"))
    assert b"secret" not in kept


def test_an_endpoint_with_a_password_opens_no_store(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ann:secret@127.0.0.1:1")
    with pytest.raises(BadConfig, match="variable AWS_ENDPOINT_URL") as refusal:
        Objects("s3://bucket/prefix")
    assert "secret" not in str(refusal.value)
    with pytest.raises(BadConfig):
        Objects("s3://bucket/prefix", endpoint="http://ann:secret@127.0.0.1:1")


@pytest.mark.parametrize("address", ["", "tables", "http://host:1/a", "abfss://box@account/a", "catalog:mine", "a@b"])
def test_an_address_without_them_is_one(address):
    check_no_credentials(address, "option at")
