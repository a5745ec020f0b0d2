"""The download of FFHQ-Ref: the layout that `evaluate` reads, or one sentence and no folder."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from release_server import release_server

from faceref.data import ffhq_ref
from faceref.data.ffhq_ref import ARCHIVE, FFHQ_REF, LISTS, LQ_SETS, ROOT, download_ffhq_ref
from faceref.data.mapping import ReferenceMapping
from faceref.errors import CheckpointError, FacerefError, OutputError, UsageError

TEST = "reference_mapping/test_references.csv"


def content_of(name: str) -> bytes:
    if name == TEST:
        return b"gt_image,ref_image,lq_image\n00001.png,\"['00002.png', '00003.png']\",00001.png\n"
    return b"gt_image,ref_image\n00004.png,\"['00005.png']\"\n" if name.endswith(".csv") else b"00001.png\n00002.png\n"


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(buffer, "PNG")
    return buffer.getvalue()


def members() -> dict[str, bytes]:
    """As the released archive has them: below FFHQ-Ref/, with macOS' own beside them."""
    files = {f"{ROOT}/{name}": content_of(name) for name in LISTS}
    files |= {f"{ROOT}/{name}/00001.png": picture() for name in LQ_SETS}
    return files | {f"__MACOSX/{ROOT}/._{TEST}": b"mac", f"{ROOT}/.DS_Store": b"mac"}


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """A folder with the archive, whose size is the one that is expected."""
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "mirror").mkdir()
    archive = write_archive(tmp_path / "mirror" / ARCHIVE, members())
    monkeypatch.setattr(ffhq_ref, "SIZE", archive.stat().st_size)
    return tmp_path / "mirror"


@pytest.fixture
def get(mirror, tmp_path):
    def get(source: str | Path = mirror, **options: Any):
        options = {"accept_licence": True} | options
        return download_ffhq_ref(tmp_path / "FFHQ-Ref", tmp_path / "home", str(source), **options)

    return get


def test_it_has_the_layout_that_evaluate_reads_and_nothing_else(get, mirror):
    done = get()
    found = {str(path.relative_to(done.folder)) for path in done.folder.rglob("*") if path.is_file()}
    assert found == {*LISTS, *(f"{name}/00001.png" for name in LQ_SETS)}
    (entry,) = ReferenceMapping.read(done.folder / TEST)
    assert (entry.gt_image, entry.ref_images, entry.lq_image) == ("00001.png", ("00002.png", "00003.png"), "00001.png")
    assert len(ReferenceMapping.read(done.folder / "id_based_ffhq_split/test_image.txt")) == 2
    assert done.images == dict.fromkeys(LQ_SETS, 1)
    assert done.sha256 == hashlib.sha256((mirror / ARCHIVE).read_bytes()).hexdigest()


def test_it_goes_on_where_it_broke_off_and_leaves_no_download_behind(get, mirror, tmp_path):
    with release_server(mirror) as release:
        release.breaks_off = 300
        with pytest.raises(OutputError, match=r"FFHQ-Ref\.zip could not be downloaded \(it broke off after 300 of"):
            get(release.url)
        assert not (tmp_path / "FFHQ-Ref").exists()
        get(release.url)
        assert release.ranges == [(ARCHIVE, None), (ARCHIVE, "bytes=300-")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FFHQ-Ref", "home", "mirror"]


def test_nothing_is_read_before_the_licence_is_accepted_and_it_is_remembered(get, tmp_path):
    with pytest.raises(UsageError, match="non-commercial research only") as error:
        get(accept_licence=False)
    assert error.value.code == "licence"
    (tmp_path / "FFHQ-Ref").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        get()
    (tmp_path / "FFHQ-Ref").rmdir()
    get(accept_licence=False)


@pytest.mark.parametrize("fault", ["html", "missing", "other"])
def test_what_a_server_gives_instead_is_one_sentence_and_no_folder(get, mirror, tmp_path, fault):
    digest = hashlib.sha256((mirror / ARCHIVE).read_bytes()).hexdigest()
    with release_server(mirror) as release:
        release.fault = fault
        with pytest.raises(FacerefError) as error:
            get(release.url, sha256=digest)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "FFHQ-Ref").exists()
        release.fault = None
        get(release.url)


def test_another_size_or_digest_is_refused_unless_it_is_given(get, monkeypatch, mirror):
    digest = hashlib.sha256((mirror / ARCHIVE).read_bytes()).hexdigest()
    monkeypatch.setattr(ffhq_ref, "SIZE", 446_546_859)
    with pytest.raises(CheckpointError, match=f"bytes, not 446546859; .*{digest}"):
        get()
    with pytest.raises(CheckpointError, match=f"its SHA-256 is {digest}, not {'0' * 64}"):
        get(sha256="0" * 64)
    assert get(sha256=digest).sha256 == digest


@pytest.mark.parametrize("lacking", [TEST, "test_images/severe_degrad/00001.png"])
def test_an_archive_that_lacks_something_is_named(get, mirror, tmp_path, monkeypatch, lacking):
    files = members()
    del files[f"{ROOT}/{lacking}"]
    monkeypatch.setattr(ffhq_ref, "SIZE", write_archive(mirror / ARCHIVE, files).stat().st_size)
    with pytest.raises(CheckpointError, match="is not FFHQ-Ref: it lacks"):
        get()
    assert not (tmp_path / "FFHQ-Ref").exists()


def test_a_damaged_file_in_the_archive_is_found_and_downloaded_anew(get, mirror, tmp_path):
    archive = mirror / ARCHIVE
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as packed:
        begin = packed.getinfo(f"{ROOT}/{TEST}").header_offset
    damaged = bytearray(whole)
    damaged[begin + 30 + len(f"{ROOT}/{TEST}") + 5] ^= 0xFF
    archive.write_bytes(damaged)
    with release_server(mirror) as release:
        with pytest.raises(CheckpointError, match="is not FFHQ-Ref: it cannot be unpacked"):
            get(release.url)
        assert not (tmp_path / "FFHQ-Ref").exists()
        archive.write_bytes(whole)
        get(release.url)


def test_names_that_lead_elsewhere_are_passed_over(get, mirror, tmp_path, monkeypatch):
    files = members() | {f"{ROOT}/test_images/severe_degrad/../../../../out.png": b"", "/etc/out.png": b""}
    monkeypatch.setattr(ffhq_ref, "SIZE", write_archive(mirror / ARCHIVE, files).stat().st_size)
    get()
    assert not list(tmp_path.rglob("out.png"))


def test_the_terms_name_the_authors_and_the_use():
    assert FFHQ_REF.version == "0.1.0"
    assert FFHQ_REF.terms.count(". ") == 1
