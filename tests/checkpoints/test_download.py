"""The download of the authors' checkpoints: whole and as expected, or one sentence and no model."""

import shutil
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from release_server import GOLDEN, SHA256, release_server

from faceref import download
from faceref.checkpoints.info import REFLDM, read_info
from faceref.checkpoints.released import REFLDM_SHA256, download_refldm
from faceref.checkpoints.store import load_pipeline
from faceref.consent import FILE, accepted_on
from faceref.errors import CheckpointError, FacerefError, OutputError, UsageError


@pytest.fixture
def release(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with release_server() as release:
        yield release


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "home" / "refldm-512"


def get(source: str | Path, folder: Path, **options):
    options = {"accept_licence": True, "sha256": SHA256, "resolution": 32} | options
    return download_refldm(folder, str(source), **options)


def test_it_is_imported_and_the_downloads_are_removed(release, folder):
    seen = []
    get(release.url, folder, on_progress=lambda *progress: seen.append(progress))
    pipeline, info = load_pipeline(folder)
    assert (info.family, info.resolution, pipeline.takes_references) == ("refldm", 32, True)
    assert {path.name for path in folder.parent.iterdir()} == {"refldm-512", FILE}
    sizes = {name: (GOLDEN / name).stat().st_size for name in SHA256}
    assert {name: (done, total) for name, done, total in seen} == {name: (size, size) for name, size in sizes.items()}


def test_nothing_is_fetched_before_the_licence_is_accepted(release, folder):
    with pytest.raises(UsageError, match="non-commercial research only") as error:
        get(release.url, folder, accept_licence=False)
    assert error.value.code == "licence"
    assert not release.ranges


def test_the_licence_is_accepted_once_for_each_version(release, folder):
    assert accepted_on(REFLDM, folder.parent) is None
    get(release.url, folder)
    assert accepted_on(REFLDM, folder.parent) == datetime.now(UTC).date().isoformat()
    shutil.rmtree(folder)
    get(release.url, folder, accept_licence=False)
    for other in (replace(REFLDM, version="1.1.0"), replace(REFLDM, terms="Other terms.")):
        assert accepted_on(other, folder.parent) is None


@pytest.mark.parametrize("content", ["", "[]", '{"refldm-512 1.0.0": 1}'])
def test_a_damaged_memory_of_licences_asks_again(release, folder, content):
    folder.parent.mkdir(parents=True)
    (folder.parent / FILE).write_text(content)
    with pytest.raises(UsageError, match="non-commercial research only"):
        get(release.url, folder, accept_licence=False)


def test_a_download_that_breaks_off_says_so_and_goes_on_where_it_was(release, folder):
    release.breaks_off = 100_000
    with pytest.raises(OutputError, match=r"refldm\.ckpt could not be downloaded \(it broke off after 100000 of"):
        get(release.url, folder)
    assert not folder.exists()
    get(release.url, folder)
    assert release.ranges == [("refldm.ckpt", None), ("refldm.ckpt", "bytes=100000-"), ("vqgan.ckpt", None)]
    assert read_info(folder).family == "refldm"


def test_with_a_server_that_cannot_go_on_it_begins_anew(release, folder):
    release.breaks_off = 100_000
    with pytest.raises(OutputError):
        get(release.url, folder)
    release.fault = "no_range"
    get(release.url, folder)
    assert read_info(folder).family == "refldm"


def test_what_was_whole_when_the_program_was_killed_is_not_fetched_again(release, folder):
    downloads = folder.with_name("refldm-512.download")
    downloads.mkdir(parents=True)
    shutil.copy(GOLDEN / "refldm.ckpt", downloads / "refldm.ckpt.part")
    get(release.url, folder)
    assert read_info(folder).family == "refldm"


def test_other_bytes_are_refused_by_their_digest_and_removed(release, folder):
    release.fault = "other"
    with pytest.raises(CheckpointError, match=f"its SHA-256 is .*, not {SHA256['refldm.ckpt']}"):
        get(release.url, folder)
    assert not folder.exists()
    assert not list(folder.parent.rglob("*.ckpt*"))
    release.fault = None
    get(release.url, folder)
    assert read_info(folder).family == "refldm"


@pytest.mark.parametrize(
    ("fault", "sentence"), [("html", "a web page came in its place"), ("missing", "the server answers 404 Not Found")]
)
def test_what_a_server_answers_instead_is_named(release, folder, fault, sentence):
    release.fault = fault
    with pytest.raises(OutputError, match=f"{release.url}/refldm.ckpt could not be downloaded \\({sentence}"):
        get(release.url, folder)
    assert not folder.exists()


def test_a_server_that_lies_about_the_size_is_found_out(release, folder):
    release.fault = "short"
    with pytest.raises(CheckpointError, match="is not the file that was expected"):
        get(release.url, folder)
    assert not folder.exists()


def test_a_server_that_falls_silent_is_left_and_gone_on_with(release, folder, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    release.fault = "slow"
    with pytest.raises(OutputError, match=r"refldm\.ckpt could not be downloaded \(timed out\); try again later"):
        get(release.url, folder)
    release.patience.set()
    release.fault = None
    get(release.url, folder)
    (name, asked) = release.ranges[1]
    assert name == "refldm.ckpt"
    assert asked is not None, "what had come by then was not fetched again"


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/nobody", "nowhere", "http://[bad"])
def test_a_source_that_is_none_is_one_sentence(folder, source, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(FacerefError) as error:
        get(source, folder)
    assert "could not be downloaded" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_with_the_files_is_checked_and_read_where_it_is(folder, tmp_path):
    mirror = Path(shutil.copytree(GOLDEN, tmp_path / "mirror"))
    get(mirror, folder)
    assert read_info(folder).family == "refldm"
    assert {path.name for path in mirror.iterdir()} == {path.name for path in GOLDEN.iterdir()}
    (mirror / "vqgan.ckpt").write_bytes((mirror / "vqgan.ckpt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"mirror.vqgan\.ckpt is not the file"):
        get(mirror, folder.with_name("other"))
    (mirror / "vqgan.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"mirror.vqgan\.ckpt cannot be read"):
        get(mirror, folder.with_name("other"))


def test_the_released_digests_are_expected_unless_others_are_given(folder):
    with pytest.raises(CheckpointError, match="ad953ba72b52ed32dd280232ff0070bc6cb097a71dce250318730c884e38b778"):
        get(GOLDEN, folder, sha256=REFLDM_SHA256)


def test_a_disk_without_room_is_said_before_the_download(release, folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    with pytest.raises(OutputError, match=r"needs 0\.00 GB, and the disk has 0\.00 GB left; free some space"):
        get(release.url, folder)


def test_a_disk_that_fills_up_is_named(release, folder, monkeypatch):
    def full(file, chunk, path):
        raise download.cannot_be_written(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(download, "_write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        get(release.url, folder)


def test_a_download_that_has_nowhere_to_go_is_named(tmp_path, release):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written"):
        get(release.url, tmp_path / "file" / "home" / "refldm-512")


def test_a_model_that_is_here_is_not_replaced(folder):
    get(GOLDEN, folder)
    with pytest.raises(OutputError, match="exists already"):
        get(GOLDEN, folder)


@pytest.fixture
def old_file(tmp_path, monkeypatch):
    """The release of one file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "file").write_bytes(b"old!" * 50_000)
    with release_server(tmp_path / "server") as release:
        yield release


def fetch_half(release, tmp_path) -> Path:
    """Where the file would be, of which half is downloaded."""
    release.breaks_off = 100_000
    with pytest.raises(OutputError, match="it broke off after 100000 of 200000 bytes"):
        download.fetch(f"{release.url}/file", tmp_path / "here" / "file", download.Expected(size=200_000))
    return tmp_path / "here" / "file"


MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize("versions", [{"ETag": '"1"'}, {"Last-Modified": MODIFIED, "ETag": 'W/"1"'}])
def test_a_download_without_a_digest_goes_on_if_the_file_is_the_same(old_file, tmp_path, versions):
    old_file.versions = versions
    path = fetch_half(old_file, tmp_path)
    download.fetch(f"{old_file.url}/file", path, download.Expected(size=200_000))
    assert path.read_bytes() == b"old!" * 50_000
    assert old_file.ranges == [("file", None), ("file", "bytes=100000-")]
    assert [one.name for one in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("fault", [None, "no_if_range"])
def test_a_file_that_was_replaced_meanwhile_is_fetched_anew(old_file, tmp_path, fault):
    path = fetch_half(old_file, tmp_path)
    (tmp_path / "server" / "file").write_bytes(b"new!" * 50_000)
    old_file.versions, old_file.fault = {"ETag": '"second"'}, fault
    download.fetch(f"{old_file.url}/file", path, download.Expected(size=200_000))
    assert path.read_bytes() == b"new!" * 50_000


def test_a_shorter_file_that_replaced_another_is_fetched_anew(old_file, tmp_path):
    path = fetch_half(old_file, tmp_path)
    (tmp_path / "server" / "file").write_bytes(b"new!" * 10_000)
    old_file.versions, old_file.fault = {"ETag": '"second"'}, "no_if_range"
    download.fetch(f"{old_file.url}/file", path, download.Expected())
    assert path.read_bytes() == b"new!" * 10_000


def test_of_a_file_that_nothing_tells_from_another_no_part_is_used(old_file, tmp_path):
    old_file.versions = {}
    path = fetch_half(old_file, tmp_path)
    (tmp_path / "server" / "file").write_bytes(b"new!" * 50_000)
    download.fetch(f"{old_file.url}/file", path, download.Expected(size=200_000))
    assert path.read_bytes() == b"new!" * 50_000


def test_what_is_here_is_compared_with_a_digest_that_is_given_later(tmp_path):
    here = tmp_path / "archive.zip"
    here.write_bytes(b"something")
    nowhere = "http://127.0.0.1:9/archive.zip"
    assert download.fetch(nowhere, here, download.Expected()) == here
    with pytest.raises(CheckpointError, match="is not the file that was expected") as refused:
        download.fetch(nowhere, here, download.Expected(sha256="0" * 64))
    assert refused.value.code == "wrong_digest"
    assert here.exists()
