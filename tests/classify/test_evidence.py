"""Evidence maps: they add up to the log-odds, whatever the pooling and the views; covering places bears them out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vision.bundle import WEIGHTS_FILE, Bundle
from vision.classify.decision import bundle_probabilities
from vision.classify.engine import Engine
from vision.classify.evidence import (
    GEM_EXPONENT,
    EvidenceMaker,
    Head,
    chosen_classes,
    evidence_map,
    interpolation,
    load_head,
    picture_places,
    place_vectors,
    seen_part,
    views_of,
)
from vision.config import Pooling
from vision.data.preprocessing import Preprocessing
from vision.errors import BundleError, VisionError

POOLINGS: tuple[Pooling, ...] = ("avg", "gem", "max")


def random_head(pooling: Pooling, **others: object) -> Head:
    """Of 3 classes and 5 features."""
    generator = np.random.default_rng(1)
    weight, constant, mean = generator.normal(size=(3, 5)), generator.normal(size=3), generator.normal(size=5)
    return Head(weight, constant, mean, generator.uniform(0.5, 2, 5), pooling, **others)  # type: ignore[arg-type]


def random_maps(head: Head, *shape: int) -> NDArray[np.float64]:
    """Standardised maps of features that are never negative."""
    plain = np.random.default_rng(0).gamma(0.5, size=shape)
    return np.asarray((plain - head.mean[:, None, None]) / head.scale[:, None, None])


def pooled_by_hand(plain: NDArray[np.float64], pooling: Pooling) -> NDArray[np.float64]:
    if pooling == "max":
        return np.asarray(plain.max(axis=(-2, -1)))
    if pooling == "avg":
        return np.asarray(plain.mean(axis=(-2, -1)))
    return np.asarray((np.maximum(plain, 1e-6) ** 3).mean(axis=(-2, -1)) ** (1 / 3))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_map_adds_up_to_the_difference_of_logits_less_the_constants(pooling: Pooling) -> None:
    head = random_head(pooling)
    maps = random_maps(head, 5, 4, 6)
    plain = maps * head.scale[:, None, None] + head.mean[:, None, None]
    logits = head.weight @ pooled_by_hand(plain, pooling) + head.constant
    total = evidence_map(maps, head, 2, 0).sum()
    assert total == pytest.approx(logits[2] - logits[0] - (head.constant[2] - head.constant[0]), abs=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_maps_of_a_batch_are_those_of_single_pictures(pooling: Pooling) -> None:
    head = random_head(pooling, queries=() if pooling == "max" else (np.ones(2), np.ones(3)))
    maps = random_maps(head, 7, 5, 4, 6)
    together = evidence_map(maps, head, 1, 2)
    assert together.shape == (7, 4, 6)
    np.testing.assert_allclose(together, [evidence_map(one, head, 1, 2) for one in maps], atol=1e-12)


def test_exchanging_the_classes_changes_the_sign_alone() -> None:
    head = random_head("gem")
    maps = random_maps(head, 5, 4, 6)
    np.testing.assert_allclose(evidence_map(maps, head, 0, 1), -evidence_map(maps, head, 1, 0), atol=1e-12)


def test_a_place_adds_what_the_pooled_vector_changes_by_first_order() -> None:
    """f * d pooled / d f, against differences of the generalised mean itself."""
    head = random_head("gem")
    plain = np.random.default_rng(2).gamma(2.0, size=(5, 3, 3))
    places = place_vectors((plain - head.mean[:, None, None]) / head.scale[:, None, None], head)
    more = plain.copy()
    more[:, 1, 2] *= 1 + 1e-6
    change = (pooled_by_hand(more, "gem") - pooled_by_hand(plain, "gem")) / 1e-6
    np.testing.assert_allclose(places[:, 1, 2], change, rtol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("with_queries", [False, True])
def test_places_add_up_to_the_vectors_of_training(pooling: Pooling, with_queries: bool) -> None:
    torch = pytest.importorskip("torch")
    from vision.train.features import pooled

    generator = np.random.default_rng(4)
    queries = (generator.normal(size=2), generator.normal(size=3)) if with_queries and pooling != "max" else ()
    head = random_head(pooling, queries=queries)
    maps = random_maps(head, 1, 5, 4, 6)
    plain = torch.from_numpy(maps * head.scale[:, None, None] + head.mean[:, None, None])
    expected = pooled([plain[:, :2], plain[:, 2:]], pooling, [torch.from_numpy(query) for query in queries])
    np.testing.assert_allclose(place_vectors(maps, head).sum(axis=(-2, -1)), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("crops", [(1.0,), (1.0, 0.8, 0.5)])
def test_all_views_of_a_picture_add_up_to_its_vector(pooling: Pooling, crops: tuple[float, ...]) -> None:
    head = random_head(pooling, flip=True, crops=crops)
    maps = random_maps(head, 2 * len(crops), 5, 4, 4)
    embedding = np.random.default_rng(3).normal(size=5)
    places = picture_places(maps, embedding, head, 64)
    np.testing.assert_allclose(places.sum(axis=(1, 2)), embedding * head.scale + head.mean, atol=1e-9)


def test_the_mirrored_view_is_turned_back() -> None:
    head = random_head("avg", flip=True)
    whole = random_maps(head, 5, 4, 4)
    vector = (
        pooled_by_hand(whole * head.scale[:, None, None] + head.mean[:, None, None], "avg") - head.mean
    ) / head.scale
    places = picture_places(np.stack([whole, whole[:, :, ::-1]]), vector, head, 64)
    np.testing.assert_allclose(places, place_vectors(whole, head), atol=1e-12)


def test_what_a_crop_saw_lies_in_the_middle_of_the_whole() -> None:
    head = random_head("avg", crops=(1.0, 0.5))
    maps = np.stack([np.zeros((5, 8, 8)), np.ones((5, 8, 8))]) - (head.mean / head.scale)[:, None, None]
    maps[0] = -(head.mean / head.scale)[:, None, None]
    places = picture_places(maps, maps.mean(axis=(0, 2, 3)), head, 64)
    assert np.abs(places[:, 0]).max() == pytest.approx(0, abs=1e-12)
    assert (np.abs(places[:, 2:6, 2:6]).sum(axis=(1, 2)) > 0.1).all()


def test_interpolation_keeps_the_values_at_the_centres() -> None:
    np.testing.assert_allclose(interpolation((np.arange(7) + 0.5) / 7, 7), np.eye(7), atol=1e-12)
    assert interpolation(np.array([0.0, 1.0]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_on_a_bundle_the_map_and_the_constants_are_the_calibrated_log_odds(engine: Engine, drawn_run: Path) -> None:
    maker, info, head = EvidenceMaker(engine), engine.bundle.info, load_head(engine.bundle)
    for path in sorted((drawn_run / "data" / "images").glob("*-12.jpg")):
        evidence = maker.evidence(path)
        top = {item.class_id: item.probability for item in engine.classify(path).top}
        first, second = info.classes.index(evidence.answered), info.classes.index(evidence.against)
        assert evidence.unplaced == pytest.approx(head.constant[first] - head.constant[second], abs=1e-4)
        assert evidence.log_odds == pytest.approx(np.log(top[evidence.answered] / top[evidence.against]), abs=1e-4)
        assert list(top)[:2] == [evidence.answered, evidence.against]


def test_the_head_makes_the_graphs_probabilities_of_its_embedding(engine: Engine, drawn_run: Path) -> None:
    head, generator = load_head(engine.bundle), np.random.default_rng(0)
    side = engine.bundle.info.preprocessing.input_px
    outputs = engine.graph_outputs(generator.normal(size=(3, side, side)).astype(np.float32))
    logits = head.weight @ (outputs.embedding * head.scale + head.mean) + head.constant
    expected = bundle_probabilities(outputs.logits, engine.bundle.info)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), expected, atol=1e-4)


def test_views_are_those_that_the_graph_averages(engine: Engine, drawn_run: Path) -> None:
    torch = pytest.importorskip("torch")
    from vision.train.features import GEM_EXPONENT as EXPONENT_OF_TRAINING
    from vision.train.features import looks_at

    assert EXPONENT_OF_TRAINING == GEM_EXPONENT
    values = np.random.default_rng(0).normal(size=(3, 50, 50)).astype(np.float32)
    expected = looks_at(torch.from_numpy(values[None]), (1.0, 0.7), flip=True)
    ours = views_of(values, (1.0, 0.7), flip=True)
    np.testing.assert_allclose(ours, torch.cat(expected).numpy(), atol=1e-5)


def test_classes_may_be_named_and_default_to_the_most_probable() -> None:
    probabilities, classes = np.array([0.2, 0.5, 0.3]), ("a", "b", "c")
    assert chosen_classes(probabilities, classes, None, None) == (1, 2)
    assert chosen_classes(probabilities, classes, "a", None) == (0, 1)
    assert chosen_classes(probabilities, classes, None, "b") == (2, 1)


def test_wrong_classes_are_refused_by_name() -> None:
    with pytest.raises(VisionError, match="class 'shilk' is not in the bundle, did you mean 'shilka'"):
        chosen_classes(np.array([0.5, 0.5]), ("shilka", "buk"), "shilk", None)
    with pytest.raises(VisionError, match="'buk' cannot be compared with itself"):
        chosen_classes(np.array([0.5, 0.5]), ("shilka", "buk"), "buk", "buk")
    with pytest.raises(VisionError, match="needs two classes to compare, the bundle has only 'buk'"):
        chosen_classes(np.array([1.0]), ("buk",), None, None)


def test_weights_without_a_head_are_refused_with_a_remedy(bundle: Bundle, tmp_path: Path) -> None:
    header = json.dumps({"other": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / WEIGHTS_FILE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(BundleError, match=r"no tensor 'mean', so there are no evidence maps; train the bundle anew"):
        load_head(Bundle(tmp_path, bundle.info, ""))
    (tmp_path / WEIGHTS_FILE).write_bytes(b"not safetensors at all")
    with pytest.raises(BundleError, match="cannot be read as safetensors"):
        load_head(Bundle(tmp_path, bundle.info, ""))


def preprocessing(fit: str, middle: float = 1.0) -> Preprocessing:
    return Preprocessing(
        input_px=64, fit=fit, mean=(0.5,) * 3, std=(0.2,) * 3, interpolation="bicubic", box_margin=0.1, middle=middle
    )  # type: ignore[arg-type]


def test_the_seen_part_follows_fit_middle_and_box() -> None:
    assert seen_part((200, 100), preprocessing("squash")) == (0, 0, 1, 1)
    assert seen_part((200, 100), preprocessing("pad")) == (0, -0.5, 1, 1.5)
    assert seen_part((200, 100), preprocessing("crop")) == (0.25, 0, 0.75, 1)
    assert seen_part((200, 100), preprocessing("squash", 0.5)) == (0.25, 0.25, 0.75, 0.75)
    assert seen_part((200, 100), preprocessing("squash"), (100, 50, 50, 50)) == pytest.approx((0.475, 0.45, 0.775, 1))


def test_a_picture_that_lies_on_its_side_is_seen_upright(engine: Engine, drawn_run: Path, tmp_path: Path) -> None:
    source = drawn_run / "data" / "images" / "osa-akm-12.jpg"
    with Image.open(source) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # shown a quarter turn to the right
        image.save(tmp_path / "turned.jpg", exif=exif)
    maker = EvidenceMaker(engine)
    assert maker.evidence(source).part == pytest.approx((0, -1 / 6, 1, 7 / 6))
    assert maker.evidence(tmp_path / "turned.jpg").part == pytest.approx((-1 / 6, 0, 7 / 6, 1))


def test_covering_the_strongest_places_costs_more_than_covering_others() -> None:
    """A network of numpy: colours of blocks, generalised mean, a class for red and one for green."""
    generator = np.random.default_rng(0)
    head = Head(np.array([[3.0, 0, 0], [0, 3.0, 0]]), np.zeros(2), np.zeros(3), np.ones(3), "gem")

    def margin(blocks: NDArray[np.float64]) -> float:
        return float(np.subtract(*(head.weight @ pooled_by_hand(blocks, "gem"))))

    falls = []
    for _ in range(20):
        blocks = generator.uniform(0, 1, (3, 5, 5))
        order = np.argsort(-evidence_map(blocks, head, 0, 1), axis=None)
        chosen = [order[:5], *(generator.permutation(25)[:5] for _ in range(10))]
        covered = [np.where(np.isin(np.arange(25), c).reshape(5, 5), 0.0, blocks) for c in chosen]
        falls.append([margin(blocks) - margin(each) for each in covered])
    strongest, others = np.array(falls)[:, 0], np.array(falls)[:, 1:]
    assert (strongest > others.max(axis=1)).all()
    assert strongest.mean() > 3 * abs(others.mean())
