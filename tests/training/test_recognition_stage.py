"""dlib's recogniser is trained on for degraded faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.data.degradation import SEVERE
from faceref.errors import CheckpointError
from faceref.faces.align import align
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser, load_dlib_resnet, load_trained_resnet
from faceref.models.dlib_resnet import chips_of_aligned
from faceref.training.config import DataConfig, LoopConfig, OptimizerConfig
from faceref.training.stages.configs import RecognitionConfig
from faceref.training.stages.recognition import RecognitionStage

DATA = {"sources": [{"root": "."}], "validation": [{"root": "."}], "resolution": 64, "references": 1}


@pytest.fixture(scope="module")
def face(astronaut: Image.Image) -> Image.Image:
    return align(astronaut, DlibDetector().detect(astronaut)[0].landmarks, 128).image


@pytest.fixture(scope="module")
def stage() -> RecognitionStage:
    config = RecognitionConfig(
        stage="recognition",
        data=DataConfig(degradation=SEVERE, **DATA),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        loop=LoopConfig(steps=1, batch_size=1),
    )
    return RecognitionStage(config, load_dlib_resnet())


def tensor(*faces: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(one) for one in faces])).permute(0, 3, 1, 2)


def test_chips_are_cut_where_dlib_cuts_them(face: Image.Image, stage: RecognitionStage):
    (wanted,) = TorchDlibRecogniser(torch.device("cpu")).embed_aligned([face])
    (embedded,) = stage.frozen["teacher"](chips_of_aligned(tensor(face).float() / 127.5 - 1)).numpy()
    assert np.linalg.norm(embedded - wanted) < 0.2  # the same person is below 0.6


def test_chips_are_turned_made_larger_and_shifted_each_by_its_own_moves(face: Image.Image):
    faces = tensor(face, face).float() / 127.5 - 1
    still, quarter = chips_of_aligned(faces, torch.tensor([[0, torch.pi / 2], [0, 0], [0, 0], [0, 0]]))
    assert torch.equal(still, chips_of_aligned(faces)[0])
    torch.testing.assert_close(quarter.rot90(-1, (1, 2)), still, atol=0.1, rtol=0)
    right, down = chips_of_aligned(faces, torch.tensor([[0, 0], [0, 0], [0.1, 0], [0, 0.1]]))
    torch.testing.assert_close(right[:, :, :-15], still[:, :, 15:], atol=0.1, rtol=0)
    torch.testing.assert_close(down[:, :-15], still[:, 15:], atol=0.1, rtol=0)


def test_it_learns_to_see_in_a_degraded_face_what_dlib_sees_in_the_photograph(face: Image.Image, stage):
    photographs = tensor(face, face.transpose(Image.Transpose.ROTATE_90))
    items = {
        "hq": photographs,
        "mask": torch.full_like(photographs[:, :1], 255),
        "references": photographs[:, None],
        "has_references": torch.tensor([True, False]),
        "coarse": torch.tensor([False, False]),
    }
    batch = stage.make_batch(items, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(stage.network.parameters(), lr=3e-5)
    losses = []
    for step in range(8):
        loss, numbers = stage(batch, torch.Generator(), step, "model")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(numbers["apart"])
    assert losses[-1] < 0.7 * losses[0]
    teacher = stage.frozen["teacher"]
    assert torch.equal(teacher.fc.weight, load_dlib_resnet().fc.weight)


def test_the_contrast_is_with_strangers_only(stage: RecognitionStage):
    """Whom dlib takes for the same person does not count, or the one would be pushed away from the other."""
    near, far = torch.zeros(1, 128), torch.ones(1, 128)
    same = stage._contrast(torch.cat([near, near]), torch.cat([near, near]), torch.cat([near, near]))
    assert same == 0
    people = torch.cat([near, far])
    assert stage._contrast(people, people, people) < 1e-3
    assert stage._contrast(people.flip(0), people, people) > 1


def test_what_is_exported_says_the_same_but_for_half_precision(face: Image.Image, stage, tmp_path: Path):
    stage.export(tmp_path)
    pictures = chips_of_aligned(tensor(face).float() / 127.5 - 1)
    with torch.no_grad():
        again = load_trained_resnet(tmp_path / "recogniser.safetensors")(pictures)
        torch.testing.assert_close(again, stage.network(pictures), atol=2e-3, rtol=0)
    (tmp_path / "other.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"other\.safetensors is not a trained recogniser"):
        load_trained_resnet(tmp_path / "other.safetensors")
