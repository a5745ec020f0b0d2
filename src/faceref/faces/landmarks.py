"""dlib's 68 landmarks of a face of which five points are known, whichever way up it lies."""

import numpy as np
from PIL import Image

from faceref.faces.align import align
from faceref.faces.face import Landmarker

UPRIGHT_SIZE = 256  # pixels of the upright face that the 68 landmarks are looked for in
# dlib's face box in an FFHQ-aligned picture, as shares of its side (left, top, right, bottom): see tests/faces
ALIGNED_FACE_BOX = (0.18, 0.27, 0.80, 0.91)


def landmarks_of_aligned(image: Image.Image, landmarker: Landmarker) -> np.ndarray:
    """Landmarks float32 [68, 2] in an FFHQ-aligned RGB face of any size."""
    left, top, right, bottom = ALIGNED_FACE_BOX
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return landmarker.landmarks(image, box)


def yaw(landmarks: np.ndarray) -> float:
    """How far a face with landmarks [68, 2] is turned: 0 frontal, towards 1 or -1 a profile (tip of the nose, jaw)."""
    to_jaw = np.linalg.norm(landmarks[[0, 16]] - landmarks[30], axis=1)
    return float((to_jaw[0] - to_jaw[1]) / to_jaw.sum())


def pitch(landmarks: np.ndarray) -> float:
    """How far a face with landmarks [68, 2] looks down: where the tip of the nose lies between eyes (0) and mouth (1).

    About 0.6 if it looks ahead, more if it looks down. Noses differ: only faces of one person can be compared.
    """
    eyes, mouth = landmarks[36:48].mean(0), landmarks[48:68].mean(0)
    down = mouth - eyes
    return float((landmarks[30] - eyes) @ down / (down @ down))


def eye_openness(landmarks: np.ndarray) -> float:
    """The eyes' aspect ratio, the mean of both, of landmarks [68, 2] (Soukupova & Cech 2016): 0 shut, about 0.3 open.

    Eyes have their own shapes: only faces of one person can be compared.
    """
    ratios = []
    for eye in (landmarks[36:42], landmarks[42:48]):
        height = np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])
        ratios.append(height / (2 * np.linalg.norm(eye[0] - eye[3])))
    return float(np.mean(ratios))


def landmarks_from_five(image: Image.Image, five: np.ndarray, landmarker: Landmarker) -> np.ndarray:
    """Landmarks float32 [68, 2] from five [5, 2]: left eye, right eye, nose, left and right corner of the mouth."""
    known = np.zeros((68, 2))  # those that FFHQ's alignment looks at
    known[36:42], known[42:48], known[48], known[54] = five[0], five[1], five[3], five[4]
    upright = align(image, known, UPRIGHT_SIZE)
    points = landmarks_of_aligned(upright.image, landmarker)
    return upright.alignment.to_photo(points).astype(np.float32)
