"""The page of a run lies beside the versions of its dataset in a bucket, as a page that a browser shows."""

import obstore

from tasks.report.run_page import keep_in_bucket
from tasks.versions.history import History
from tasks.versions.object_store import Objects


def page_of(folder, text):
    page = folder / "digits-20261130T000000-0000.html"
    page.write_text(text)
    return page


def test_a_page_is_put_once_and_put_again_where_it_is_another(bucket, tmp_path, monkeypatch):
    history, put = History(Objects(bucket), "digits"), []
    monkeypatch.setattr(obstore, "put", lambda *a, put_it=obstore.put, **k: put.append(a[1]) or put_it(*a, **k))
    page = page_of(tmp_path, "<p>first</p>")
    address = keep_in_bucket(page, history)
    assert address == f"{bucket}/digits/pages/digits-20261130T000000-0000.html"
    assert keep_in_bucket(page, history) == address
    assert len(put) == 1
    keep_in_bucket(page_of(tmp_path, "<p>other</p>"), history)
    assert len(put) == 2
    there = obstore.get(history.objects.store, f"digits/pages/{page.name}")
    assert bytes(there.bytes()) == b"<p>other</p>"
    assert there.attributes["Content-Type"] == "text/html; charset=utf-8"


def test_it_is_no_version_and_no_dataset(bucket, tmp_path):
    history = History(Objects(bucket), "digits")
    keep_in_bucket(page_of(tmp_path, "<p></p>"), history)
    assert (history.manifests(), history.objects.children()[1]) == ([], ["digits"])


def test_versions_in_a_folder_have_their_pages_in_the_lake(tmp_path):
    history = History(Objects(tmp_path / "versions"), "digits")
    assert keep_in_bucket(page_of(tmp_path, "<p></p>"), history) is None
    assert not list((tmp_path / "versions").rglob("*.html"))
