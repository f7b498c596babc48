"""A secret is where it was put, a Prefect block or the environment, and nowhere that we or Prefect write to."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from s3_server import s3_server

pytestmark = pytest.mark.server
OF_THE_API, OF_THE_STORE, KEY = "planted-for-the-api", "planted-for-the-store", "planted-key-id"
# Nobody listens there: what is said of a message that could not be sent is searched too.
OF_THE_CHAT = "planted-for-the-chat"
CLEANING = {
    "dataset": "moons", "reader": {"kind": "digits", "options": {"limit": 250}}, "training": {"epochs": 1}, "folds": 2,
    "detectors": [{"kind": "l2"}], "budget": {"kind": "share"}, "canaries": {"share": 0.0},
    "verification": {"seeds": 1},
}  # fmt: skip
BLOCK = {
    "AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.gradsieve-store }}",
    # A server of one's own without TLS.
    "AWS_ALLOW_HTTP": "true",
}


@pytest.fixture(scope="module")
def objects() -> Iterator[str]:
    """The address of an S3 server with a bucket ``cleaned``."""
    with s3_server() as address:
        client(address).create_bucket(Bucket="cleaned")
        yield address


def client(address: str):
    import boto3

    # moto takes any.
    given = dict(zip(("aws_access_key_id", "aws_secret_access_key"), "ab", strict=True))
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", **given)


@pytest.fixture(scope="module")
def everything(objects, serve, tmp_path_factory) -> dict[str, bytes]:
    """All that is written by a run that publishes to the bucket and by one that cannot: name → content."""
    lake = tmp_path_factory.mktemp("secret") / "lake"
    serving = serve(
        lake, PREFECT_SERVER_API_AUTH_STRING=f"us:{OF_THE_API}", AWS_ACCESS_KEY_ID=KEY, AWS_REGION="us-east-1",
        AWS_ENDPOINT_URL=objects, GRADSIEVE_WEBHOOK=f"http://127.0.0.1:9/{OF_THE_CHAT}",
    )  # fmt: skip
    (kind,) = serving.ask("block_types/filter", block_types={"slug": {"any_": ["secret"]}})
    (schema,) = serving.ask("block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind["id"]]}})[:1]
    document = {"name": "gradsieve-store", "data": {"value": OF_THE_STORE}}
    document |= {"block_type_id": kind["id"], "block_schema_id": schema["id"]}
    serving.ask("block_documents/", **document)
    serving.ask(f"deployments/{serving.deployments['nightly']}", "PATCH", job_variables={"env": BLOCK})
    done = serving.run("nightly", **CLEANING, store="s3://cleaned/versions")
    serving.until_it_is(done, "Completed")
    failed = serving.run("nightly", **CLEANING, store="s3://no-such-bucket/versions")
    serving.until_it_is(failed, "Failed")
    assert serving.ask("artifacts/filter")
    serving.password = None
    with pytest.raises(urllib.error.HTTPError, match="401"):
        serving.ask("deployments/filter")
    assert serving.stop() == 0
    found = {str(path.relative_to(lake)): content(path) for path in lake.rglob("*") if path.is_file()}
    s3 = client(objects)
    for entry in s3.list_objects_v2(Bucket="cleaned")["Contents"]:
        path = lake.parent / "object" / Path(entry["Key"]).name
        path.parent.mkdir(exist_ok=True)
        s3.download_file("cleaned", entry["Key"], str(path))
        found[f"s3://{entry['Key']}"] = content(path)
    return found | {"what serve printed": "".join(serving.told).encode()}


def content(path: Path) -> bytes:
    """Its bytes, of Parquet the values: they are compressed."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    with pq.ParquetFile(path) as file:
        return repr((file.schema_arrow.metadata, file.read().to_pylist())).encode()


def test_where_it_is_looked_for_are_a_database_logs_parameters_and_versions(everything):
    """A search that cannot find anything would find no secret either."""
    hits = {name for name, found in everything.items() if b"s3://cleaned/versions" in found}
    assert any(name.startswith(".prefect/prefect.db") for name in hits)
    assert any(name.startswith("runs/moons-") for name in hits)
    assert any(name.startswith("s3://versions/moons/v0") for name in everything)
    (page,) = (
        name for name in everything if name.startswith("reports/") and b'content="question"' not in everything[name]
    )
    assert everything[f"s3://versions/moons/pages/{Path(page).name}"] == everything[page]
    assert {".prefect/server.log", ".prefect/worker-1.log", "catalogue.duckdb"} <= set(everything)
    assert b"no-such-bucket" in everything[".prefect/worker-1.log"]


@pytest.mark.parametrize("secret", [OF_THE_API, OF_THE_STORE, KEY, OF_THE_CHAT])
def test_a_secret_is_in_nothing_that_is_written(everything, secret):
    """Lake, catalogue, versions in the bucket, Prefect's database with parameters, artifacts and events, all logs."""
    import base64

    forms = [secret.encode(), base64.b64encode(f"us:{secret}".encode())]
    assert [name for name, found in everything.items() if any(form in found for form in forms)] == []
