"""The Hugging Face hub: a dataset with a card, a commit and a git tag for each version. The files are copied there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field

from tasks.core.errors import BadConfig, cause_of, require_package
from tasks.pipeline.durable_files import link_or_copy
from tasks.versions.contents import DecisionFilter, write_plain
from tasks.versions.manifest import Manifest
from tasks.versions.table_formats import IDENTITY, VERSION, Published, Receipt, Snapshot, TableFormat, identity_of

_MANIFEST = "version.json"
# What a snapshot of another format says of itself.
_SNAPSHOT = "snapshot.json"
_LIBRARIES = ("huggingface_hub", "httpx", "httpx2")


class Hub(TableFormat, kind="hub"):
    """A dataset repository: ``data/``, ``decisions/``, a card, the manifest as ``version.json``, ``snapshot.json``."""

    at: str = Field(description="The dataset's name, owner/name, or its address.")

    @property
    def place(self) -> str:
        """Its address, or its name on the hub that the environment names."""
        return self.at

    def publish(self, version: Published) -> Receipt:
        """Commit the version's files, and tag the commit by the version's name; a new repository is private."""
        with require_package("huggingface_hub", "option to hub", "pip install -e '.[hub]'"):
            from huggingface_hub import HfApi
        endpoint, name = _parts(self.at)
        with _refusals(self.at):
            api = HfApi(endpoint=endpoint)
            api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(name, repo_type="dataset").tags}
            commit = tags.get(version.manifest.version)
            if commit is not None:
                version.check(self.at, _properties(api, name, version.manifest.version))
                return Receipt(self.at, (Snapshot(name, commit[:12], is_new=False),), refers=False)
            self._check_head(api, name, version)
            commit = _commit(api, name, version)
        return Receipt(self.at, (Snapshot(name, commit[:12], is_new=True),), refers=False)

    def _check_head(self, api: Any, name: str, version: Published) -> None:
        """A repository of something else is not written over."""
        files = set(api.list_repo_files(name, repo_type="dataset")) - {".gitattributes"}
        if files and _MANIFEST not in files:
            raise BadConfig(
                where=f"option at {self.at}",
                expected="a new dataset, or one that holds versions of this one",
                got=f"one with {', '.join(sorted(files)[:3])}, and no {_MANIFEST}",
                do="Name another with --at.",
            )
        if files:
            facts = Path(_file(api, name, _SNAPSHOT, "main")).read_bytes() if _SNAPSHOT in files else b"{}"
            version.check_last(f"option at {self.at}", json.loads(facts))


def _parts(at: str) -> tuple[str | None, str]:
    """The hub's address, None for that of the environment, and the dataset's name there."""
    url = urlsplit(at)
    name = (url.path if url.netloc else at).strip("/").removeprefix("datasets/")
    if name.count("/") != 1:
        raise BadConfig(where=f"option at {at}", expected="owner/name", got=name or "nothing", do="Name it with --at.")
    return (f"{url.scheme}://{url.netloc}" if url.netloc else None), name


@contextmanager
def _refusals(at: str) -> Iterator[None]:
    """What the hub says, in our own words."""
    try:
        yield
    except Exception as error:
        # Of its HTTP client, which is another package from version to version.
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise BadConfig(
            where=f"option at {at}",
            expected="a dataset on the hub that can be written",
            got=cause_of(error),
            do="Log in with hf auth login, or set HF_TOKEN; check the name and the network.",
        ) from error


def _manifest(api: Any, name: str, revision: str) -> Manifest:
    return Manifest.model_validate_json(Path(_file(api, name, _MANIFEST, revision)).read_bytes())


def _file(api: Any, name: str, path: str, revision: str) -> str:
    return api.hf_hub_download(name, path, repo_type="dataset", revision=revision)


def _properties(api: Any, name: str, revision: str) -> dict[str, str]:
    manifest = _manifest(api, name, revision)
    return {VERSION: manifest.version, IDENTITY: identity_of(manifest), "gradsieve.published": manifest.published}


def _commit(api: Any, name: str, version: Published) -> str:
    """Digest of the commit; one that was cut off before its tag is not made twice."""
    manifest = version.manifest
    folder = version.rows.scratch / "hub"
    _write(version, folder)
    info = api.upload_folder(
        repo_id=name,
        repo_type="dataset",
        folder_path=folder,
        commit_message=f"{manifest.dataset} {manifest.version}",
        commit_description="\n".join(f"{key}: {value}" for key, value in version.properties.items()),
        delete_patterns=["data/*", "decisions/*"],
    )
    api.create_tag(name, tag=manifest.version, revision=info.oid, repo_type="dataset", exist_ok=True)
    return str(info.oid)


def _write(version: Published, folder: Path) -> None:
    """The repository's files; those of the version are linked, not copied."""
    rows, manifest = version.rows, version.manifest
    (folder / "data").mkdir(parents=True)
    plain = version.files()
    if plain is None:
        decisions = DecisionFilter(rows.decisions)
        for part in rows.content.parts:
            if write_plain(rows.file(part.path), decisions, folder / "data" / part.name) is None:
                link_or_copy(rows.file(part.path), folder / "data" / part.name)
    else:
        names = [file.name for file in rows.content.plain or () if file.rows]
        for file, file_name in zip(plain, names, strict=True):
            link_or_copy(rows.file(file.name), folder / "data" / file_name)
    if rows.content.decisions.rows:
        (folder / "decisions").mkdir()
        link_or_copy(rows.file(rows.content.decided), folder / "decisions" / "decisions.parquet")
    (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    (folder / _SNAPSHOT).write_text(json.dumps(version.properties, indent=1), encoding="utf-8")
    (folder / "README.md").write_text(card(manifest), encoding="utf-8")


def card(manifest: Manifest) -> str:
    """What the hub shows of a version: which files are which split, what was removed, and how far it is proven."""
    splits = [{"split": split, "path": f"data/{split}-*.parquet"} for split in manifest.splits]
    configs: list[dict[str, Any]] = [{"config_name": "rows", "default": True, "data_files": splits}]
    if manifest.decisions.rows:
        configs.append({"config_name": "decisions", "data_files": "decisions/*.parquet"})
    about = {"pretty_name": f"{manifest.dataset} {manifest.version}", "tags": ["gradsieve"], "configs": configs}
    verdict = manifest.verdict or {}
    facts = {
        "version": f"{manifest.version}, {manifest.kind}, of {manifest.published[:10]}",
        "parent": manifest.parent or "none",
        "rows": ", ".join(f"{count:,} {split}" for split, count in manifest.splits.items()),
        "removed": f"{manifest.removed:,}",
        "relabelled": f"{manifest.relabelled:,}",
        "classes": f"{len(manifest.classes):,}",
        "verdict": f"{verdict['word']}: {verdict['sentence']}" if verdict else "none, nothing was retrained",
        "run": manifest.run_id or "none",
        "digest of the members": manifest.members,
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    table = "\n".join(["| | |", "|---|---|", *lines])
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    return (
        f"---\n{head}---\n\n# {manifest.dataset} {manifest.version}\n\n{table}\n\n"
        "`decisions` says of every sample that was removed, relabelled or kept despite doubt, why.\n"
        "Every version is a tag of this repository. Made by gradsieve.\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
