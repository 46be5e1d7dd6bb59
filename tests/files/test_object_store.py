"""Paths of files that are elsewhere: what they mean, and that they are copied within bounds."""

import pickle
from pathlib import Path

import pytest

from vita_demo.errors import InputError, MediaError
from vita_demo.files import object_store
from vita_demo.files.object_store import ObjectPath, fetch_object, list_objects
from vita_demo.request import Request

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


@pytest.mark.parametrize(
    ("folder", "name", "uri"),
    [
        ("s3://bucket", "a.png", "s3://bucket/a.png"),
        ("s3://bucket/", "deep/a.png", "s3://bucket/deep/a.png"),
        ("s3://bucket/folder/?region=x&scheme=http", "a.png", "s3://bucket/folder/a.png?region=x&scheme=http"),
        ("s3://bucket/folder", "../other/a.png", "s3://bucket/other/a.png"),
        ("s3://bucket/folder", "../../../other/a.png", "s3://bucket/other/a.png"),
        ("s3://bucket/folder", "what? 100%.png", "s3://bucket/folder/what%3F%20100%25.png"),
        ("file:///data/folder/table.csv", "..", "file:///data/folder"),
        ("gs://bucket/folder", "/data/a.png", "/data/a.png"),
    ],
)
def test_a_name_begins_at_its_folder(folder: str, name: str, uri: str) -> None:
    assert str(ObjectPath.of(folder, "INPUT") / name) == uri


def test_a_path_is_its_uri_also_in_another_process() -> None:
    path = ObjectPath.of("s3://bucket/deep/a%20b.PNG?region=x", "image_path")
    assert (path.name, path.suffix) == ("a_b.PNG", ".PNG")
    again = pickle.loads(pickle.dumps(path))  # noqa: S301 - made here
    assert (again, str(again), hash(again)) == (path, "s3://bucket/deep/a%20b.PNG?region=x", hash(path))
    assert path != ObjectPath.of("s3://another/deep/a%20b.PNG?region=x", "image_path")


@pytest.mark.parametrize("uri", ["http://example.org/a.png", "HTTPS://example.org/a.png"])
def test_addresses_of_the_web_are_none(uri: str) -> None:
    with pytest.raises(InputError, match=r"image_path (http|HTTPS)://.* is a URL of the web; download it"):
        ObjectPath.of(uri, "image_path")


@pytest.mark.parametrize("uri", ["s3://bucket/a.png", "gs://bucket/a.png", "file:///etc/passwd"])
def test_a_request_reads_no_uri_that_is_mere_text(uri: str) -> None:
    with pytest.raises(InputError, match=f"audio_path {uri} is a URL; download it"):
        Request(question="?", audio_path=uri)


@pytest.mark.parametrize("name", ["a b.png", "100%.png", "50%25.png", "ä+#1&x=[y].png", "what?.png", "~'\"|^`{}.png"])
def test_any_name_in_a_folder_is_found_and_copied(tmp_path: Path, name: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).write_bytes(b"content")
    folder = ObjectPath.of(tmp_path.as_uri(), "INPUT")
    assert list_objects(folder) == [f"deep/{name}"]
    copied = folder / f"deep/{name}"
    assert isinstance(copied, ObjectPath)
    fetch_object(copied, tmp_path / "copy", "--image_path")
    assert (tmp_path / "copy").read_bytes() == b"content"
    assert list_objects(copied) is None


def test_a_uri_may_have_what_must_be_escaped(tmp_path: Path) -> None:
    (tmp_path / "ä b#100%.png").write_bytes(b"content")
    fetch_object(ObjectPath.of(f"file://{tmp_path}/ä b#100%.png", ""), tmp_path / "copy", "")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_what_is_not_there_or_too_large_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.png").write_bytes(b"12345678")
    uri, copy = tmp_path.as_uri(), tmp_path / "copy"

    def fetch(name: str, **rest) -> None:
        fetch_object(ObjectPath.of(name, ""), copy, "--image_path", **rest)

    with pytest.raises(MediaError, match=rf"^--image_path {uri}/none.png does not exist; check the URI$"):
        fetch(f"{uri}/none.png")
    with pytest.raises(MediaError, match=rf"^--image_path {uri} cannot be read \(.*directory.*\); check the URI"):
        fetch(uri)
    with pytest.raises(MediaError, match=r"nope://x/y cannot be read \(Unrecognized filesystem.*\); check the URI"):
        fetch("nope://x/y")
    with pytest.raises(MediaError, match=r"large.png has more than 0 MiB; make it smaller"):
        fetch(f"{uri}/large.png", most_bytes=7)
    monkeypatch.setattr(object_store, "_BLOCK_BYTES", 3)
    fetch(f"{uri}/large.png", most_bytes=8)
    assert copy.read_bytes() == b"12345678"
    with pytest.raises(InputError, match=rf"^INPUT {uri}/none does not exist; check the URI$"):
        list_objects(ObjectPath.of(f"{uri}/none", ""))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.fs", None)
    path = ObjectPath.of("s3://bucket/a.png", "")
    for ask in (lambda: list_objects(path), lambda: fetch_object(path, tmp_path / "copy", "INPUT")):
        with pytest.raises(InputError, match=r"^INPUT s3://bucket/a.png needs pyarrow, of the extra batch; install it"):
            ask()
