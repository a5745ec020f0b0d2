"""The reference cache: a value that can be counted, joined, padded, moved, saved and read again."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from faceref.errors import CheckpointError, OutputError
from faceref.models.reference import ReferenceCache


def make_cache(references: int, batch: int = 1, seed: int = 0, multiplicity=None) -> ReferenceCache:
    """Two layers, of 4 tokens with 8 channels and of 1 token with 16."""
    generator = torch.Generator().manual_seed(seed)
    keys = tuple(torch.randn(batch, references * t, c, generator=generator) for t, c in ((4, 8), (1, 16)))
    return ReferenceCache(("fine", "coarse"), keys, tuple(key + 1 for key in keys), references, multiplicity)


def assert_equal(first: ReferenceCache, second: ReferenceCache) -> None:
    assert first.layers == second.layers
    assert len(first) == len(second)
    assert torch.equal(first.counts, second.counts)
    for one, other in zip(first.keys + first.values, second.keys + second.values, strict=True):
        assert torch.equal(one, other)


def test_a_cache_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_cache(1).keys = ()  # type: ignore[misc]


def test_length_is_the_number_of_references():
    assert len(make_cache(3, batch=2)) == 3
    assert make_cache(3, batch=2).batch_size == 2
    assert torch.equal(make_cache(3, batch=2).counts, torch.ones(2, 3))


def test_concatenation_holds_the_references_of_both():
    first, second = make_cache(2), make_cache(1, seed=1, multiplicity=torch.tensor([[5.0]]))
    both = ReferenceCache.cat([first, second])
    assert len(both) == 3
    assert torch.equal(both.keys[0][:, :8], first.keys[0])
    assert torch.equal(both.values[1][:, 2:], second.values[1])
    assert both.counts.tolist() == [[1, 1, 5]]
    assert ReferenceCache.cat([first, first]).multiplicity is None


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
    for join in (ReferenceCache.cat, ReferenceCache.batch):
        with pytest.raises(ValueError, match="different networks"):
            join([make_cache(1), other])


def test_dtype_concerns_keys_and_values_only():
    cache = make_cache(2, multiplicity=torch.tensor([[1.0, 3.0]])).to(dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in cache.keys + cache.values} == {torch.bfloat16}
    assert cache.counts.dtype == torch.float32


@pytest.mark.parametrize("multiplicity", [None, torch.tensor([[1.0, 0.0], [2.0, 1.0]])])
def test_a_profile_is_read_as_it_was_saved(tmp_path, multiplicity):
    cache = make_cache(2, batch=2, multiplicity=multiplicity)
    cache.save(tmp_path / "person.safetensors")
    again = ReferenceCache.load(tmp_path / "person.safetensors")
    assert_equal(again, cache)
    assert (again.multiplicity is None) == (multiplicity is None)
    assert [path.name for path in tmp_path.iterdir()] == ["person.safetensors"]


def test_a_profile_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        make_cache(1).save(tmp_path / "nowhere" / "person.safetensors")


def test_a_failed_write_leaves_the_old_profile(tmp_path, monkeypatch):
    path = tmp_path / "person.safetensors"
    make_cache(1).save(path)

    def disk_full(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("faceref.models.reference.save_file", disk_full)
    with pytest.raises(OutputError, match="No space left"):
        make_cache(2).save(path)
    assert_equal(ReferenceCache.load(path), make_cache(1))
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_profile_is_refused(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    make_cache(1).save(tmp_path / "whole.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    for name in ("other", "text", "half", "missing"):
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors"):
            ReferenceCache.load(tmp_path / f"{name}.safetensors")
