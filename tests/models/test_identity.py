"""Face recognisers: agreement with ONNX Runtime on the same weights, crops, gradients, and files that do not fit."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from faceref.errors import CheckpointError
from faceref.models.identity import FaceRecogniser, IResNet, MobileFaceNet
from faceref.models.recogniser_files import load_face_recogniser

onnx: Any = pytest.importorskip("onnx", reason="the extra arcface (onnx, onnxruntime) is not installed")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="the extra arcface (onnx, onnxruntime) is not installed")

SHARED = Path(os.environ.get("FACEREF_SHARED", Path(__file__).parents[3] / "shared"))
MOBILEFACENET = SHARED / "weights" / "mobilefacenet.safetensors"
needs_shared_weights = pytest.mark.skipif(
    not MOBILEFACENET.exists(), reason="needs the project's weights/mobilefacenet.* (FACEREF_SHARED)"
)


def randomised(model: nn.Module) -> nn.Module:
    """Random weights and batch norm statistics that keep signals of order one."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (1.5 / fan_in) ** 0.5
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            size = module.weight.shape
            module.weight.data = torch.rand(size, generator=generator) + 0.5
            module.running_var = torch.rand(size, generator=generator) + 0.5
            module.bias.data = torch.randn(size, generator=generator) * 0.2
            module.running_mean = torch.randn(size, generator=generator) * 0.2
        elif isinstance(module, nn.PReLU):
            module.weight.data = torch.rand(module.weight.shape, generator=generator) * 0.5
    return model.eval()


def tiny_iresnet() -> IResNet:
    model = randomised(IResNet((2, 1, 3, 1), widths=(4, 8, 12, 16), embedding_size=10))
    assert isinstance(model, IResNet)
    return model


def onnx_graph_of(model: IResNet, fold: bool) -> Any:
    """The network as an exporter writes it, by onnx.helper: with `fold`, batch norms after convolutions are folded and
    the folded tensors have lost their names, as in insightface's files."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors = [], []

    def constant(tensor: torch.Tensor, name: str) -> str:
        tensors.append(numpy_helper.from_array(tensor.detach().numpy(), name if not fold else str(len(tensors) + 900)))
        return tensors[-1].name

    def add(operation: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(operation, inputs, [f"value{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def norm(x: str, bn: Any, name: str) -> str:
        names = [
            constant(t, f"{name}.{i}") for i, t in enumerate((bn.weight, bn.bias, bn.running_mean, bn.running_var))
        ]
        return add("BatchNormalization", [x, *names], epsilon=bn.eps)

    def conv(x: str, layer: Any, bn: Any, name: str) -> str:
        attributes = {"pads": [layer.padding[0]] * 4, "strides": list(layer.stride)}
        if fold:
            factor = bn.weight / (bn.running_var + bn.eps).sqrt()
            weight = constant(layer.weight * factor.view(-1, 1, 1, 1), "")
            return add("Conv", [x, weight, constant(bn.bias - bn.running_mean * factor, "")], **attributes)
        return norm(add("Conv", [x, constant(layer.weight, f"{name}.weight")], **attributes), bn, f"{name}.bn")

    def prelu(x: str, layer: Any, name: str) -> str:
        return add("PRelu", [x, constant(layer.weight.view(-1, 1, 1), name)])

    x = prelu(conv("input", model.conv1, model.bn1, "conv1"), model.prelu, "prelu")
    for i, layer in enumerate((model.layer1, model.layer2, model.layer3, model.layer4)):
        block: Any
        for j, block in enumerate(layer):
            name = f"layer{i + 1}.{j}"
            shortcut = x
            if fold and isinstance(block.downsample, nn.Sequential):  # exporters put the shortcut first or last
                shortcut = conv(x, block.downsample[0], block.downsample[1], f"{name}.downsample")
            y = conv(norm(x, block.bn1, f"{name}.bn1"), block.conv1, block.bn2, f"{name}.conv1")
            y = conv(prelu(y, block.prelu, f"{name}.prelu"), block.conv2, block.bn3, f"{name}.conv2")
            if not fold and isinstance(block.downsample, nn.Sequential):
                shortcut = conv(x, block.downsample[0], block.downsample[1], f"{name}.downsample")
            x = add("Add", [y, shortcut])
    x = add("Flatten", [norm(x, model.bn2, "bn2")], axis=1)
    x = add("Gemm", [x, constant(model.fc.weight, "fc.weight"), constant(model.fc.bias, "fc.bias")], transB=1)
    x = norm(x, model.features, "features")
    graph = helper.make_graph(
        nodes,
        "iresnet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", model.embedding_size])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def by_onnxruntime(file: Path, crops: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: crops.numpy()})[0])


def random_crops(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.fromarray(skimage.data.astronaut()).crop((130, 0, 330, 200))


@pytest.mark.parametrize("fold", [True, False])
def test_iresnet_read_from_onnx_agrees_with_onnxruntime(tmp_path: Path, fold: bool):
    file = tmp_path / "arcface.onnx"
    onnx.save(onnx_graph_of(tiny_iresnet(), fold), str(file))
    loaded = load_face_recogniser(file)
    assert isinstance(loaded, IResNet)
    assert loaded.embedding_size == 10
    assert [len(layer) for layer in (loaded.layer1, loaded.layer2, loaded.layer3, loaded.layer4)] == [2, 1, 3, 1]
    crops = random_crops(112, 112)
    expected = by_onnxruntime(file, crops)
    assert expected.std() > 0.1
    np.testing.assert_allclose(loaded(crops).numpy(), expected, atol=1e-4)


def test_iresnet_read_by_name_agrees_with_onnxruntime_on_the_same_weights(tmp_path: Path):
    model = tiny_iresnet()
    onnx.save(onnx_graph_of(model, fold=True), str(tmp_path / "arcface.onnx"))
    save_file(model.state_dict(), tmp_path / "arcface.safetensors")
    crops = random_crops(112, 112)
    loaded = load_face_recogniser(tmp_path / "arcface.safetensors")
    np.testing.assert_allclose(loaded(crops).numpy(), by_onnxruntime(tmp_path / "arcface.onnx", crops), atol=1e-4)


@pytest.mark.parametrize(
    ("depths", "millions"),
    # OpenVINO's Open Model Zoo: face-recognition-resnet34-arcface, face-recognition-resnet100-arcface-onnx
    [((3, 4, 6, 3), 34.129), ((3, 13, 30, 3), 65.132)],
)
def test_iresnet_has_the_published_size(depths: tuple[int, ...], millions: float):
    with torch.device("meta"):
        parameters = sum(p.numel() for p in IResNet(depths).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.03)


@needs_shared_weights
@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_mobilefacenet_gives_the_published_numbers(suffix: str):
    loaded = load_face_recogniser(MOBILEFACENET.with_suffix(suffix))
    embedding = loaded(torch.linspace(-1, 1, 3 * 112 * 96).view(1, 3, 112, 96))[0]
    # data/README.md beside the weights
    np.testing.assert_allclose(embedding[:4].numpy(), [-0.310805, 0.031888, -0.106568, 0.026873], atol=1e-5)
    assert embedding.norm().item() == pytest.approx(2.475121, abs=1e-5)


@needs_shared_weights
def test_mobilefacenet_agrees_with_onnxruntime():
    crops = random_crops(112, 96)
    expected = by_onnxruntime(MOBILEFACENET.with_suffix(".onnx"), crops)
    np.testing.assert_allclose(load_face_recogniser(MOBILEFACENET)(crops).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [128, 200, 512])
def test_mobilefacenet_crops_as_pillow_resizes_a_box(astronaut: Image.Image, size: int):
    face = astronaut.resize((size, size))
    box = (0.165 * size, 0.109 * size, 0.836 * size, 0.890 * size)
    expected = np.asarray(face.resize((96, 112), Image.Resampling.BILINEAR, box=box), np.float32)
    faces = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].float()
    ours = MobileFaceNet().crop(faces)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - expected).max() < 1.01  # Pillow rounds to 8 bit twice


def test_arcface_crop_is_the_middle_seven_eighths():
    faces = torch.arange(256.0).expand(1, 3, 256, 256)
    crop = tiny_iresnet().crop(faces)
    assert crop.shape == (1, 3, 112, 112)
    assert torch.equal(crop[0, 0, 0], torch.arange(16.5, 240, 2))


@pytest.fixture(params=["mobilefacenet", "iresnet"], scope="module")
def recogniser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FaceRecogniser:
    file = tmp_path_factory.mktemp("weights") / "recogniser.safetensors"
    save_file((tiny_iresnet() if request.param == "iresnet" else randomised(MobileFaceNet())).state_dict(), file)
    return load_face_recogniser(file)


def test_embeddings_are_unit_vectors_in_float32_under_autocast(recogniser: FaceRecogniser):
    faces = random_crops(128, 128)
    embedding = recogniser.embed(faces)
    assert embedding.shape == (2, recogniser.embedding_size)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(embedding, recogniser.embed(faces))


def test_gradients_reach_the_faces_and_not_the_weights(recogniser: FaceRecogniser):
    faces = random_crops(128, 128).requires_grad_()
    recogniser.embed(faces)[:, 0].sum().backward()
    assert faces.grad is not None
    assert faces.grad[:, :, 40:90, 40:90].abs().mean() > 0
    assert all(parameter.grad is None for parameter in recogniser.parameters())


def test_training_a_module_that_holds_a_recogniser_does_not_change_it(recogniser: FaceRecogniser):
    faces = random_crops(128, 128)
    before = recogniser.embed(faces)
    nn.ModuleList([recogniser]).train()
    recogniser.embed(faces)
    assert torch.equal(before, recogniser.embed(faces))


def test_perceptual_features_see_the_whole_picture_and_get_coarser(recogniser: FaceRecogniser):
    faces = random_crops(128, 128)
    maps = recogniser.identity_features(faces)
    assert all(fine.shape[-1] > coarse.shape[-1] for fine, coarse in pairwise(maps))
    faces[:, :, :3, :3] = 0  # outside every crop
    changed = recogniser.identity_features(faces)
    assert all(not torch.equal(before, after) for before, after in zip(maps, changed, strict=True))


def test_files_that_do_not_fit_are_named(tmp_path: Path):
    state = tiny_iresnet().state_dict()
    save_file({k: v for k, v in state.items() if k != "layer3.1.bn1.weight"}, tmp_path / "less.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "text.onnx").write_text("not a graph")
    for name, message in [
        ("less.safetensors", r"layer3\.1\.bn1\.weight"),
        ("other.safetensors", "neither a MobileFaceNet nor an IResNet"),
        ("text.safetensors", "cannot be read as safetensors"),
        ("missing.safetensors", "cannot be read as safetensors"),
        ("text.onnx", "cannot be read as ONNX"),
        ("missing.onnx", "cannot be read as ONNX"),
    ]:
        with pytest.raises(CheckpointError, match=message) as caught:
            load_face_recogniser(tmp_path / name)
        assert name in str(caught.value)


def test_an_onnx_graph_with_layers_too_many_or_too_few_is_refused(tmp_path: Path):
    graph = onnx_graph_of(tiny_iresnet(), fold=True)
    del graph.graph.node[-1]  # the last batch norm
    onnx.save(graph, str(tmp_path / "less.onnx"))
    with pytest.raises(CheckpointError, match="no weights for features"):
        load_face_recogniser(tmp_path / "less.onnx")


@needs_shared_weights
def test_safetensors_of_mobilefacenet_have_the_names_documented():
    assert set(load_file(MOBILEFACENET)) <= set(MobileFaceNet().state_dict())
