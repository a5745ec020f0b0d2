"""A face may be a person if its embedding lies near for how good it is: certainty falls with distance."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from faceref.faces.align import align
from faceref.faces.certainty import Calibration, refusal_threshold
from faceref.faces.detect import Face
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.faces.quality import quality
from faceref.faces.recognise import distance

SIZE = 128


def certainty(distance: float, score: float) -> float:
    return float(Calibration.shipped().certainty(np.array(distance), np.array(score)))


@pytest.mark.parametrize("score", [0.1, 0.4, 0.7, 1.0])
def test_certainty_falls_with_distance(score: float):
    certainties = [certainty(away, score) for away in np.linspace(0.2, 1.2, 21)]
    assert certainties == sorted(certainties, reverse=True)
    assert 0 <= certainties[-1] < refusal_threshold() < certainties[0] <= 1


def test_a_sharp_stranger_at_0_75_is_refused_and_a_sharp_friend_at_0_45_is_not():
    # dlib's mean distances on LFW: 0.43 of the same person, 0.83 of two
    assert certainty(0.75, 0.9) < refusal_threshold() < certainty(0.45, 0.9)


def test_the_formula_is_the_textbooks():
    one = Calibration((1.0, -2.0, 3.0, 0.5, -1.0), 0.5)
    logit = 1 - 2 * 0.6 + 3 * 0.5 + 0.5 * 0.6 * 0.5 - 0.5**2
    assert float(one.certainty(np.array(0.6), np.array(0.5))) == pytest.approx(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize("blur", [0, 2, 5])
def test_a_blurred_portrait_may_be_who_it_is(blur: float, astronaut: Image.Image, astronaut_face: Face):
    recogniser = TorchDlibRecogniser()
    aligned = align(astronaut, astronaut_face.landmarks, SIZE)
    blurred = align(astronaut.filter(ImageFilter.GaussianBlur(blur)), astronaut_face.landmarks, SIZE)
    (own,) = recogniser.embed_aligned([aligned.image])
    (probe,) = recogniser.embed_probes([blurred.image], [landmarks_of_aligned(blurred.image, recogniser.landmarker)])
    assert certainty(float(distance(own, probe)), quality(blurred).score) > refusal_threshold()
