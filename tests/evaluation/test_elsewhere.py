"""What others restored stands in the table of the models: folders of pictures, and networks as ONNX files."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from faceref.app.cli.main import app
from faceref.errors import CheckpointError, DataError, FacerefError, UsageError
from faceref.evaluation.cases import CaseSet, load_cases, mapping_from_folders
from faceref.evaluation.elsewhere import RestoredSpec, load_restored
from faceref.evaluation.onnx_restorer import OnnxSpec, load_onnx_restorer

CPU = torch.device("cpu")
SIZE = 64  # of the album and of the tiny model


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.output


def rows_of(out: Path, model: str) -> list[dict[str, str]]:
    with (out / "per_image.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["model"] == model]


def write_onnx(path: Path, low: float, high: float, shape: tuple = ("n", 3, "h", "w"), inputs: int = 1) -> Path:
    """A network that clips its pixels to [low, high], of `inputs` inputs."""
    limits = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("l", low), ("h", high))]
    node = helper.make_node("Clip", ["x0", "l", "h"], ["y"])
    ports = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i in range(inputs)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "clip", ports, [output], limits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def write_nodes(path: Path, *kinds: str, low: float = 0, high: float = 255) -> Path:
    """A network of these nodes in turn; Clip clips to [low, high]."""
    limits = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("l", low), ("h", high))]
    nodes = [
        helper.make_node(kind, [f"x{i}", *(("l", "h") if kind == "Clip" else ())], [f"x{i + 1}"])
        for i, kind in enumerate(kinds)
    ]
    ends = (helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ("n", 3, "h", "w")) for i in (0, len(kinds)))
    graph = helper.make_graph(nodes, "nodes", [next(ends)], [next(ends)], limits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def write_average(path: Path) -> Path:
    """A network that makes a picture half as wide."""
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 3, "h", "w")) for name in "xy"]
    graph = helper.make_graph([node], "average", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def cases(album: Path) -> CaseSet:
    return load_cases(mapping_from_folders(album), album)


@pytest.fixture
def restored(album: Path, tmp_path: Path) -> Path:
    """Somebody's restorations at twice the size: the truth itself, as WebP."""
    folder = tmp_path / "restored"
    for path in album.rglob("*.png"):
        target = (folder / path.relative_to(album)).with_suffix(".webp")
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((2 * SIZE, 2 * SIZE)).save(target, lossless=True)
    return folder


@pytest.fixture
def face(album: Path) -> torch.Tensor:
    """[1, 3, S, S] in [-1, 1]."""
    with Image.open(album / "ann/0.png") as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_they_stand_in_the_table_of_a_model_with_the_same_metrics_and_comparisons(
    model_folder: Path, album: Path, restored: Path, tmp_path: Path
):
    network = write_onnx(tmp_path / "clip.onnx", 0, 1)
    out = tmp_path / "out"
    others = ("--restored", f"gfpgan={restored}", "--restorer", network)
    code, output = run(model_folder, *others, "--hq", album, "--references", 1, "--limit", 2, "-o", out)
    assert code == 0, output
    text = (out / "summary.md").read_text()
    for words in (
        "| gfpgan: restored elsewhere |",
        "| clip: no references |",
        "| severe | gfpgan: restored elsewhere | tiny: no references |",
        "| severe | gfpgan: restored elsewhere | tiny: 1 reference |",
        "| severe | gfpgan: restored elsewhere | the LQ input itself |",
        "- gfpgan: restored elsewhere at 128 px, brought to 64 px as the truth is",
        "- clip: an ONNX network whose pixels are 0..1",
    ):
        assert words in text, words
    assert (out / "sheet_severe_gfpgan_ranked.png").exists()
    for row in rows_of(out, "gfpgan"):
        assert float(row["psnr"]) > 25  # the truth, but for two resizes
        assert float(row["identity_cosine"]) > 0.9
        assert row["seconds"] == ""
    inputs = {row["image"]: float(row["psnr"]) for row in rows_of(out, "") if row["condition"] == "lq"}
    for row in rows_of(out, "clip"):
        assert float(row["psnr"]) == pytest.approx(inputs[row["image"]], abs=0.01)  # it changes nothing
        assert float(row["seconds"]) > 0


def test_without_a_model_all_is_measured_at_the_size_of_the_pictures(album: Path, tmp_path: Path):
    for name in ("severe", "moderate"):
        for person in ("ann", "bea"):
            shutil.copytree(album / person, tmp_path / "theirs" / name / person)
    out = tmp_path / "out"
    both = ("--degradation", "severe", "--degradation", "moderate")
    code, output = run("--restored", f"theirs={tmp_path / 'theirs'}", "--hq", album, *both, "--limit", 2, "-o", out)
    assert code == 0, output
    assert f"at {SIZE} px" in (out / "summary.md").read_text()
    rows = rows_of(out, "theirs")
    assert [(row["set"], row["psnr"]) for row in rows] == [("severe", "100"), ("moderate", "100")] * 2


def test_what_others_are_to_restore_is_what_they_are_compared_on(model_folder: Path, album: Path, tmp_path: Path):
    """The recipe of docs/evaluation.md, with a copy in place of the other program."""
    lq, theirs, out = tmp_path / "lq", tmp_path / "theirs", tmp_path / "out"
    made = CliRunner().invoke(app, ["data", "degrade", str(album), str(lq)])
    assert made.exit_code == 0, made.output
    for path in lq.rglob("*.png"):
        (theirs / path.relative_to(lq)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, theirs / path.relative_to(lq))
    arguments = ("--hq", album, "--lq", lq, "--references", 1, "--limit", 2)
    code, output = run(model_folder, "--restored", f"copy={theirs}", *arguments, "-o", out)
    assert code == 0, output
    inputs = {row["image"]: row["psnr"] for row in rows_of(out, "") if row["condition"] == "lq"}
    assert {row["image"]: row["psnr"] for row in rows_of(out, "copy")} == inputs


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "ann/1.webp").unlink(), "lacks 1 of 6 pictures, of ann/1.png first"),
        (
            lambda folder: shutil.copy(folder / "ann/1.webp", folder / "grid.webp"),
            "holds 1 that belong to no target, grid.webp first",
        ),
        (
            lambda folder: shutil.copy(folder / "ann/1.webp", folder / "ann/1.png"),
            "holds two pictures of one name (1.png, 1.webp)",
        ),
        (lambda folder: (folder / "bea/0.webp").write_bytes(b"RIFF"), "is not a picture"),
        (
            lambda folder: Image.new("RGB", (32, 32)).save(folder / "bea/0.webp"),
            "is 32 px wide, and all is measured at 64 px; give pictures of that size or larger.",
        ),
        (lambda folder: Image.new("RGB", (80, 64)).save(folder / "bea/0.webp"), "is 80x64, not square"),
        (shutil.rmtree, "is not a folder; put what gfpgan made of the set severe there."),
    ],
)
def test_folders_that_do_not_fit_the_targets_are_refused(spoil, words: str, restored: Path, cases: CaseSet):
    spoil(restored)
    with pytest.raises(DataError) as refused:
        load_restored(RestoredSpec("gfpgan", restored), ("severe",), cases, cases.cases, SIZE)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, "0..1"), (-1, 1, "-1..1")],
)
def test_the_range_of_an_onnx_networks_pixels_is_found_out_by_a_face(
    low: int, high: int, expected: str, face: torch.Tensor, tmp_path: Path
):
    file = write_onnx(tmp_path / "clip.onnx", low, high)
    found = load_onnx_restorer(OnnxSpec.parse(str(file)), face, CPU)
    assert found.values == expected
    told = load_onnx_restorer(OnnxSpec.parse(f"x={file},range=-1..1"), face, CPU)
    assert (told.label, told.values) == ("x", "-1..1")
    torch.testing.assert_close(found.restore(face), face, atol=1e-6, rtol=0)
    torch.testing.assert_close(told.restore(face), face.clamp(min=low))


def test_a_network_of_bytes_is_given_bytes(face: torch.Tensor, tmp_path: Path):
    file = write_nodes(tmp_path / "bytes.onnx", "Clip", "Round")  # to 0..255, whole numbers
    network = load_onnx_restorer(OnnxSpec.parse(str(file)), face, CPU)
    assert network.values == "0..255"
    torch.testing.assert_close(network.restore(face), face, atol=1 / 255, rtol=0)
    assert load_onnx_restorer(OnnxSpec.parse(f"{file},range=0..255"), face, CPU).values == "0..255"


@pytest.mark.parametrize("kinds", [("Neg",), ("Clip", "Log")])  # a negative; without a number where pixels are black
def test_a_network_that_makes_something_else_of_a_good_face_in_every_range_is_refused(
    kinds: tuple[str, ...], face: torch.Tensor, tmp_path: Path
):
    file = write_nodes(tmp_path / "x.onnx", *kinds)
    with pytest.raises(CheckpointError, match=r"x\.onnx makes another picture of a good face.*range=0\.\.1\.$"):
        load_onnx_restorer(OnnxSpec.parse(str(file)), face, CPU)
    assert load_onnx_restorer(OnnxSpec.parse(f"{file},range=0..1"), face, CPU).values == "0..1"  # who tells it knows


def test_a_network_of_another_size_is_given_the_face_at_its_own(face: torch.Tensor, tmp_path: Path):
    file = write_onnx(tmp_path / "clip.onnx", -1, 1, (1, 3, 2 * SIZE, 2 * SIZE))
    network = load_onnx_restorer(OnnxSpec.parse(str(file)), face, CPU)
    two = network.restore(face.repeat(2, 1, 1, 1))  # one by one
    assert two.shape == (2, 3, SIZE, SIZE)
    assert (two[0] - face[0]).abs().mean() < 0.03
    assert "takes 128 px" in network.notes[0]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: write_onnx(path, 0, 1, inputs=2), "has 2 inputs (x0, x1), and a restorer has one"),
        (lambda path: write_onnx(path, 0, 1, ("n", 1, 64, 64)), "takes ['n', 1, 64, 64] of tensor(float), not"),
        (lambda path: write_onnx(path, 0, 1, (4, 3, 64, 64)), "takes [4, 3, 64, 64] of tensor(float), not"),
        (lambda path: write_onnx(path, 0, 1, ("n", 3, 64, 80)), "not square pictures [1 or any, 3, H, W]"),
        (lambda path: write_onnx(path, 0, 1, ("n", 3)), "takes ['n', 3] of tensor(float), not"),
        (write_average, "makes [1, 3, 32, 32] of [1, 3, 64, 64], not a picture of the same shape"),
        (lambda path: path.write_bytes(b"no network"), "cannot be read as ONNX"),
        (lambda path: None, "is no file; give the path of an ONNX file."),
    ],
)
def test_onnx_files_that_are_no_restorers_end_with_one_sentence(write, words: str, face: torch.Tensor, tmp_path: Path):
    write(tmp_path / "x.onnx")
    with pytest.raises(CheckpointError) as refused:
        load_onnx_restorer(OnnxSpec.parse(str(tmp_path / "x.onnx")), face, CPU)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_onnx_runtime_it_is_said_how_to_get_it(face: torch.Tensor, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"needs ONNX Runtime, which is not installed; install it with pip"):
        load_onnx_restorer(OnnxSpec.parse(str(tmp_path / "x.onnx")), face, CPU)


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (RestoredSpec.parse, "restored/gfpgan", "names no folder of restored pictures; write NAME=FOLDER"),
        (RestoredSpec.parse, "=restored", "names no folder"),
        (OnnxSpec.parse, "gfpgan.pth", "names no ONNX file; write FILE.onnx"),
        (OnnxSpec.parse, "gfpgan.onnx,range=0..2", "'range=0..2' in 'gfpgan.onnx,range=0..2' is no setting"),
        (OnnxSpec.parse, "gfpgan.onnx,steps=2", "the range of its pixels is -1..1, 0..1 or 0..255"),
    ],
)
def test_names_that_cannot_be_read_are_refused(parse, text: str, words: str):
    with pytest.raises(FacerefError) as refused:
        parse(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to measure; name a model, --restored NAME=FOLDER or --restorer FILE.onnx."),
        (
            ("--restored", "a=.", "--product"),
            "Only a model's product can be measured; name a model, or leave --product",
        ),
        (("--restored", "a=.", "--restored", "a=."), "Two are called a; give one of them another name"),
        (("--restored", "a/b=.", "--restored", "a_B=."), "a/b and a_B would have the same files; give one of them"),
    ],
)
def test_requests_that_name_nothing_or_one_thing_twice_end_with_one_sentence(
    arguments, words: str, album: Path, tmp_path: Path
):
    code, output = run("--hq", album, *arguments, "-o", tmp_path / "out")
    assert (code, words in output) == (2, True), output
    assert output.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
