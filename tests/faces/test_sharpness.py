"""Sharpness is that of the face, not of what is around it."""

import cv2
import numpy as np
from PIL import Image

from faceref.faces.detect import DlibDetector
from faceref.faces.sharpness import face_region, sharpness


def test_the_face_is_between_brows_and_chin(astronaut: Image.Image):
    image = astronaut.crop((140, 15, 310, 185)).resize((256, 256))
    landmarks = DlibDetector().landmarks(image, (46, 69, 205, 233))
    region = face_region(landmarks, 256)
    assert region[128, 128] == 1
    assert region[:20].sum() == region[:, :20].sum() == 0
    assert 0.1 < region.mean() < 0.5


def test_sharpness_is_that_of_the_face_alone(astronaut: Image.Image):
    truth = np.array(astronaut.crop((140, 15, 310, 185)).resize((128, 128)))
    face = np.zeros((128, 128), np.uint8)
    face[32:96, 32:96] = 1
    blurred_background = np.where(face[..., None] > 0, truth, cv2.GaussianBlur(truth, (0, 0), 5))
    border = cv2.erode(face, np.ones((3, 3)))
    assert sharpness(blurred_background, border) == sharpness(truth, border)
    assert sharpness(cv2.GaussianBlur(truth, (0, 0), 2), border) < sharpness(truth, border) / 4


def test_detail_that_a_smaller_picture_cannot_hold_counts_at_a_larger_size(astronaut: Image.Image):
    fine = np.array(astronaut.crop((140, 15, 310, 185)).resize((256, 256), Image.Resampling.LANCZOS))
    fine[::2, ::2] = 255 - fine[::2, ::2]
    face = np.ones((256, 256), np.uint8)
    assert sharpness(fine, face, 256) > 10 * sharpness(fine, face, 128)
