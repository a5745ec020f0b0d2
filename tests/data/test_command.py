"""docs/data.md: every command in it is run, in its order, on a tree of two people."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from faceref.app.cli.main import app
from faceref.data.index import read_index, write_index
from faceref.data.mapping import ReferenceMapping

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"
# A twentieth of two people is nobody, and no variant of one portrait is as far from it as another photograph
SUBSTITUTES = {"--val 0.05 --test 0.05": "--val 0 --test 0.5", "--workers 8": "--workers 1"}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments], prog_name="faceref")
    return int(ended.value.code or 0)


def commands(section: str) -> list[list[str]]:
    """The indented lines `faceref ...` below a heading of the document, without comments."""
    text = DOCUMENT.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    for shown, run_instead in SUBSTITUTES.items():
        text = text.replace(shown, run_instead)
    text = re.sub(r"\\\n +", "", text)  # a backslash continues a line
    lines = re.findall(r"^    (faceref .*)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def here(photographs: Path, tiny_model: Path, tmp_path: Path, monkeypatch) -> Path:
    """A folder with photos/ and a model runs/mine/model."""
    shutil.copytree(photographs, tmp_path / "photos")
    shutil.copytree(tiny_model, tmp_path / "runs" / "mine" / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_the_walk_from_photographs_to_an_evaluated_model(here: Path, capsys):
    for arguments in commands("The walk"):
        if arguments[0] == "train":
            continue  # its configuration is the reader's; tests/training runs one
        if arguments[:3] == ["data", "align", "photos"]:
            arguments = [*arguments, "--size", "64"]
        assert run(*arguments) == 0, (arguments, capsys.readouterr())
    rows = read_index(here / "faces")
    assert {(row["person"][0], row["file"][0]) for row in rows} == {("E", "E"), ("S", "S")}
    assert {row["split"] for row in rows} == {"train", "test"}
    mapping = ReferenceMapping.read(here / "faces/reference_mapping/test_references.csv")
    people = {row["file"]: row["person"] for row in rows}
    assert len(mapping) == 4
    assert all(people[name] == people[entry.gt_image] for entry in mapping for name in entry.ref_images)
    assert (here / "results/summary.md").exists()
    assert all((here / "lq-severe" / (entry.lq_image or "")).exists() for entry in mapping)


def test_people_from_folders_are_labels_not_findings(faces: Path, capsys):
    rows = read_index(faces)
    write_index(faces, [{**row, "person": row["file"].split("/")[0]} for row in rows])
    assert run("data", "identities", faces, "--workers", 1) == 2
    assert "--labels person" in capsys.readouterr().err
    assert run("data", "identities", faces, "--labels", "person", "--no-sheets", "--workers", 1) == 0
    told = capsys.readouterr().out
    assert "2 identities among 8 faces" in told
    assert re.search(r"0\.510 .* 1\.0000 +1\.0000\s", told)
    assert {row["person"] for row in read_index(faces)} == {"Eileen", "Solara"}


def test_a_comparison_leaves_the_names_in_the_index_ours(faces: Path):
    assert run("data", "identities", faces, "--no-sheets", "--workers", 1) == 0
    rows = read_index(faces)
    write_index(faces, [{**row, "truth": row["file"].split("/")[0]} for row in rows])
    compare = ("--labels", "truth", "--threshold", 0.1, "--no-sheets", "--workers", 1)
    assert run("data", "identities", faces, *compare) == 0
    assert run("data", "identities", faces, "--no-sheets", "--workers", 1) == 0
    assert [row["person"] for row in read_index(faces)] == [row["person"] for row in rows]


def test_a_split_without_references_does_not_keep_others_from_theirs(faces: Path, capsys):
    splits: dict[str, str] = {"Eileen/a.png": "val", "Solara/a.png": "test", "Solara/b.png": "test"}
    rows = [row for row in read_index(faces) if row["file"] in splits]
    named = [{**row, "person": row["file"].split("/")[0], "split": splits[row["file"]]} for row in rows]
    write_index(faces, named)
    assert run("data", "references", faces, "--workers", 1) == 0
    told = capsys.readouterr().out
    assert "0 targets, 0 references in all; 1 left out" in told
    assert "2 targets, 2 references in all; 0 left out" in told
    mappings = (faces / f"reference_mapping/{split}_references.csv" for split in ("val", "test"))
    assert [len(ReferenceMapping.read(path)) for path in mappings] == [0, 2]
    write_index(faces, named[:1])
    assert run("data", "references", faces, "--workers", 1) == 1
    assert "left_out.csv says why" in capsys.readouterr().err


def test_who_is_in_another_split_now_is_in_no_mapping_of_the_one_before(faces: Path):
    for eileens in ("val", "train"):
        rows = [{**row, "person": row["file"].split("/")[0]} for row in read_index(faces)]
        write_index(faces, [{**row, "split": eileens if row["person"] == "Eileen" else "test"} for row in rows])
        assert run("data", "references", faces, "--workers", 1) == 0
    mappings = faces / "reference_mapping"
    assert sorted(path.name for path in mappings.glob("*_references.csv")) == [
        "test_references.csv",
        "train_references.csv",
    ]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (("--at-least", 5, "--at-most", 3), "No target has 5 references or more and at most 3; give an --at-least"),
        (("--min-distance", 0.5, "--max-distance", 0.3), "No distance is 0.5 or more and below 0.3; give a --min-"),
        (("--max-distance", 0.1), "No distance is 0.2 or more and below 0.1"),  # near-duplicates are below 0.2
    ],
)
def test_rules_that_no_reference_satisfies_replace_no_mapping(faces: Path, capsys, rules, says: str):
    write_index(faces, [{**row, "person": row["file"][0], "split": "test"} for row in read_index(faces)])
    assert run("data", "references", faces, "--workers", 1) == 0
    before = (faces / "reference_mapping/test_references.csv").read_bytes()
    capsys.readouterr()
    assert run("data", "references", faces, "--workers", 1, *rules) == 2
    assert says in capsys.readouterr().err
    assert (faces / "reference_mapping/test_references.csv").read_bytes() == before


def test_corrections_are_applied_on_the_next_run_without_embedding_again(faces: Path, monkeypatch):
    assert run("data", "identities", faces, "--workers", 1) == 0
    with (faces / "corrections.csv").open("a") as file:
        file.write("same,Eileen/a.png,Solara/b.png\nexclude,Solara/d.png,\n")
    monkeypatch.setattr("faceref.data.embedding.embedder_of", None)  # would fail
    assert run("data", "identities", faces, "--workers", 1) == 0
    people = {row["file"]: row["person"] for row in read_index(faces)}
    assert people["Eileen/a.png"] == people["Solara/c.png"]
    assert people["Solara/d.png"] == ""


def test_an_index_of_photographs_elsewhere_is_refused_since_contact_sheets_are_called_as_they_are(
    faces: Path, tmp_path: Path, capsys
):
    elsewhere = {path: path.read_bytes() for path in sorted((faces / "Eileen").glob("*.png"))}
    (tmp_path / "set").mkdir()
    for names in (list(elsewhere), [f"../faces/Eileen/{path.name}" for path in elsewhere]):
        write_index(tmp_path / "set", [{"file": str(name)} for name in names])
        assert run("data", "identities", tmp_path / "set", "--workers", 1) == 1
        assert "give names relative to that folder" in " ".join(capsys.readouterr().err.split())
        assert all(path.read_bytes() == content for path, content in elsewhere.items())


def test_check_ends_with_1_and_the_names(faces: Path, capsys):
    rows = [
        {**row, "person": row["file"].split("/")[0], "split": "train" if i % 2 else "test"}
        for i, row in enumerate(read_index(faces))
    ]
    write_index(faces, rows)
    (faces / "Eileen/a.png").unlink()
    assert run("data", "check", faces, "--no-near-duplicates") == 1
    told = capsys.readouterr().out
    assert "Eileen/a.png: does not exist" in told
    assert "Solara: is in test" in told
    assert "3 problems" in told


def test_the_statistics_are_whole_however_many_columns_they_have(tmp_path: Path, capsys):
    sizes = range(1, 31)
    names = [f"{size}/{size}_{number}.png" for size in sizes for number in range(size)]
    for shade, name in enumerate(names):  # none a copy of another
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (shade % 256, shade // 256, 0)).save(tmp_path / name)
    rows = [{"file": name, "person": name.partition("/")[0], "split": "train"} for name in names]
    write_index(tmp_path, rows)
    assert run("data", "check", tmp_path, "--no-near-duplicates") == 0
    heading, counts = capsys.readouterr().out.splitlines()[:2]
    assert heading.split() == ["photographs", "per", "identity", "all", *map(str, sizes)]
    assert counts.split() == ["train", "30", *["1"] * 30]


@pytest.mark.slow
def test_ray_embeds_to_the_same_bytes(faces: Path, tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceref[ray]' to run this test.")
    shutil.copytree(faces, tmp_path / "ray")
    assert run("data", "identities", faces, "--no-sheets", "--workers", 2) == 0
    assert run("data", "identities", tmp_path / "ray", "--no-sheets", "--workers", 2, "--ray") == 0
    for file in ("index.csv", "identities/near_duplicates.csv", "identities/persons.csv"):
        assert (faces / file).read_bytes() == (tmp_path / "ray" / file).read_bytes()


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        (("--sigma", 5, 2), "cannot be used: sigma must be (low, high) with low <= high"),
        (("--quality", 0, 90), "cannot be used: --quality: Input should be greater than or equal to 1"),
        (("--noise", -1, 5), "cannot be used: --noise: Input should be greater than or equal to 0"),
    ],
)
def test_a_range_that_is_none_is_named_by_its_option(faces: Path, tmp_path: Path, capsys, ranges, says: str):
    assert run("data", "degrade", faces, tmp_path / "lq", *ranges) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("share", [-1, 2])
def test_a_share_that_is_none_is_named_by_its_option(faces: Path, capsys, share: int):
    assert run("data", "splits", faces, "--val", share) == 2
    assert "Invalid value for '--val'" in capsys.readouterr().err
