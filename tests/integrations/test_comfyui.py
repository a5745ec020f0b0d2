"""The nodes for ComfyUI run its example workflow, as ComfyUI would call them, to the picture that faceref makes."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import comfyui_stand_in as comfyui
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from faceref import FacerefError, RestoreOptions, Restorer
from faceref.errors import NoFaceError, UsageError
from faceref.restore.options import help_text

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
MODEL, PERSON, RESTORE, COMPARE, SAVED, SHOWN = "1", "6", "7", "8", "9", "10"  # nodes of the example


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return comfyui.import_nodes(FOLDER).NODE_CLASS_MAPPINGS


@pytest.fixture(scope="module")
def pictures(astronaut: Image.Image, tmp_path_factory) -> Path:
    """ComfyUI's folder `input`: a blurred portrait, two good ones of the same person, nothing but grey, and noise."""
    folder = tmp_path_factory.mktemp("input")
    portrait = astronaut.crop((96, 0, 352, 256))
    portrait.resize((64, 64)).resize((256, 256)).save(folder / "old.png")
    ImageOps.mirror(portrait).save(folder / "good_1.png")
    portrait.transpose(Image.Transpose.ROTATE_90).save(folder / "good_2.png")
    Image.new("RGB", (128, 128), "grey").save(folder / "grey.png")
    Image.effect_noise((256, 256), 40).save(folder / "noise.png")
    return folder


@pytest.fixture
def nodes(ours: dict[str, Any], pictures: Path, monkeypatch) -> dict[str, Any]:
    monkeypatch.setattr(comfyui.LoadImage, "folder", pictures)
    return ours | comfyui.OWN_NODES


@pytest.fixture
def prompt(nodes: dict[str, Any], tiny_model: Path) -> comfyui.Prompt:
    """The example, with the tiny model, and restored whether the face needs it or not."""
    workflow = json.loads((FOLDER / "example_workflows" / "restore_with_references.json").read_text())
    prompt = comfyui.to_prompt(workflow, nodes)
    prompt[MODEL]["inputs"]["model"] = str(tiny_model)
    prompt[RESTORE]["inputs"] |= {"always": True, "seed": 7}
    return prompt


def test_the_example_gives_the_picture_that_faceref_gives(prompt, nodes, pictures: Path, tiny_model: Path):
    assert comfyui.problems(prompt, nodes) == []
    done = comfyui.execute(prompt, nodes)
    (image,) = done[SAVED]
    assert image.shape == (1, 256, 256, 3)
    assert image.dtype == torch.float32
    references = [Image.open(pictures / name) for name in ("good_1.png", "good_2.png")]
    expected = Restorer.from_pretrained(tiny_model).restore(
        pictures / "old.png", references, RestoreOptions(always=True, seed=7)
    )
    np.testing.assert_allclose(image[0].numpy() * 255, np.asarray(expected.image), atol=1)
    (sheet,) = done[SHOWN]
    assert sheet.shape[1:] == (*expected.comparison().size[::-1], 3)
    (account,) = json.loads(done[RESTORE][2][0])
    assert account["faces"][0]["restored"]
    assert len(account["faces"][0]["references"]) == 2


def test_a_batch_is_restored_one_by_one_and_compared_one_by_one(prompt, nodes):
    prompt["11"] = {"class_type": "ImageBatch", "inputs": {"image1": ["2", 0], "image2": ["3", 0]}}
    prompt[RESTORE]["inputs"]["images"] = ["11", 0]
    del prompt[RESTORE]["inputs"]["people"]  # nobody: from the photograph alone
    done = comfyui.execute(prompt, nodes)
    assert done[SAVED][0].shape == (2, 256, 256, 3)
    assert len(done[SHOWN]) == 2
    assert [len(one["faces"]) for one in json.loads(done[RESTORE][2][0])] == [1, 1]


def test_of_a_batch_a_picture_without_a_face_stays_as_it_is_and_the_others_are_restored(nodes, tiny_model, pictures):
    old = torch.from_numpy(np.asarray(Image.open(pictures / "old.png").convert("RGB")).astype(np.float32) / 255)
    batch, node = torch.stack([old, torch.full_like(old, 0.5)]), nodes["FacerefRestoreFaces"]()
    fields = {name: given[1]["default"] for name, given in node.INPUT_TYPES()["required"].items() if len(given) > 1}
    given = fields | {"always": True, "restorer": Restorer.from_pretrained(tiny_model)}
    images, results, account = node.restore(images=batch, **given)
    np.testing.assert_allclose(images[1], batch[1], atol=1 / 255)
    assert (images[0] - batch[0]).abs().max() > 0.1
    told = json.loads(account)
    assert len(results) == 1
    assert "No face was found" in told[1]["left_alone"]
    with pytest.raises(NoFaceError):
        node.restore(images=batch[1:], **given)


def test_of_a_batch_a_picture_without_the_chosen_face_stays_and_the_others_are_restored(prompt, nodes, pictures: Path):
    """Also where the whole picture is made larger: a batch has one size."""
    old = Image.open(pictures / "old.png").convert("RGB")
    both = Image.new("RGB", (512, 256), "grey")
    both.paste(old, (0, 0))
    both.save(pictures / "one.png")
    both.paste(old, (256, 0))
    both.save(pictures / "two.png")
    prompt["11"] = {"class_type": "LoadImage", "inputs": {"image": "one.png"}}
    prompt["12"] = {"class_type": "LoadImage", "inputs": {"image": "two.png"}}
    prompt["13"] = {"class_type": "ImageBatch", "inputs": {"image1": ["11", 0], "image2": ["12", 0]}}
    prompt[RESTORE]["inputs"] |= {"images": ["13", 0], "face": "2"}
    done = comfyui.execute(prompt, nodes)
    told = json.loads(done[RESTORE][2][0])
    assert "has no face 2" in told[0]["left_alone"]
    assert [one["restored"] for one in told[1]["faces"]] == [False, True]
    np.testing.assert_allclose(done[SAVED][0][0], done["11"][0][0][0], atol=1 / 255)
    prompt[RESTORE]["inputs"] |= {"background": "lanczos"}
    assert comfyui.execute(prompt, nodes)[SAVED][0].shape == (2, 512, 1024, 3)


def test_pictures_of_a_batch_that_come_out_unlike_each_other_are_brought_together(nodes):
    """As aligned faces, of which a restored one has the model's size, and one that is left alone its own."""
    to_images = sys.modules[nodes["FacerefRestoreFaces"].__module__].to_images
    restored, left = Image.new("RGB", (32, 32), "red"), Image.new("RGBA", (16, 16), (0, 0, 255, 128))
    images = to_images([restored, left])
    assert images.shape == (2, 32, 32, 4)
    torch.testing.assert_close(images[:, 5, 5], torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 128 / 255]]))


@pytest.mark.parametrize(
    ("asked", "side"),
    [({"background": "clean"}, 256), ({"background": "lanczos"}, 512), ({"background": "lanczos", "scale": 4}, 1024)],
)
def test_whole_pictures_are_cleaned_or_enlarged_those_without_a_face_too(
    asked, side, prompt, nodes, tiny_model, pictures
):
    prompt["11"] = {"class_type": "LoadImage", "inputs": {"image": "noise.png"}}
    prompt["12"] = {"class_type": "ImageBatch", "inputs": {"image1": ["2", 0], "image2": ["11", 0]}}
    prompt[RESTORE]["inputs"] |= asked | {"images": ["12", 0]}
    assert comfyui.problems(prompt, nodes) == []
    done = comfyui.execute(prompt, nodes)
    assert done[SAVED][0].shape == (2, side, side, 3)
    noise = Image.open(pictures / "noise.png").convert("RGB")
    expected = Restorer.from_pretrained(tiny_model).restore(noise, options=asked)
    np.testing.assert_allclose(done[SAVED][0][1].numpy() * 255, np.asarray(expected.image), atol=1)
    told = json.loads(done[RESTORE][2][0])
    assert [(one["background"], len(one["faces"])) for one in told] == [
        (asked["background"], 1),
        (asked["background"], 0),
    ]


@pytest.mark.parametrize(
    ("typed", "chosen"), [("auto", None), ("2", 2), ("largest", "largest"), ("70,60,170.5,185", (70, 60, 170.5, 185))]
)
def test_a_face_is_chosen_as_it_is_typed(nodes, typed, chosen):
    module = sys.modules[nodes["FacerefRestoreFaces"].__module__]
    assert module._chosen(typed) == chosen
    with pytest.raises(UsageError, match="There is no box '1,2'"):
        module._chosen("1,2")


def test_people_of_several_nodes_are_joined_and_a_folder_is_read_again_when_it_changes(
    prompt, nodes, pictures: Path, tmp_path: Path
):
    (tmp_path / "good").mkdir()
    Image.open(pictures / "good_1.png").save(tmp_path / "good" / "a.png")
    folder = {"restorer": [MODEL, 0], "folder": str(tmp_path / "good"), "aligned": False}
    prompt["11"] = {"class_type": "FacerefReadPerson", "inputs": folder | {"others": [PERSON, 0]}}
    del prompt[RESTORE], prompt[COMPARE], prompt[SAVED], prompt[SHOWN]
    assert comfyui.problems(prompt, nodes) == []
    (people,) = comfyui.execute(prompt, nodes)["11"][0]
    assert [len(one.references) for one in people] == [2, 1]
    node, unlinked = nodes["FacerefReadPerson"], folder | {"restorer": None}
    before = node.IS_CHANGED(**unlinked)
    assert node.IS_CHANGED(**unlinked) == before
    Image.open(pictures / "good_2.png").save(tmp_path / "good" / "b.png")
    assert node.IS_CHANGED(**unlinked) != before
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "good" / "linked").symlink_to(tmp_path / "elsewhere")
    before = node.IS_CHANGED(**unlinked)
    Image.open(pictures / "good_2.png").save(tmp_path / "elsewhere" / "c.png")
    assert node.IS_CHANGED(**unlinked) != before, "a link to a folder is followed"


def test_the_face_alone_may_be_restored(prompt, nodes):
    with_hair = comfyui.execute(prompt, nodes)[SAVED][0]
    prompt[RESTORE]["inputs"] |= {"face_only": True}
    changed = (comfyui.execute(prompt, nodes)[SAVED][0] - with_hair).abs().amax(dim=-1) > 0.02
    assert changed.any(), "around it there is the photograph"
    assert not changed[0, 100:130, 110:150].any(), "the face is the same"


def test_a_face_that_is_good_already_is_compared_as_it_is(prompt, nodes):
    prompt[RESTORE]["inputs"] |= {"always": False, "strength": 0.0}
    done = comfyui.execute(prompt, nodes)
    torch.testing.assert_close(done[SHOWN][0], done["2"][0][0])


@pytest.mark.parametrize(
    ("node", "inputs", "words"),
    [
        (MODEL, {"model": "huge"}, "There is no model"),
        (PERSON, {"folder": "/nowhere"}, "/nowhere"),
        (RESTORE, {"face": "5"}, "has no face 5; choose 1, largest or all."),
        (RESTORE, {"face": "left"}, "face cannot be 'left'"),
        (RESTORE, {"scale": 2}, "scale cannot be 2: it is for a background"),
        (RESTORE, {"crisp": 0.5}, "cannot be told how crisply to draw"),
        (RESTORE, {"steps": 1000, "guidance": 0.0, "images": ["11", 0]}, "No face was found"),
    ],
)
def test_what_goes_wrong_is_said_in_facerefs_own_sentence(node: str, inputs: dict, words: str, prompt, nodes):
    prompt["11"] = {"class_type": "LoadImage", "inputs": {"image": "grey.png"}}
    prompt[node]["inputs"] |= inputs
    with pytest.raises(FacerefError) as error:
        comfyui.execute(prompt, nodes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("node", "inputs", "words"),
    [
        (RESTORE, {"strength": 1.5}, "strength cannot be 1.5"),
        (RESTORE, {"seed": 2**60}, "seed cannot be"),
        (RESTORE, {"colour": "sepia"}, "colour cannot be 'sepia'"),
        (RESTORE, {"background": "model.pth"}, "background cannot be 'model.pth'"),
        (RESTORE, {"images": [MODEL, 0]}, "images is FACEREF_RESTORER, not IMAGE"),
        (COMPARE, {"results": [RESTORE, 0]}, "results is IMAGE, not FACEREF_RESULTS"),
    ],
)
def test_what_cannot_fit_comfyui_refuses_before_it_runs(node: str, inputs: dict, words: str, prompt, nodes):
    prompt[node]["inputs"] |= inputs
    assert [words in problem for problem in comfyui.problems(prompt, nodes)] == [True]


def test_the_fields_begin_with_the_defaults_of_restore_options_and_show_its_help(ours: dict[str, Any]):
    fields = comfyui.inputs_of(ours["FacerefRestoreFaces"])
    for name in ("seed", "max_refs", "colour", "unknown", "always", "aligned"):
        assert fields[name][1]["default"] == getattr(RestoreOptions(), name), name
    for name in RestoreOptions.model_fields.keys() & fields.keys():
        assert fields[name][1]["tooltip"].startswith(help_text(name))


def test_comfyuis_bar_moves_and_its_button_interrupts(prompt, nodes, monkeypatch):
    class InterruptProcessingError(Exception):
        pass

    moves: list[tuple[int, int]] = []

    def check() -> None:
        if len(moves) == 1:
            raise InterruptProcessingError

    bar = SimpleNamespace(update_absolute=lambda value, total: moves.append((value, total)))
    for name, content in (
        ("comfy", {}),
        ("comfy.utils", {"ProgressBar": lambda total: bar}),
        ("comfy.model_management", {"throw_exception_if_processing_interrupted": check}),
    ):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(InterruptProcessingError):
        comfyui.execute(prompt, nodes)
    assert moves == [(1, 2)]  # the tiny model's first of two steps
