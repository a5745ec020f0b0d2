"""Who is who: close pairs are found exactly, chains of them are cut, corrections hold, agreement is counted right."""

from itertools import combinations
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from faceref.data.agreement import Agreement, agreement_curve, pairwise_agreement, write_curve
from faceref.data.corrections import Corrections, read_corrections
from faceref.data.embedding import Embeddings
from faceref.data.embedding_space import EmbeddingSpace
from faceref.data.identities import identify, named_by_others, with_persons, write_findings, write_persons
from faceref.data.sheets import draw_sheets
from faceref.errors import DataError
from faceref.people.graph import close_pairs, components
from faceref.people.grouping import average_linkage
from faceref.people.measure import Measure

DLIB = EmbeddingSpace(None, Measure.EUCLIDEAN, threshold=1.0, near_duplicate=0.1, reference_distance=2.0)


def embeddings(points: list[tuple[float, ...]]) -> Embeddings:
    """Faces a.png, b.png, ... at points of a plane."""
    files = [f"{chr(ord('a') + i)}.png" for i in range(len(points))]
    return Embeddings(files, np.array(points, dtype=np.float32), [])


def groups(points: list[tuple[float, ...]], corrections: Corrections | None = None) -> list[str]:
    """The identities at distance 1, each as a word of its faces' letters."""
    found = identify(embeddings(points), DLIB, 1.0, corrections)
    return ["".join(file[0] for file in group) for group in found.groups()]


# two people of three photographs each; c and d look alike
BRIDGE = [(0, 0), (0, 0.5), (0.4, 0.2), (1.3, 0.2), (1.7, 0), (1.7, 0.5)]


def people(count: int, photographs: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Embeddings float32 [N, 128] as dlib's are: 0.43 apart within a person, 0.8 between."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, 128)) * 0.67 / 256**0.5
    vectors = (
        np.repeat(centres, photographs, axis=0) + rng.standard_normal((count * photographs, 128)) * 0.43 / 256**0.5
    )
    return vectors.astype(np.float32), [str(i) for i in range(count) for _ in range(photographs)]


@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.1, 3))
@settings(max_examples=25, deadline=None)
def test_the_range_search_finds_exactly_the_close_pairs(seed: int, count: int, radius: float):
    vectors = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    pairs = close_pairs(vectors, radius)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    for i, j in combinations(range(count), 2):
        squared = ((vectors[i].astype(float) - vectors[j]) ** 2).sum()
        if abs(squared - radius) > 1e-5:
            assert ((i, j) in found) == (squared < radius)


@pytest.mark.filterwarnings("ignore")
def test_the_search_for_millions_finds_nearly_all_of_them():
    vectors, _ = people(1000, 4, seed=0)
    exact, near = close_pairs(vectors, 0.25), close_pairs(vectors, 0.25, exact_up_to=100)
    assert 0.97 * len(exact) < len(near) <= len(exact)


def test_a_threshold_that_joins_everybody_is_an_error_not_a_full_memory(monkeypatch):
    monkeypatch.setattr("faceref.people.graph.MOST_PAIRS", 1000)
    with pytest.raises(DataError, match="lower threshold"):
        close_pairs(np.zeros((100, 8), np.float32), 1.0)


def test_two_groups_joined_by_one_pair_stay_two_people_and_are_named():
    found = identify(embeddings(BRIDGE), DLIB, 1.0)
    assert groups(BRIDGE) == ["abc", "def"]
    (bridge,) = found.bridges
    assert (bridge.left, bridge.right) == (("a.png", "b.png", "c.png"), ("d.png", "e.png", "f.png"))
    assert bridge.pairs == (("c.png", "d.png"),)
    assert bridge.suspicious


def test_a_chain_of_one_person_whose_ends_are_far_apart_is_one_person():
    assert groups([(0, 0), (0.5, 0), (1.0, 0), (1.4, 0)]) == ["abcd"]


def test_corrections_join_part_and_exclude():
    assert groups(BRIDGE, Corrections(same=(("a.png", "f.png"),))) == ["abcdef"]
    assert groups(BRIDGE, Corrections(different=(("a.png", "b.png"),)))[1:] != ["def"]
    assert groups(BRIDGE, Corrections(exclude=frozenset({"c.png"}))) == ["ab", "def"]
    parted = identify(embeddings(BRIDGE), DLIB, 1.0, Corrections(different=(("a.png", "b.png"),)))
    assert parted.persons()["a.png"] != parted.persons()["b.png"]
    assert "correction" in {bridge.why for bridge in parted.bridges}


def test_corrections_that_contradict_each_other_are_named():
    lines = Corrections(same=(("a.png", "b.png"), ("b.png", "f.png")), different=(("a.png", "f.png"),))
    with pytest.raises(DataError, match=r"a\.png and f\.png"):
        groups(BRIDGE, lines)


def test_corrections_that_leave_nobody_are_named():
    with pytest.raises(DataError, match="excludes every face"):
        identify(embeddings(BRIDGE), DLIB, 1.0, Corrections(exclude=frozenset(embeddings(BRIDGE).files)))


def test_a_large_component_is_clustered_in_parts_with_the_same_people():
    vectors, labels = people(30, 6, seed=1)
    pairs = close_pairs(vectors, 0.66**2)  # so far that strangers hang together
    whole = average_linkage(vectors, pairs, Measure.EUCLIDEAN, 0.66)
    parts = average_linkage(vectors, pairs, Measure.EUCLIDEAN, 0.66, largest=40)
    perfect = Agreement(precision=1.0, recall=1.0)
    assert pairwise_agreement(components(len(vectors), pairs.first, pairs.second), labels).precision < 0.1
    assert pairwise_agreement(whole, labels) == pairwise_agreement(parts, labels) == perfect


def test_more_copies_of_a_face_than_are_clustered_at_once_are_one_person():
    vectors, _ = people(3, 4, seed=0)
    copies = np.concatenate([np.repeat(vectors[:1], 60, axis=0), vectors])
    pairs = close_pairs(copies, 0.66**2)
    found = average_linkage(copies, pairs, Measure.EUCLIDEAN, 0.66, largest=40)
    assert found.tolist() == [found[0]] * 64 + [found[64]] * 4 + [found[68]] * 4
    assert len(set(found.tolist())) == 3
    apart = average_linkage(copies[:30], close_pairs(copies[:30], 0.66**2), Measure.EUCLIDEAN, 0.66, different=[(0, 1)])
    assert apart[0] != apart[1]


def test_near_duplicates_are_listed_nearest_first():
    found = identify(embeddings([(0, 0), (0.08, 0), (3, 0), (3.02, 0), (3.5, 0)]), DLIB, 1.0)
    assert [pair[:2] for pair in found.near_duplicates] == [("c.png", "d.png"), ("a.png", "b.png")]
    assert found.near_duplicates[0][2] == pytest.approx(0.02, abs=1e-4)


def test_cosine_distances_are_cosines():
    arcface = EmbeddingSpace(Path("x.onnx"), Measure.COSINE, threshold=0.4, near_duplicate=0.1, reference_distance=0.4)
    angles = np.radians([0, 50, 110])  # 1 - cos: 0.357 and 0.5
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = identify(Embeddings(["a", "b", "c"], vectors, []), arcface, 0.4)
    assert found.groups() == [["a", "b"], ["c"]]
    assert arcface.measure.between(vectors[0], vectors[1]) == pytest.approx(1 - np.cos(angles[1]), abs=1e-6)


def test_agreement_counts_pairs():
    # by hand: called the same: {1,2}, {1,3}, {2,3}, {4,5}; really: {1,2}, {3,4}, {3,5}, {4,5}; both: {1,2}, {4,5}
    agreement = pairwise_agreement([0, 0, 0, 1, 1], ["x", "x", "y", "y", "y"])
    assert (agreement.precision, agreement.recall) == (0.5, 0.5)


def test_the_curve_shows_that_chains_cost_precision_and_cohesion_saves_it(tmp_path: Path):
    vectors, labels = people(60, 5, seed=2)
    files = [f"{i}.png" for i in range(len(labels))]
    curve = agreement_curve(Embeddings(files, vectors, []), DLIB, 0.66, dict(zip(files, labels, strict=True)))
    assert curve[6].threshold == pytest.approx(0.66)
    assert curve[6].components.precision < 0.1 < 0.98 < curve[6].identities.precision
    assert curve[6].identities.recall > 0.95
    write_curve(curve, tmp_path)
    assert (tmp_path / "curve.csv").read_text().count("\n") == 12
    with Image.open(tmp_path / "curve.png") as plot:
        assert plot.width > 500


def test_people_keep_their_names_when_photographs_are_added():
    few, more = identify(embeddings(BRIDGE[:4]), DLIB, 1.0), identify(embeddings(BRIDGE), DLIB, 1.0)
    assert few.persons().items() <= more.persons().items()
    clash = Embeddings(["a.png", "a.jpg"], np.array([[0, 0], [9, 9]], np.float32), [])
    assert len(set(identify(clash, DLIB, 1.0).persons().values())) == 2


def test_people_named_by_others_are_told_from_ours(tmp_path: Path):
    found = identify(embeddings(BRIDGE), DLIB, 1.0)
    rows = with_persons([{"file": file, "person": ""} for file in found.files], found.persons())
    assert named_by_others(tmp_path, rows)
    write_persons(tmp_path, found.persons())
    assert not named_by_others(tmp_path, rows)
    assert named_by_others(tmp_path, [*rows, {"file": "z.png", "person": "Zoe"}]) == ["Zoe"]


@pytest.mark.parametrize("line", ["same,a.png,", "maybe,a.png,b.png", "exclude,a.png,b.png", "same,a.png,z.png"])
def test_a_correction_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, line: str):
    assert read_corrections(tmp_path, {"a.png", "b.png"}) == Corrections()  # and the file is made, with its header
    with (tmp_path / "corrections.csv").open("a") as file:
        file.write(f"different,a.png,b.png\n{line}\n")
    with pytest.raises(DataError, match="line 3"):
        read_corrections(tmp_path, {"a.png", "b.png"})


def test_every_person_and_every_bridge_gets_a_contact_sheet(tmp_path: Path):
    found = identify(embeddings(BRIDGE), DLIB, 1.0)
    for i, file in enumerate(found.files):
        Image.new("RGB", (64, 64), (40 * i, 0, 255 - 40 * i)).save(tmp_path / file)
    assert draw_sheets(tmp_path, found) == 3
    sheets = tmp_path / "identities" / "sheets"
    assert {path.name for path in sheets.iterdir()} == {"a.png", "d.png", "bridge_1.png"}
    colours = {colour for _, colour in Image.open(sheets / "bridge_1.png").getcolors(100_000) or []}
    assert {(40 * i, 0, 255 - 40 * i) for i in range(6)} <= colours
    write_findings(tmp_path, identify(embeddings(BRIDGE), DLIB, 0.1))
    assert not sheets.exists(), "of what was found before"
