"""A stored name leads nowhere but below the folder it is meant for, whatever it says and wherever links point."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadArtefact
from tasks.pipeline.artefacts import Artefact, File, Run
from tasks.pipeline.stored_names import in_lake, inside, is_key, is_name, key

OUT = ["", "..", ".", "../a", "a/../../b", "a/..", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "a\0b"]


@pytest.mark.parametrize("name", OUT)
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    for refused in (lambda: inside(tmp_path, name), lambda: key(name, "s3://bucket/it")):
        with pytest.raises(BadArtefact, match="expected the name of something below it, got"):
            refused()
    assert not is_key(name)
    assert not is_name(name)


@pytest.mark.parametrize("name", ["a", "a/b.json", "a b", "...", "..a", "é/☃", "a\\b", "*", "~"])
def test_any_other_name_stays_as_it_is(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name
    assert key(name, "s3://bucket") == name


def test_of_a_single_name_no_folder_is_taken(tmp_path):
    assert inside(tmp_path, "run-1", single=True) == tmp_path / "run-1"
    with pytest.raises(BadArtefact, match="'a/b'"):
        inside(tmp_path, "a/b", single=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "", "b", "..."]), min_size=1, max_size=5).map("/".join))
def test_what_is_not_refused_lies_below(tmp_path, name):
    if is_key(name):
        assert inside(tmp_path, name).resolve().is_relative_to(tmp_path.resolve())
    else:
        with pytest.raises(BadArtefact):
            inside(tmp_path, name)


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "real")
    (root / "round").symlink_to(root / "round")
    for name in ("out", "out/file"):
        with pytest.raises(BadArtefact, match="which leads to"):
            inside(root, name)
    assert inside(root, "in/file") == root / "in" / "file"
    # The root itself, and the lake's own folders, may lie on another disk.
    (tmp_path / "link").symlink_to(root)
    assert inside(tmp_path / "link", "real") == tmp_path / "link" / "real"
    assert in_lake(root, "out/stage-1") == root / "out" / "stage-1"


def test_a_run_opens_no_file_outside_the_lake_whatever_an_artefact_says(tmp_path):
    run = Run.start(tmp_path / "lake", "pets")
    (tmp_path / "secret").write_text("1234")
    (run.lake / "cache" / "stage-1").mkdir()
    (run.lake / "cache" / "stage-1" / "link").symlink_to(tmp_path / "secret")
    for folder, name in (("cache/stage-1", "../../../secret"), ("..", "secret"), ("cache/stage-1", "link")):
        file = File(name=name, rows=0, size=4, sha256="")
        artefact = Artefact(stage="s", folder=folder, files=(file,), facts={}, digest="d", made_by="r")
        with pytest.raises(BadArtefact, match="expected the name of something below it"):
            run.path(artefact)
        assert not run.intact(artefact)
    with run.draft("stage") as draft, pytest.raises(BadArtefact):
        draft.path("../../secret")
    assert (tmp_path / "secret").read_text() == "1234"
