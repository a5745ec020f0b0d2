"""Which references are taken: by the rule of FFHQ-Ref, and by how well they serve a face."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.landmarks import eye_openness, pitch
from faceref.faces.mesh import MeshLandmarker
from faceref.people.choice import Weights, farthest_points, merit, wanted
from faceref.people.measure import Measure
from faceref.people.person import Reference
from faceref.people.traits import Traits, traits_of

GOOD = Traits(score=0.8, yaw=0.0, pitch=0.6, exposure=0.7, eyes=0.3)

TARGET = np.zeros(1, np.float32)
LINE = np.array([[0.05], [1], [2], [3.5], [4], [11]], dtype=np.float32)


def choose(**rules: float | int) -> list[float]:
    order = farthest_points(TARGET, LINE, Measure.EUCLIDEAN, **rules)  # type: ignore[arg-type]
    return [round(float(LINE[i, 0]), 2) for i in order]


def test_farthest_points_worked_out_by_hand():
    # 0.05 is too near and 11 too far; 4 is farthest from 0; then 2 is 2 from both ends, then 1 (1 from both 0 and 2),
    # then 3.5, half from 4
    assert choose(minimum=0.1, maximum=10.0) == [4, 2, 1, 3.5]
    assert choose(minimum=0.1, maximum=10.0, at_most=2) == [4, 2]
    assert choose(maximum=2.0) == [1, 0.05]  # the maximum itself is too far


def test_without_rules_everything_is_ordered():
    assert sorted(choose()) == [0.05, 1, 2, 3.5, 4, 11]
    assert choose()[0] == 11
    assert farthest_points(TARGET, LINE[:0], Measure.EUCLIDEAN) == []


def test_the_distance_is_the_measures():
    target, orthogonal, near = np.eye(2, dtype=np.float32)[0], np.eye(2, dtype=np.float32)[1], np.array([0.6, 0.8])
    others = np.stack([near, orthogonal]).astype(np.float32)
    assert farthest_points(target, others, Measure.COSINE, maximum=0.5) == [0]  # 1 - 0.6 and 1
    assert farthest_points(target, others, Measure.EUCLIDEAN, maximum=0.5) == []  # 0.89 and 1.41


VARIED = Weights(strangeness=0, pool=2)


def test_good_references_turned_like_the_face_come_first_then_if_wished_those_that_differ():
    away = np.eye(128, dtype=np.float32)
    given = {
        "blurred": (replace(GOOD, score=0.1), away[0]),
        "good": (GOOD, away[1]),
        "almost the same as good": (replace(GOOD, score=0.7), away[1] * 1.01),
        "different": (replace(GOOD, score=0.7, yaw=0.1), away[2]),
        "profile": (replace(GOOD, yaw=0.9), away[3]),
        "best": (replace(GOOD, score=0.9), away[1] * 0.99),
    }
    traits, embeddings = [one for one, _ in given.values()], np.stack([row for _, row in given.values()])
    frontal, turned = (
        [list(given)[i] for i in wanted(embeddings, traits, replace(GOOD, yaw=yaw), 2, VARIED)] for yaw in (0.0, 0.9)
    )
    assert frontal[:2] == ["best", "different"]
    assert turned[0] == "profile"
    assert sorted(frontal) == sorted(given)


def test_of_equally_good_references_the_most_typical_come_first():
    embeddings = np.array([[0.3], [0.0], [-0.1], [0.02], [0.4]], np.float32)  # the mean is 0.124
    assert wanted(embeddings, [GOOD] * 5, GOOD, at_most=2)[:2] == [3, 1]


def test_a_much_better_reference_is_taken_though_another_is_more_typical():
    embeddings = np.array([[0.0], [0.05], [-0.05]], np.float32)
    traits = [replace(GOOD, score=0.2), replace(GOOD, score=0.9), replace(GOOD, score=0.2)]
    assert wanted(embeddings, traits, GOOD, at_most=1)[0] == 1


@pytest.mark.parametrize(
    "worse",
    [{"score": 0.6}, {"yaw": 0.4}, {"pitch": 0.9}, {"exposure": 0.2}, {"eyes": 0.08}],
    ids=lambda worse: next(iter(worse)),
)
def test_each_trait_counts(worse):
    assert merit(replace(GOOD, **worse), GOOD) < merit(GOOD, GOOD)


def test_eyes_that_are_wider_than_open_are_no_better():
    assert merit(replace(GOOD, eyes=0.4), GOOD) == merit(GOOD, GOOD)


@pytest.fixture(scope="module")
def face(astronaut) -> Image.Image:
    return astronaut.crop((136, 16, 312, 192))  # about as FFHQ aligns it


def test_a_dark_and_a_burnt_out_face_are_exposed_worse_and_a_blurred_one_is_worse(face):
    dlib = DlibDetector()
    plain, dark, burnt = (
        traits_of(one, dlib)
        for one in (face, ImageEnhance.Brightness(face).enhance(0.2), ImageEnhance.Brightness(face).enhance(3))
    )
    assert plain.exposure > 0.5
    assert max(dark.exposure, burnt.exposure) < 0.6 * plain.exposure
    assert traits_of(face.reduce(8).resize(face.size), dlib).score < plain.score - 0.3
    assert plain.eyes > 0.2
    assert abs(plain.yaw) < 0.2


def test_a_reference_has_the_traits_that_each_landmarker_sees(face):
    dlib, mesh = DlibDetector(), MeshLandmarker()
    shown = Reference("1.jpg", face, np.zeros(128, np.float32), "digest")
    expected = traits_of(face, dlib), traits_of(face, mesh)
    assert expected[0].yaw != expected[1].yaw
    for _ in range(2):
        assert (shown.traits(dlib), shown.traits(mesh)) == expected


def test_eyes_and_nose_by_hand():
    points = np.zeros((68, 2))
    points[36:42] = [(0, 0), (1, -0.5), (2, -0.5), (3, 0), (2, 0.5), (1, 0.5)]
    points[42:48] = points[36:42] + np.array([6, 0])
    assert eye_openness(points) == pytest.approx(1 / 3)
    points[48:68] = (4.5, 10)
    points[30] = (4.5, 6)
    assert pitch(points) == pytest.approx(0.6)
    assert pitch(2 * points[:, ::-1]) == pytest.approx(0.6), "turned, and of any size"
