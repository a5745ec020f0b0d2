"""A file is an aligned face for one command if it is for all: the same formats, the same words for what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from picture_files import encoded
from PIL import Image

from faceref.data.check import inspect_files
from faceref.data.dataset import FaceDataset, FaceSource
from faceref.data.decoded import decode_face
from faceref.data.degradation import SEVERE
from faceref.data.embedding import embed_faces
from faceref.data.embedding_space import embedding_space
from faceref.data.lq_set import degrade_files
from faceref.data.mapping import ReferenceEntry, ReferenceMapping
from faceref.errors import DataError
from faceref.evaluation.cases import load_cases
from faceref.evaluation.faces import read_face
from faceref.pictures.aligned import open_face
from faceref.pictures.photo import open_photo

ORIENTATION = 0x0112

COMMANDS = {
    "train": lambda folder: FaceDataset([FaceSource(root=folder)], "train", 32, seed=0),
    "embed": lambda folder: embed_faces(folder, [{"file": "face.png"}], embedding_space(None)),
    "degrade": lambda folder: degrade_files(folder, ["face.png"], folder / "lq", SEVERE, seed=0, purpose="severe"),
    "evaluate": lambda folder: load_cases(ReferenceMapping((ReferenceEntry("face.png", ()),)), folder),
    "measure": lambda folder: read_face(folder / "face.png", 32),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_format_that_photographs_may_not_have_is_no_face_for_any_command(command: str, tmp_path: Path):
    Image.new("RGB", (32, 32)).save(tmp_path / "face.png", format="GIF")  # Pillow looks at the bytes, not at the name
    with pytest.raises(DataError) as error:
        COMMANDS[command](tmp_path)
    if command == "degrade":  # which has a table for the reasons
        assert "JPEG, PNG, WebP, BMP, TIFF" in (tmp_path / "lq" / "left_out.csv").read_text()
    else:
        assert "JPEG, PNG, WebP, BMP, TIFF" in str(error.value)


def test_check_says_what_is_wrong_with_each_file(tmp_path: Path):
    good = Image.new("RGB", (32, 32))
    good.save(tmp_path / "good.png")
    good.save(tmp_path / "film.png", format="GIF")
    good.resize((32, 30)).save(tmp_path / "wide.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    files = ["good.png", "film.png", "wide.png", "cut.png", "folder.png", "gone.png"]
    states = inspect_files(tmp_path, files)
    assert states["good.png"].problem == ""
    assert states["film.png"].problem.startswith("is not a picture in JPEG, PNG")
    assert states["wide.png"].problem.startswith("is 32x30, not square")
    assert states["cut.png"].problem == "is damaged and cannot be decoded"
    assert states["folder.png"].problem == "is a folder"
    assert states["gone.png"].problem == "does not exist"


def test_a_face_of_16_bits_is_no_white_one(tmp_path: Path):
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.abs(np.asarray(open_face(tmp_path / "deep.png"))[..., 0] - grey / 257.0).max() <= 1
    assert decode_face(tmp_path / "deep.png", 64)[:3].mean() == pytest.approx(127.5, abs=1)


def test_padding_stays_padding(tmp_path: Path):
    padded = Image.new("LA", (32, 32), (90, 255))
    padded.putpixel((3, 4), (90, 0))
    padded.save(tmp_path / "padded.png")
    face = open_face(tmp_path / "padded.png")
    assert (face.mode, face.getpixel((3, 4)), face.getpixel((4, 4))) == ("RGBA", (90, 90, 90, 0), (90, 90, 90, 255))


def test_damaged_exif_refuses_no_face_as_it_refuses_no_photograph(astronaut: Image.Image, tmp_path: Path):
    no_exif = encoded(astronaut, "PNG", exif=b"Exif\0\0no header of TIFF")
    exif = encoded(astronaut, "PNG", exif=Image.Exif().tobytes())
    wrong_checksum = exif.replace(b"eXIfMM", b"eXIfII", 1)
    assert wrong_checksum != exif
    for damaged in (no_exif, wrong_checksum):
        (tmp_path / "face.png").write_bytes(damaged)
        assert open_face(tmp_path / "face.png").tobytes() == astronaut.tobytes()
        assert open_photo(tmp_path / "face.png").image.tobytes() == astronaut.tobytes()


def test_a_truncated_face_is_refused_though_a_photograph_serves_as_far_as_it_goes(
    astronaut: Image.Image, tmp_path: Path
):
    for name, progressive, told in (("rows", False, "% of it could be read"), ("detail", True, "some detail is lost")):
        whole = encoded(astronaut, "JPEG", progressive=progressive)
        (tmp_path / f"{name}.jpg").write_bytes(whole[: len(whole) * 3 // 4])
        assert open_photo(tmp_path / f"{name}.jpg").image.size == astronaut.size
        with pytest.raises(DataError, match=rf"{name}\.jpg is truncated: .*{told}"):
            open_face(tmp_path / f"{name}.jpg")


def test_a_face_is_upright(astronaut: Image.Image, tmp_path: Path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # its first row is the right side
    astronaut.rotate(90).save(tmp_path / "lying.png", exif=exif)
    assert open_face(tmp_path / "lying.png").tobytes() == astronaut.tobytes()
