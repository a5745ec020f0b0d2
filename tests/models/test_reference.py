"""The reference cache: a value that can be counted, padded and moved."""

import dataclasses

import pytest
import torch
from networks import noise

from faceref.models.reference import Encoder, ReferenceCache


def make_cache(references: int, batch: int = 1, seed: int = 0, multiplicity=None) -> ReferenceCache:
    """Two layers, of 4 tokens with 8 channels and of 1 token with 16."""
    generator = torch.Generator().manual_seed(seed)
    keys = tuple(torch.randn(batch, references * t, c, generator=generator) for t, c in ((4, 8), (1, 16)))
    return ReferenceCache(("fine", "coarse"), keys, tuple(key + 1 for key in keys), references, multiplicity)


def test_a_cache_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_cache(1).keys = ()  # type: ignore[misc]


def test_length_is_the_number_of_references():
    assert len(make_cache(3, batch=2)) == 3
    assert make_cache(3, batch=2).batch_size == 2
    assert torch.equal(make_cache(3, batch=2).counts, torch.ones(2, 3))


def test_a_batch_pads_with_absent_references():
    batch = ReferenceCache.batch([make_cache(1), None, make_cache(3, seed=1)])
    assert batch.batch_size == 3
    assert batch.counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert torch.equal(batch.keys[0][2:], make_cache(3, seed=1).keys[0])
    assert batch.keys[0].shape == (3, 12, 8)


def test_a_batch_of_equal_lengths_needs_no_padding():
    assert ReferenceCache.batch([make_cache(2), make_cache(2, seed=1)]).multiplicity is None


def test_caches_of_different_networks_cannot_be_joined():
    other = dataclasses.replace(make_cache(1), layers=("fine", "other"))
    with pytest.raises(ValueError, match="different networks"):
        ReferenceCache.batch([make_cache(1), other])


def test_nor_those_of_different_encoders_that_have_the_same_layers():
    one, other = (dataclasses.replace(make_cache(1), encoder=Encoder(name, 64)) for name in ("one", "other"))
    assert ReferenceCache.batch([None, make_cache(1), one]).encoder == one.encoder
    with pytest.raises(ValueError, match="different networks"):
        ReferenceCache.batch([one, None, other])


def test_dtype_concerns_what_the_network_attends_to_only():
    """The same patches are to be found in whatever numbers it computes."""
    texture = torch.rand(1, 8, 2), torch.rand(1, 8, 12)
    cache = make_cache(2, multiplicity=torch.tensor([[1.0, 3.0]]))
    cache = dataclasses.replace(cache, identities=torch.ones(1, 2, 3), texture=texture).to(dtype=torch.bfloat16)
    assert cache.identities is not None
    assert {tensor.dtype for tensor in (*cache.keys, *cache.values, cache.identities)} == {torch.bfloat16}
    assert all(map(torch.equal, cache.texture or (), texture))
    assert cache.counts.dtype == torch.float32


def make_whole_cache(references: int, seed: int = 0) -> ReferenceCache:
    """One that has all that a cache can have."""
    cache = make_cache(references, seed=seed, multiplicity=torch.ones(1, references))
    identities, keys, values = (noise(1, n * references, 5, seed=seed + i) for i, n in enumerate((1, 4, 4)))
    return dataclasses.replace(cache, identities=identities, texture=(keys, values))


def test_identities_and_texture_go_wherever_the_keys_go():
    one, other = make_whole_cache(1), make_whole_cache(3, seed=1)
    batch = ReferenceCache.batch([one, None, other])
    assert [tensor.shape[:2] for tensor in batch.tensors] == [
        (3, 12), (3, 3), (3, 12), (3, 3), (3, 3), (3, 3), (3, 12), (3, 12)
    ]  # fmt: skip
    first, nobody, last = batch.split()
    assert all(map(torch.equal, first.first(1).tensors, one.tensors))
    assert not any(tensor.any() for tensor in nobody.tensors)
    assert all(map(torch.equal, last.tensors, other.tensors))
    assert all(map(torch.equal, ReferenceCache.batch([one, one]).tensors, one.expand(2).tensors))
    assert {tensor.shape[1] for tensor in other.first(0).tensors} == {0}


@pytest.mark.parametrize("lacking", ["identities", "texture"])
def test_a_cache_that_lacks_something_cannot_be_joined_with_one_that_has_it(lacking):
    whole = make_whole_cache(1)
    with pytest.raises(ValueError, match="different networks"):
        ReferenceCache.batch([whole, dataclasses.replace(whole, **{lacking: None})])
