"""An album is looked at once, whatever lies in it; its faces are grouped into people, whose photographs wait."""

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from invented_album import CountingDetector, save_album, strangers, variants
from PIL import PngImagePlugin

from faceref.errors import PhotoError
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.people.album import Album, AlbumPhoto, read_album
from faceref.people.album_index import FILE, AlbumIndex
from faceref.people.album_people import people_of, shows_one_person


@pytest.fixture(scope="module")
def looked_at(portrait, tmp_path_factory) -> Path:
    """A folder with `album`, and `cache` with its index."""
    folder = tmp_path_factory.mktemp("looked at")
    save_album(folder / "album", portrait)
    look(folder)
    return folder


@pytest.fixture
def folder(looked_at, tmp_path) -> Path:
    """A copy of it, times of modification included."""
    shutil.copytree(looked_at, tmp_path / "copy")
    return tmp_path / "copy"


def look(folder: Path, detector: CountingDetector | None = None, **options) -> Album:
    index = AlbumIndex(folder / "cache")
    return read_album([folder / "album"], detector or CountingDetector(), TorchDlibRecogniser(), index, **options)


def names(album: Album) -> list[str]:
    return [photo.path.name for photo in album.photos]


def groups(album: Album) -> list[list[str]]:
    return [[Path(one.name).name for one in person.references] for person in people_of(album)]


def test_an_album_is_grouped_into_people_and_nothing_is_written_into_it(folder):
    before = sorted(path.name for path in (folder / "album").iterdir())
    assert groups(look(folder)) == [["1.png", "2.png", "3.png", "6.png"], ["4.png", "5.png", "6.png"]]
    assert sorted(path.name for path in (folder / "album").iterdir()) == before


def test_a_file_that_is_given_twice_is_one_photograph_and_no_copy(folder):
    paths = [folder / "album", folder / "album" / "1.png"]
    twice = read_album(paths, CountingDetector(), TorchDlibRecogniser(), AlbumIndex(folder / "cache"))
    assert [(photo.name, photo.copies) for photo in twice.photos] == [
        (photo.name, photo.copies) for photo in look(folder).photos
    ]


def test_what_was_seen_before_is_not_looked_at_again_nor_what_was_moved_or_renamed(folder):
    detector = CountingDetector()
    album = look(folder, detector)  # copied, so that no path is as it was
    assert (len(album.photos), detector.shown) == (6, 0)
    (folder / "album" / "1.png").rename(folder / "album" / "renamed.png")
    (folder / "album" / "later").mkdir()
    (folder / "album" / "2.png").rename(folder / "album" / "later" / "2.png")
    assert names(look(folder, detector))[-2:] == ["2.png", "renamed.png"]
    assert detector.shown == 0


def test_unchanged_files_are_not_even_read(folder, monkeypatch):
    look(folder)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read"))
    assert len(look(folder).photos) == 6


def test_a_changed_photograph_is_looked_at_again(folder, portrait):
    strangers(portrait)[3].save(folder / "album" / "1.png")
    detector = CountingDetector()
    assert groups(look(folder, detector)) == [["1.png", "4.png", "5.png", "6.png"], ["2.png", "3.png", "6.png"]]
    assert detector.shown == 1


def test_a_photograph_that_was_changed_behind_its_time_of_modification_is_looked_at_again(folder):
    path = folder / "album" / "1.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last checksum: as a program does that turns a photograph and keeps its time
    look(folder)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    detector = CountingDetector()
    look(folder, detector)
    assert detector.shown == 1


def test_another_detector_looks_for_itself(folder):
    class Another(CountingDetector):
        pass

    detector = Another()
    look(folder, detector)
    assert detector.shown == 6


def test_a_recogniser_with_other_weights_looks_for_itself(folder, monkeypatch):
    other = folder / "network.dat"
    other.write_bytes(b"other weights")
    with monkeypatch.context() as patch:
        patch.setattr("faceref.people.album.dlib_weights", lambda name: str(other))
        detector = CountingDetector()
        look(folder, detector)
        assert detector.shown == 6
    look(folder, detector)
    assert detector.shown == 6


def test_what_cannot_be_read_is_skipped_and_the_rest_is_not(folder):
    (folder / "album" / "0.jpg").write_text("not a picture")
    (folder / "album" / "7.png").write_bytes(b"")
    album = look(folder)
    assert len(album.photos) == 6
    assert {Path(one.name).name: one.reason[:20] for one in album.skipped} == {
        "0.jpg": "it is not a picture ",
        "7.png": "it is not a picture ",
    }


def test_our_own_results_are_left_out(folder, portrait):
    ours = PngImagePlugin.PngInfo()
    ours.add_text("Software", "faceref 1.0")
    portrait.save(folder / "album" / "0.png", pnginfo=ours)
    album = look(folder)
    assert len(album.photos) == 6
    assert [(Path(one.name).name, one.reason) for one in album.skipped] == [("0.png", "it is AI-restored itself")]


def test_a_photograph_that_vanishes_while_the_album_is_read_is_skipped(folder):
    def vanish(done: int, _: int) -> None:
        (folder / "album" / "2.png").unlink(missing_ok=True)

    (folder / "album" / "2.png").touch()  # it has to be read again
    album = look(folder, on_photo=vanish)
    assert names(album) == ["1.png", "3.png", "4.png", "5.png", "6.png"]
    assert [(Path(one.name).name, one.reason[:17]) for one in album.skipped] == [("2.png", "it cannot be read")]


def test_an_interruption_loses_nothing_that_was_looked_at(portrait, tmp_path):
    save_album(tmp_path / "album", portrait)

    def interrupt(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(tmp_path, on_photo=interrupt)
    detector = CountingDetector()
    look(tmp_path, detector)
    assert detector.shown == 4


LOOK = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from invented_album import CountingDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.people.album import read_album
from faceref.people.album_index import AlbumIndex
folder = Path(sys.argv[1])
album = read_album([folder / "album"], CountingDetector(), TorchDlibRecogniser(), AlbumIndex(folder / "cache"))
print(len(album.photos), sum(len(photo.seen.faces) for photo in album.photos))
"""


def test_two_processes_may_look_at_once(portrait, tmp_path):
    save_album(tmp_path / "album", portrait)
    command = [sys.executable, "-c", LOOK, str(tmp_path), str(Path(__file__).parent)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=240)[0].strip() for process in both] == ["6 7", "6 7"]
    with sqlite3.connect(tmp_path / "cache" / FILE) as rows:
        assert rows.execute("SELECT count(*) FROM face").fetchone() == (7,), "each face is kept once"


@pytest.mark.parametrize("state", ["locked", "damaged", "no folder"])
def test_an_index_that_cannot_be_used_is_said_once_and_done_without(state, folder, monkeypatch, caplog):
    path = folder / "cache" / FILE
    monkeypatch.setattr("faceref.people.database.PATIENCE", 0.05)
    rows = sqlite3.connect(path)
    if state == "locked":
        rows.execute("BEGIN EXCLUSIVE")
    elif state == "damaged":
        path.write_text("not a database" * 100)
    else:
        shutil.rmtree(folder / "cache")
        (folder / "cache").write_text("")
    assert len(look(folder).photos) == 6
    rows.close()
    (said,) = caplog.messages
    assert said.startswith(f"What is seen in albums is not remembered: {path} ")
    assert {
        "locked": "is in use by another program; wait for the other program",
        "damaged": "remove it, it is made again",
        "no folder": "a part of its path is a file; choose another folder",
    }[state] in said


def test_an_index_of_another_version_is_made_anew(folder):
    with sqlite3.connect(folder / "cache" / FILE) as rows:
        rows.execute("PRAGMA user_version = 1")
    rows.close()
    detector = CountingDetector()
    assert [len(look(folder, detector).photos) for _ in range(2)] == [6, 6]
    assert detector.shown == 6, "looked at once more, then known"


def test_without_an_index_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr(AlbumIndex, "remember", lambda *_: pytest.fail("it is remembered"))
    detector = CountingDetector()
    assert len(read_album([folder / "album"], detector, TorchDlibRecogniser()).photos) == 6
    assert detector.shown == 6


def test_references_are_read_when_they_are_needed_and_only_as_they_were_seen(folder, portrait):
    person = people_of(look(folder))[0]
    reference = person.references[0].reference()
    assert reference.face.size == (512, 512)
    assert np.array_equal(reference.embedding, person.references[0].embedding)
    variants(portrait)[3].save(folder / "album" / "1.png")
    with pytest.raises(PhotoError, match=r"1.png has changed since it was looked at"):
        person.references[0].reference()
    (folder / "album" / "1.png").unlink()
    with pytest.raises(PhotoError, match="does not exist"):
        person.references[0].reference()


def test_a_reference_that_another_decoder_reads_otherwise_is_the_same_photograph(folder, monkeypatch):
    known = people_of(look(folder))[0].references[0]
    monkeypatch.setattr("faceref.people.album_people.pixel_digest", lambda photo: "rounded otherwise")
    assert known.reference().digest == "rounded otherwise"


def test_people_are_called_by_photographs_that_show_nobody_else(folder):
    (folder / "album" / "6.png").rename(folder / "album" / "0.png")
    assert groups(look(folder)) == [["1.png", "2.png", "3.png", "0.png"], ["4.png", "5.png", "0.png"]]


def test_an_album_is_told_from_one_persons_photographs(folder):
    several = look(folder)
    assert not shows_one_person(several, people_of(several))
    for number in (4, 6):
        (folder / "album" / f"{number}.png").unlink()
    one_stranger = look(folder)
    assert names(one_stranger) == ["1.png", "2.png", "3.png", "5.png"]
    assert shows_one_person(one_stranger, people_of(one_stranger))
    (folder / "album" / "3.png").unlink()
    (folder / "album" / "2.png").unlink()
    one_of_each = look(folder)
    assert not shows_one_person(one_of_each, people_of(one_of_each))


def test_two_people_who_look_alike_are_no_one_person(folder):
    """Each is within dlib's distance of the same person to the most typical photograph, and far from the other."""
    album, rng = look(folder), np.random.default_rng(0)
    seen = next(photo.seen for photo in album.photos if len(photo.seen.faces) == 1)
    middle = rng.standard_normal(128)
    middle /= np.linalg.norm(middle)

    def photographs(away: float) -> Album:
        photos = []
        for number in range(6):
            vector = 0.2 * middle * (number % 2) + away * np.eye(128)[number // 3]
            face = replace(seen.faces[0], embedding=vector.astype(np.float32))
            one = replace(seen, pixels=f"{number}", faces=(face,))
            photos.append(AlbumPhoto(folder / f"{number}.png", one))
        return Album(tuple(photos), ())

    for away, one_person in ((0.2, True), (0.42, False)):
        people = people_of(photographs(away))
        assert shows_one_person(photographs(away), people) is one_person
    assert [len(person.references) for person in people] == [3, 3]
