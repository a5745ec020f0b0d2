"""Who the references show, in numbers: what makes them, and what a denoiser does with them."""

import numpy as np
import pytest
import torch
from networks import noise, reference_unet
from PIL import Image

from faceref.faces.align import align
from faceref.faces.centre import Centre
from faceref.faces.detect import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.models.identity_encoder import IdentityProjection, mean_identity
from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet
from faceref.training.stages.components import new_identity_encoder


@pytest.fixture(scope="module")
def told() -> ReferenceUNet:
    """A network that is told eight numbers of a person, on latents of 8 x 8, as if it were trained."""
    unet = reference_unet(sample_size=8, identity_size=8)
    for name, parameter in unet.named_parameters():
        if name.startswith("identity.") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    return unet


def restore(unet: ReferenceUNet, cache: ReferenceCache | None, batch: int = 1) -> torch.Tensor:
    with torch.no_grad():
        return unet(noise(batch, 8, 8, 8), 5, cache).sample


@torch.no_grad()
def test_the_fixed_cut_says_of_an_aligned_face_what_dlib_does_where_it_finds_landmarks(astronaut: Image.Image):
    (found,) = DlibDetector().detect(astronaut)
    face = align(astronaut, found.landmarks, 256).image
    (by_landmarks,) = TorchDlibRecogniser().embed_aligned([face])
    picture = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None] / 127.5 - 1
    (identity,) = new_identity_encoder()(picture).numpy()
    centre = Centre.shipped()
    assert centre.cosine(identity + centre.mean, by_landmarks) > 0.9
    assert np.linalg.norm(identity + centre.mean - by_landmarks) < 0.3


def test_a_new_network_does_not_heed_what_it_is_told():
    unet, latents = reference_unet(sample_size=8, identity_size=8), noise(1, 2, 4, 8, 8)
    one, other = (unet.encode_references(latents, identities=noise(1, 2, 8, seed=seed)) for seed in (1, 2))
    assert torch.equal(restore(unet, one), restore(unet, other))


def test_a_trained_one_does_and_is_told_the_mean_of_the_references(told):
    latents, who = noise(1, 2, 4, 8, 8), noise(1, 2, 8, seed=1)
    cache = told.encode_references(latents, identities=who)
    assert cache.identities is not None
    assert torch.equal(cache.identities, who)
    assert (restore(told, cache) - restore(told, told.encode_references(latents))).abs().max() > 0.01
    mean = told.encode_references(latents, identities=who.mean(dim=1, keepdim=True).expand_as(who))
    torch.testing.assert_close(restore(told, cache), restore(told, mean))


def test_a_cache_without_identities_is_none_of_a_network_that_is_told_them_nor_the_other_way_round(told):
    latents, plain = noise(1, 2, 4, 8, 8), reference_unet(sample_size=8)
    for network, encoder in ((told, plain), (plain, told)):
        with pytest.raises(ValueError, match="references whose identities are known"):
            restore(network, encoder.encode_references(latents))


def test_a_reference_that_does_not_count_is_not_told(told):
    latents, who = noise(1, 2, 4, 8, 8), noise(1, 2, 8, seed=1)
    counted = told.encode_references(latents, torch.tensor([[1.0, 0.0]]), who)
    alone = told.encode_references(latents[:, :1], identities=who[:, :1])
    torch.testing.assert_close(restore(told, counted), restore(told, alone), atol=1e-5, rtol=0)


def test_faces_without_references_are_told_nothing_whoever_else_is_in_the_batch(told):
    somebody = told.encode_references(noise(1, 3, 4, 8, 8), identities=noise(1, 3, 8, seed=1))
    with torch.no_grad():
        x = noise(2, 8, 8, 8)
        together = told(x, 5, ReferenceCache.batch([None, somebody])).sample
        torch.testing.assert_close(together[:1], told(x[:1], 5).sample, atol=1e-5, rtol=0)
        torch.testing.assert_close(together[1:], told(x[1:], 5, somebody).sample, atol=1e-5, rtol=0)


@torch.no_grad()
def test_several_sets_of_references_in_one_pass_are_told_apart(told):
    latents = noise(2, 1, 4, 8, 8)
    caches = [
        told.encode_references(latents, identities=noise(2, 1, 8, seed=1)),
        told.encode_references(torch.zeros_like(latents)),
    ]
    sample = noise(2, 8, 8, 8)
    for each, cache in zip(told.forward_each(sample, 5, caches), caches, strict=True):
        torch.testing.assert_close(each, told(sample, 5, cache).sample, atol=1e-5, rtol=0)


def test_nobody_is_zero_in_any_network():
    projection = IdentityProjection(8, time_channels=4, channels=6, side=2)
    generator = torch.Generator().manual_seed(0)
    for parameter in projection.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)  # of 1, sums of 512 round by more than is told
    shift, features = projection(torch.stack([torch.zeros(8), torch.ones(8), 3 * torch.ones(8)]))
    assert not shift[0].any()
    assert not features[0].any()
    assert shift[1].any()
    for one in (shift, features):  # only the direction says who it is
        torch.testing.assert_close(one[1], one[2], rtol=1e-4, atol=1e-4)


def test_the_mean_of_no_references_is_nobody():
    assert torch.equal(mean_identity(torch.zeros(2, 0, 8), None), torch.zeros(2, 8))
    assert torch.equal(mean_identity(torch.ones(1, 2, 8), torch.zeros(1, 2)), torch.zeros(1, 8))


@torch.no_grad()
def test_pictures_of_another_size_are_told_alike(told):
    latents, who = noise(1, 1, 4, 16, 16), noise(1, 1, 8, seed=1)
    cache, nobody = told.encode_references(latents, identities=who), told.encode_references(latents)
    sample = noise(1, 8, 16, 16)
    result, alone = told(sample, 5, cache).sample, told(sample, 5, nobody).sample
    assert result.shape == (1, 4, 16, 16)
    assert (result - alone).abs().amax(dim=(0, 1, 3)).min() > 0, "in every row"
