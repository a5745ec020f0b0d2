"""The numbers agree with scikit-image's, keep out what is to be kept out, and move the right way."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from faceref.evaluation.metrics import fidelity, ms_ssim_weights
from faceref.evaluation.pictures import to_pixels, to_tensor
from faceref.models.identity import feature_distance


@pytest.fixture(scope="module")
def pair(astronaut: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a blurred, noisy version: uint8 [128, 128, 3]."""
    truth = np.array(astronaut.crop((140, 15, 310, 185)).resize((128, 128)))
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    return truth, np.clip(cv2.GaussianBlur(truth, (0, 0), 2) + noise, 0, 255).astype(np.uint8)


def measure(picture: np.ndarray, truth: np.ndarray, inside: np.ndarray | None = None) -> dict[str, float]:
    size = len(truth)
    everything = torch.ones(1, 1, size, size)
    mask = everything if inside is None else torch.from_numpy(inside)[None, None].float()
    face = torch.zeros(1, 1, size, size)
    face[..., 32:96, 32:96] = 1
    numbers = fidelity(to_tensor(picture[None]), to_tensor(truth[None]), mask, face)
    return {key: float(value[0]) for key, value in numbers.items()}


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    truth, picture = pair
    numbers = measure(picture, truth)
    assert numbers["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, picture), abs=1e-4)
    inner = (slice(32, 96), slice(32, 96))
    assert numbers["face_psnr"] == pytest.approx(peak_signal_noise_ratio(truth[inner], picture[inner]), abs=1e-4)
    expected = structural_similarity(
        truth, picture, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert numbers["ssim"] == pytest.approx(expected, abs=1e-4)
    assert numbers["ssim"] < numbers["ms_ssim"] < 1


def test_ms_ssim_is_that_of_torchmetrics(pair):
    truth, picture = (cv2.resize(one, (256, 256)) for one in pair)
    a, b = (torch.from_numpy(one).permute(2, 0, 1)[None] / 255 for one in (picture, truth))
    expected = multiscale_structural_similarity_index_measure(a, b, data_range=1.0, normalize="relu")
    assert isinstance(expected, torch.Tensor)
    # at the coarsest scale it takes windows that leave the picture, too
    assert measure(picture, truth)["ms_ssim"] == pytest.approx(float(expected), abs=5e-4)


@pytest.mark.parametrize("outside", [0.25, 0.5])
def test_padding_makes_a_bad_picture_no_better(outside: float):
    rng = np.random.default_rng(0)
    truth, picture = rng.integers(0, 255, (2, 256, 256, 3)).astype(np.uint8)
    picture = (picture // 2 + truth // 2).astype(np.uint8)
    inside = np.ones((256, 256), np.uint8)
    inside[: round(outside * 256)] = 0
    alone, padded = measure(picture, truth), measure(picture, truth, inside)
    assert padded["ssim"] == pytest.approx(alone["ssim"], abs=0.02)
    assert padded["ms_ssim"] == pytest.approx(alone["ms_ssim"], abs=0.02)


def test_the_same_picture_is_perfect(pair):
    numbers = measure(pair[0], pair[0])
    assert numbers["psnr"] == 100
    assert numbers["ssim"] == pytest.approx(1, abs=1e-5)
    assert numbers["ms_ssim"] == pytest.approx(1, abs=1e-5)


def test_what_was_not_in_the_photograph_is_not_compared(pair):
    truth, _ = pair
    picture = truth.copy()
    picture[:, :40] = 0
    inside = np.ones((128, 128), np.uint8)
    inside[:, :40] = 0
    assert measure(picture, truth)["psnr"] < 20
    masked = measure(picture, truth, inside)
    assert masked["psnr"] == 100
    assert masked["ssim"] == pytest.approx(1, abs=1e-5)
    assert masked["ms_ssim"] == pytest.approx(1, abs=1e-5)


def test_ms_ssim_has_as_many_scales_as_fit_and_weights_that_sum_to_one():
    assert ms_ssim_weights(512) == pytest.approx((0.0448, 0.2856, 0.3001, 0.2363, 0.1333), abs=1e-3)
    assert len(ms_ssim_weights(128)) == 4
    assert sum(ms_ssim_weights(128)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("size", "scales"), [(176, 5), (175, 4), (88, 4), (87, 3), (44, 3), (43, 2), (22, 2), (21, 1), (11, 1)]
)
def test_the_coarsest_scale_holds_a_whole_window(pair, size: int, scales: int):
    """Of 11 pixels; each scale is half as large as the one before."""
    assert len(ms_ssim_weights(size)) == scales
    truth, picture = (cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in pair)
    assert 0.3 < measure(picture, truth)["ms_ssim"] < 1


def test_feature_distance_is_zero_for_equal_directions_and_two_for_orthogonal_ones():
    a = torch.zeros(1, 2, 3, 3)
    b = a.clone()
    a[:, 0], b[:, 1] = 5, 3
    assert feature_distance([a], [a * 2]).item() == 0
    assert feature_distance([a, a], [b, a]).item() == pytest.approx(2)


def test_pixels_survive_the_way_to_tensors_and_back(pair):
    np.testing.assert_array_equal(to_pixels(to_tensor(pair[0][None]))[0], pair[0])
