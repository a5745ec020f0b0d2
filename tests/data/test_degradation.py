"""Degradation: the pure function, and the batched one that must agree with it."""

import io
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import stats

from faceref.data.degradation import (
    LDBFR,
    MODERATE,
    SEVERE,
    TRAINING,
    Degradation,
    DegradationRanges,
    apply_degradations,
    degrade,
    gaussian_kernels,
    jpeg,
)
from faceref.data.mixed_degradation import degrade_batch

NOTHING = Degradation(sigma_x=0, sigma_y=0, angle=0, downsample=1, noise=0, quality=100, kernel_size=11)


@pytest.fixture(scope="module")
def face() -> Image.Image:
    astronaut = Image.fromarray(skimage.data.astronaut())
    return astronaut.crop((130, 0, 330, 200)).resize((128, 128), Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def to_pixels(images: torch.Tensor) -> np.ndarray:
    return ((images + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / max(1e-9, float(np.mean((np.asarray(a, np.float64) - b) ** 2))))


def both(face: Image.Image, degradation: Degradation) -> tuple[np.ndarray, np.ndarray]:
    pure = degrade(face, degradation, np.random.default_rng(0))
    batched = apply_degradations(to_tensor(face)[None], [degradation], torch.Generator().manual_seed(0))
    return np.array(pure), to_pixels(batched)[0]


@pytest.mark.parametrize("preset", [TRAINING, MODERATE, SEVERE, LDBFR])
def test_drawn_parameters_fill_the_preset_and_stay_inside(preset: DegradationRanges):
    rng = np.random.default_rng(0)
    drawn = [preset.sample(rng) for _ in range(2000)]
    for name, values in {
        "sigma": [d.sigma_x for d in drawn],
        "noise": [d.noise for d in drawn],
        "quality": [d.quality for d in drawn],
    }.items():
        low, high = getattr(preset, name)
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).statistic < 0.04
        assert low <= min(values) <= max(values) <= high
    assert 1 <= min(d.downsample for d in drawn) <= max(d.downsample for d in drawn) <= preset.downsample[1]
    assert 0.45 < np.mean([d.sigma_x == d.sigma_y for d in drawn]) < 0.55


def test_ranges_scale_with_the_resolution():
    at_128 = SEVERE.at(128)
    assert at_128.sigma == (2, 4)
    assert at_128.downsample == (2, 8)
    assert (at_128.noise, at_128.quality) == (SEVERE.noise, SEVERE.quality)
    assert at_128.kernel_size == 11
    assert at_128.at(128) == at_128


def test_ranges_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="sigma"):
        DegradationRanges(sigma=(8, 0), downsample=(1, 8), noise=(0, 15), quality=(60, 100))


def test_same_seed_same_bytes(face: Image.Image):
    def once(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        return degrade(face, TRAINING.at(128).sample(rng), rng).tobytes()

    assert once(3) == once(3) != once(4)


def test_batch_depends_on_the_generator_only(face: Image.Image):
    images = to_tensor(face).expand(2, -1, -1, -1)
    first = degrade_batch(images, TRAINING, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    assert torch.equal(first, degrade_batch(images, TRAINING, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, degrade_batch(images, TRAINING, torch.Generator().manual_seed(2)))
    assert not torch.equal(first[0], first[1])


def test_isotropic_kernel_is_opencvs():
    line = cv2.getGaussianKernel(11, 2.5, cv2.CV_32F)
    np.testing.assert_allclose(
        gaussian_kernels([replace(NOTHING, sigma_x=2.5, sigma_y=2.5)])[0], line @ line.T, atol=1e-6
    )


def test_anisotropic_kernel_has_the_covariance_asked_for():
    degradation = replace(NOTHING, sigma_x=4, sigma_y=1.5, angle=0.5, kernel_size=41)
    kernel = gaussian_kernels([degradation])[0].double().numpy()
    y, x = np.mgrid[-20:21, -20:21]
    c, s = math.cos(0.5), math.sin(0.5)
    expected = np.array([[c, -s], [s, c]]) @ np.diag([4**2, 1.5**2]) @ np.array([[c, s], [-s, c]])
    covariance = [[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * x * y).sum(), (kernel * y * y).sum()]]
    np.testing.assert_allclose(covariance, expected, rtol=0.01)


@pytest.mark.parametrize("quality", [30, 49, 50, 75, 95, 100])
def test_batched_jpeg_is_libjpeg_but_for_rounding(face: Image.Image, quality: int):
    file = io.BytesIO()
    face.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    expected = np.array(Image.open(file))
    ours = jpeg(torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].float(), torch.tensor([quality]))
    assert psnr(expected, ours[0].permute(1, 2, 0).numpy()) > 45


@pytest.mark.parametrize(
    ("change", "least_psnr"),
    [
        ({"quality": 100}, 45),
        ({"sigma_x": 3.0, "sigma_y": 3.0}, 45),
        ({"sigma_x": 4.0, "sigma_y": 1.0, "angle": 0.7}, 45),
        ({"downsample": 3.3}, 45),
        ({"downsample": 8.0}, 45),
        ({"quality": 30}, 42),
        ({"sigma_x": 2.0, "sigma_y": 3.0, "angle": 2.0, "downsample": 5.1, "quality": 40}, 40),
    ],
)
def test_batched_degradation_agrees_with_the_pure_function(face: Image.Image, change: dict, least_psnr: float):
    pure, batched = both(face, replace(NOTHING, **change))
    assert psnr(pure, batched) > least_psnr


def test_noise_has_the_strength_asked_for_in_both():
    grey = Image.new("RGB", (128, 128), (128, 128, 128))
    for image in both(grey, replace(NOTHING, noise=12.0)):
        # JPEG halves the resolution of the colours, so that only the luma keeps its noise
        luma = image @ np.array([0.299, 0.587, 0.114])
        assert luma.mean() == pytest.approx(128, abs=0.5)
        assert luma.std() == pytest.approx(12 * math.sqrt(0.299**2 + 0.587**2 + 0.114**2), rel=0.05)


@pytest.mark.parametrize("preset", [MODERATE, SEVERE])
def test_batches_and_single_pictures_are_equally_degraded(face: Image.Image, preset: DegradationRanges):
    rng = np.random.default_rng(0)
    original = np.array(face)
    single = [np.array(degrade(face, preset.at(128).sample(rng), rng)) for _ in range(96)]
    batch = to_pixels(degrade_batch(to_tensor(face).expand(96, -1, -1, -1), preset, torch.Generator().manual_seed(0)))
    psnr_single = [psnr(original, picture) for picture in single]
    psnr_batch = [psnr(original, picture) for picture in batch]
    assert np.mean(psnr_batch) == pytest.approx(np.mean(psnr_single), abs=3 * stats.sem(psnr_single + psnr_batch) * 2)
    assert np.mean(batch) == pytest.approx(np.mean(single), abs=1)
    assert np.std(batch) == pytest.approx(np.std(single), rel=0.03)


def test_of_several_ranges_each_picture_is_degraded_within_one(face: Image.Image):
    harmless = DegradationRanges(sigma=(0, 0), downsample=(1, 1), noise=(0, 0), quality=(100, 100))
    mixed = degrade_batch(to_tensor(face).expand(64, -1, -1, -1), (harmless, SEVERE), torch.Generator().manual_seed(0))
    distances = np.array([psnr(np.array(face), picture) for picture in to_pixels(mixed)])
    assert 20 < (distances > 35).sum() < 44  # a fair coin, 64 times
    assert (distances[distances <= 35] < 30).all()


def test_odd_sizes_and_autocast(face: Image.Image):
    images = to_tensor(face.resize((90, 70)))[None]
    degraded = degrade_batch(images, TRAINING, torch.Generator().manual_seed(0))
    assert degraded.shape == (1, 3, 70, 90)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(degraded, degrade_batch(images, TRAINING, torch.Generator().manual_seed(0)))


def test_result_lies_on_the_8_bit_grid(face: Image.Image):
    degraded = degrade_batch(to_tensor(face)[None], TRAINING, torch.Generator().manual_seed(0))
    levels = (degraded + 1) * 127.5
    assert (levels - levels.round()).abs().max() < 1e-4
    assert levels.min() >= -1e-4
    assert levels.max() <= 255 + 1e-4
