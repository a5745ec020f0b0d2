"""The data set: what a sample holds, exact resume, and batches in which target, LQ, mask and references fit."""

import errno
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from faceref.data.dataset import (
    FaceDataset,
    FaceSource,
    SeededSampler,
    make_batch,
    sharpness_weights,
)
from faceref.data.decoded import decode_face
from faceref.data.degradation import MILD, TRAINING, DegradationRanges
from faceref.data.resident import ResidentFaces
from faceref.errors import DataError, OutputError

NO_DEGRADATION = DegradationRanges(sigma=(0, 0), downsample=(1, 1), noise=(0, 0), quality=(100, 100))


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people: anna with three photographs (red 10, 20, 30), ben with one whose right half is padding."""
    for person, red in [("anna", 10), ("anna", 20), ("anna", 30)]:
        (tmp_path / person).mkdir(exist_ok=True)
        Image.new("RGB", (48, 48), (red, 0, 0)).save(tmp_path / person / f"{red}.png")
    ben = np.zeros((48, 48, 4), np.uint8)
    ben[..., 0] = 200
    ben[:, 24:, 1] = 100  # the colours under the padding are kept
    ben[:, :24, 3] = 255
    (tmp_path / "ben").mkdir()
    Image.fromarray(ben).save(tmp_path / "ben" / "1.png")
    (tmp_path / "index.csv").write_text(
        "file,person,split,sharpness\n"
        "anna/10.png,anna,train,100\nanna/20.png,anna,train,400\nanna/30.png,anna,train,1000\nben/1.png,ben,train,50\n"
    )
    return tmp_path


def dataset(root: Path, **settings) -> FaceDataset:
    return FaceDataset([FaceSource(root=root)], "train", resolution=24, seed=0, **settings)


def test_references_are_the_persons_other_photographs_each_before_any_twice(people: Path):
    faces = dataset(people)
    sample = faces[0]
    assert sample["hq"].dtype == torch.uint8
    assert sample["hq"].shape == (3, 24, 24)
    reds = sample["references"][:, 0, 0, 0].tolist()
    assert len(reds) == 5
    assert set(reds[:2]) == set(reds[2:4]) == {20, 30}
    assert sample["has_references"] is True
    orders = {tuple(faces[key]["references"][:, 0, 0, 0].tolist()) for key in range(0, 80, 4)}
    assert len(orders) > 1  # shuffled anew in every draw


def test_decoding_that_ends_early_leaves_nothing_in_the_cache(people: Path, tmp_path_factory, monkeypatch):
    def stop(path: Path, resolution: int) -> None:
        raise KeyboardInterrupt

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("faceref.data.decoded.decode_face", stop)
    with pytest.raises(KeyboardInterrupt):
        dataset(people, cache=cache)
    assert list(cache.iterdir()) == []


def test_a_person_with_one_photograph_has_no_references(people: Path):
    sample = dataset(people)[3]
    assert sample["has_references"] is False
    assert sample["references"].sum() == 0


def test_alpha_becomes_the_mask_and_padding_keeps_its_colours(people: Path):
    sample = dataset(people)[3]
    assert (sample["mask"][:, :, :11] == 255).all()  # column 11 touches the padding when resized
    assert (sample["mask"][:, :, 12:] == 0).all()
    assert (sample["hq"][1, :, 14:] == 100).all()
    assert (dataset(people)[0]["mask"] == 255).all()


def test_several_sources_and_a_mapping_are_one_data_set(people: Path, tmp_path_factory: pytest.TempPathFactory):
    plain = tmp_path_factory.mktemp("plain")
    Image.new("RGB", (24, 24), (77, 0, 0)).save(plain / "x.png")
    mapping = tmp_path_factory.mktemp("mapping") / "train_references.csv"
    mapping.write_text("gt_image,ref_image\nanna/10.png,\"['anna/10.png', 'ben/1.png']\"\n")  # itself is left out
    sources = [FaceSource(root=people), FaceSource(root=plain), FaceSource(root=people, mapping=mapping)]
    faces = FaceDataset(sources, "train", resolution=24, seed=0)
    assert len(faces) == 6
    assert len(faces.photographs) == 5  # each file once
    assert faces[4]["hq"][0, 0, 0] == 77
    assert not faces[4]["has_references"]
    assert (faces[5]["references"][:, 0] == 200).all()


def test_cache_gives_the_same_samples_and_notices_a_changed_file_and_another_decoder(
    people: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path_factory.mktemp("cache")
    decoded, cached, again = dataset(people), dataset(people, cache=cache), dataset(people, cache=cache)
    for key in range(4):
        for name in ("hq", "mask", "references"):
            assert torch.equal(torch.as_tensor(decoded[key][name]), torch.as_tensor(cached[key][name]))
            assert torch.equal(torch.as_tensor(decoded[key][name]), torch.as_tensor(again[key][name]))
    assert len(list(cache.iterdir())) == 1
    Image.new("RGB", (48, 48), (99, 0, 0)).save(people / "anna" / "10.png")
    assert dataset(people, cache=cache)[0]["hq"][0, 0, 0] == 99
    monkeypatch.setattr("faceref.data.decoded.DECODER", "Pillow 99")
    dataset(people, cache=cache)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "anna/10.png").unlink(), r"10\.png does not exist"),
        (lambda root: (root / "anna/10.png").write_text("no picture"), r"10\.png is not a picture"),
        (lambda root: (root / "index.csv").write_text("file,split\n"), "lacks the column 'person'"),
        (lambda root: (root / "index.csv").write_text("file,person,split\n"), "no photograph of the split 'train'"),
        (lambda root: Image.new("RGB", (48, 40)).save(root / "anna/10.png"), "48x40, not square"),
    ],
)
def test_a_spoilt_data_set_is_named_in_one_sentence(people: Path, spoil, message: str):
    spoil(people)
    with pytest.raises(DataError, match=message):
        dataset(people)


def spoil_three(root: Path) -> None:
    (root / "anna/10.png").unlink()
    (root / "anna/20.png").write_text("no picture")
    Image.new("RGB", (48, 40)).save(root / "ben/1.png")


@pytest.mark.parametrize("cached", [False, True])
def test_all_damaged_photographs_are_named_at_once_or_left_out_if_asked(
    people: Path, tmp_path_factory: pytest.TempPathFactory, cached: bool
):
    spoil_three(people)
    cache = tmp_path_factory.mktemp("cache") if cached else None
    for _ in range(2):  # a cache, too, remembers what is damaged
        with pytest.raises(DataError) as caught:
            dataset(people, cache=cache)
        assert all(name in str(caught.value) for name in ("10.png does not exist", "20.png is not", "1.png is 48x40"))
        faces = dataset(people, cache=cache, skip_damaged=True)
        assert len(faces) == len(faces.sharpness) == 1
        assert faces[0]["hq"][0, 0, 0] == 30
        assert not faces[0]["has_references"], "damaged references are left out, too"


def test_damaged_photographs_are_not_kept_on_the_device_either(people: Path):
    spoil_three(people)
    faces = dataset(people, skip_damaged=True)
    batch = ResidentFaces(faces, torch.device("cpu")).batch([0])
    assert batch["hq"][0, 0, 0, 0] == 30
    assert not batch["has_references"].any()


def test_a_cache_for_which_the_disk_has_no_room_is_an_error(people: Path, tmp_path_factory, monkeypatch):
    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    cache = tmp_path_factory.mktemp("cache")
    with pytest.raises(OutputError, match="the disk is full"):
        dataset(people, cache=cache)
    assert not any(cache.iterdir())


def test_a_cache_of_a_missing_photograph_is_none_of_the_set_without_it(people: Path, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    index = (people / "index.csv").read_text()
    (people / "anna/10.png").unlink()
    with pytest.raises(DataError, match=r"10\.png does not exist"):
        dataset(people, cache=cache)
    (people / "index.csv").write_text("\n".join(line for line in index.splitlines() if "anna/10.png" not in line))
    faces = dataset(people, cache=cache)
    assert all(faces[key]["hq"].any() for key in range(len(faces)))


def test_a_set_without_any_whole_photograph_is_refused(people: Path):
    spoil_three(people)
    (people / "anna/30.png").unlink()
    with pytest.raises(DataError, match="All photographs are damaged"):
        dataset(people, skip_damaged=True)


@pytest.mark.parametrize(("memory_gb", "decoded"), [(0.0, 3), (2 * 4 * 24 * 24 / 1e9, 2), (1.0, 0)])
def test_decoded_photographs_take_no_more_memory_than_they_may(people: Path, monkeypatch, memory_gb: float, decoded):
    faces = dataset(people, memory_gb=memory_gb, reference_count=2)
    calls = []
    monkeypatch.setattr("faceref.data.decoded.decode_face", lambda *a: calls.append(a) or decode_face(*a))
    again = [faces[0]["references"] for _ in range(2)]
    assert torch.equal(*again)
    assert len(calls) // 2 in (decoded, decoded - 1)  # of the target and two references, those that are not kept


def test_what_a_set_costs_is_logged(people: Path, caplog):
    with caplog.at_level("INFO", "faceref.data"):
        dataset(people)
    assert "4 photographs at 24 px: 0.00 GB decoded" in caplog.text


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="is not a folder"):
        dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 1.0, 1.0])])
def test_sampler_continued_after_n_draws_equals_one_that_went_on(weights: np.ndarray | None):
    straight = list(islice(SeededSampler(4, seed=1, weights=weights), 23))
    for n in (0, 1, 4, 9):
        assert list(islice(SeededSampler(4, seed=1, weights=weights, start=n), 23 - n)) == straight[n:]
    assert len(set(straight)) == 23  # every draw has its own key
    assert straight != list(islice(SeededSampler(4, seed=2, weights=weights), 23))


def test_sampler_visits_every_target_once_per_epoch():
    indices = [key % 7 for key in islice(SeededSampler(7, seed=0), 21)]
    for epoch in range(3):
        assert sorted(indices[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert indices[:7] != indices[7:14]


def test_weights_are_sampling_frequencies(people: Path):
    weights = sharpness_weights(dataset(people).sharpness)
    np.testing.assert_allclose(weights, [0.2, 0.8, 1.0, 0.1])
    drawn = np.bincount([key % 4 for key in islice(SeededSampler(4, seed=0, weights=weights), 8000)]) / 8000
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=0.02)
    assert sharpness_weights(np.array([np.nan])) == 1


def test_a_sharpness_that_is_no_number_is_named(people: Path):
    (people / "index.csv").write_text("file,person,split,sharpness\nanna/10.png,anna,train,very\n")
    with pytest.raises(DataError, match=r"index\.csv: a sharpness is no number .*'very'"):
        dataset(people)


def test_target_lq_mask_and_references_are_flipped_together(people: Path):
    ramp = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (48, 1))
    Image.fromarray(np.dstack([ramp] * 3 + [np.where(ramp < 128, 255, 0).astype(np.uint8)])).save(
        people / "anna/10.png"
    )
    samples = next(iter(DataLoader(dataset(people), batch_size=64, sampler=[0] * 64)))
    batch = make_batch(samples, NO_DEGRADATION, torch.Generator().manual_seed(0))
    rising = batch["hq"][:, 0, 0, -1] > batch["hq"][:, 0, 0, 0]
    assert 16 < rising.sum() < 48
    assert ((batch["lq"][:, 0, 0, -1] > batch["lq"][:, 0, 0, 0]) == rising).all()
    assert ((batch["mask"][:, 0, 0, 0] == 1) == rising).all()
    assert (batch["lq"] - batch["hq"]).abs().mean() < 0.02


def test_batch_has_the_documented_shapes_and_ranges_and_is_seeded(people: Path):
    samples = next(iter(DataLoader(dataset(people), batch_size=4, sampler=SeededSampler(4, seed=0))))
    batch = make_batch(samples, TRAINING, torch.Generator().manual_seed(0))
    assert batch["hq"].shape == batch["lq"].shape == (4, 3, 24, 24)
    assert batch["references"].shape == (4, 5, 3, 24, 24)
    assert batch["mask"].shape == (4, 1, 24, 24)
    assert batch["has_references"].dtype == torch.bool
    assert batch["has_references"].sum() == 3
    again = make_batch(samples, TRAINING, torch.Generator().manual_seed(0))
    for name in ("hq", "lq", "references", "mask"):
        assert batch[name].dtype == torch.float32
        assert batch[name].abs().max() <= 1
        assert torch.equal(batch[name], again[name])


def test_without_references_for_stages_that_need_none(people: Path):
    samples = next(iter(DataLoader(dataset(people, reference_count=0), batch_size=4)))
    assert make_batch(samples, TRAINING, torch.Generator().manual_seed(0))["references"].shape == (4, 0, 3, 24, 24)


def test_photographs_on_the_device_give_the_batches_that_are_collated_from_samples(people: Path):
    faces = dataset(people, reference_count=3)
    resident = ResidentFaces(faces, torch.device("cpu"))
    keys = list(islice(SeededSampler(len(faces), 0), 2 * len(faces)))
    expected, batch = default_collate([faces[key] for key in keys]), resident.batch(keys)
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(batch[name], values), name


def test_a_coarse_source_is_told_from_others_to_the_end(people: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("coarse")
    shutil.copytree(people, other, dirs_exist_ok=True)
    sources = [FaceSource(root=people), FaceSource(root=other, coarse=True)]
    faces = FaceDataset(sources, "train", 32, seed=0, reference_count=0)
    samples = default_collate([faces[i] for i in range(len(faces))])
    batch = make_batch(samples, MILD, torch.Generator().manual_seed(0))
    assert batch["coarse"].tolist() == [i >= len(faces) // 2 for i in range(len(faces))]
