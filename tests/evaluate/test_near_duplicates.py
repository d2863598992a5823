"""Test pictures that repeat training pictures: which are found, and what accuracy is without them, by hand.

N pictures, P pairs, R training pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from vision.bundle import Reference
from vision.data.manifest import load_manifest
from vision.data.preprocessing import Preprocessing, load_thumbnail
from vision.evaluate import near_duplicates
from vision.evaluate.aligned_correlation import aligned_correlations
from vision.evaluate.near_duplicates import FlatteryFigures, near_duplicate_figures, thumbnails_from_files
from vision.evaluate.report.pages import report_environment
from vision.predictions import NearestImage, Prediction, predictions_table

CLASSES = ("tor-m1", "tor-m2k")
PREPROCESSING = Preprocessing(
    input_px=224, fit="pad", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", box_margin=0
)
Thumbnails = NDArray[np.uint8]


def scene(seed: int) -> Image.Image:
    """A random picture with coarse and fine detail, 320 x 320 px."""
    generator = np.random.default_rng(seed)
    layers = [
        Image.fromarray(generator.integers(256, size=(side, side)).astype(np.uint8)).resize((320, 320))
        for side in (5, 12, 30)
    ]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.4)


def small(picture: Image.Image) -> Thumbnails:
    return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BICUBIC), dtype=np.uint8)


def thumbnails(seeds: Sequence[int]) -> Thumbnails:
    return np.stack([small(scene(seed)) for seed in seeds])


def reference(seeds: Sequence[int], digests: Sequence[str] | None = None, *, with_pixels: bool = True) -> Reference:
    """Training pictures `train-<seed>.jpg`; classes in turn."""
    return Reference(
        embeddings=np.zeros((len(seeds), 2), dtype=np.float32),
        file_names=[f"train-{seed}.jpg" for seed in seeds],
        sha256=list(digests or [""] * len(seeds)),
        class_indices=np.arange(len(seeds)) % len(CLASSES),
        attributions=[""] * len(seeds),
        thumbnails=thumbnails(seeds) if with_pixels else None,
    )


def table(*nearest: Sequence[tuple[int, float]], labels: Sequence[str], digests: Sequence[str] = ()) -> pl.DataFrame:
    """Predictions of pictures whose truth is `tor-m1`; (seed, similarity) of the training pictures that each lists."""
    rows = [
        Prediction(
            f"{row}.jpg",
            digests[row] if digests else "",
            "ok",
            label=labels[row],
            level="class",
            nearest=tuple(NearestImage(f"train-{seed}.jpg", CLASSES[seed % 2], value, "") for seed, value in near),
        )
        for row, near in enumerate(nearest)
    ]
    return predictions_table(rows).with_columns(true_label=pl.lit("tor-m1"))


def judged(predictions: pl.DataFrame, known: Reference, seen: Thumbnails | None = None) -> FlatteryFigures:
    figures = near_duplicate_figures(
        predictions,
        predictions["file_name"].to_list(),
        known,
        CLASSES,
        lambda row: None if seen is None else seen[row],
        num_replicates=200,
    )
    assert figures is not None
    return figures


MADE = {
    "cropped by 5 %": lambda picture: picture.crop((16, 16, 304, 304)),
    "moved": lambda picture: picture.crop((16, 0, 320, 320)),
    "brighter": lambda picture: picture.point(lambda value: min(255, int(1.3 * value))),
    "half the size": lambda picture: picture.resize((160, 160)),
}


@pytest.mark.parametrize("made", MADE)
def test_copies_correlate_and_strangers_do_not(made: str) -> None:
    originals, copies = thumbnails(range(8)), np.stack([small(MADE[made](scene(seed))) for seed in range(8)])
    every = np.broadcast_to(originals, (8, 8, 32, 32))
    best = aligned_correlations(copies, every).max(axis=2)  # (copy, original)
    assert (best.diagonal() > 0.85).all()
    assert (best[~np.eye(8, dtype=bool)] < 0.7).all()


def test_a_mirrored_picture_is_told_as_such() -> None:
    originals = thumbnails(range(4))
    plain, mirrored = aligned_correlations(originals[:, :, ::-1], originals[:, None]).transpose(2, 0, 1)
    assert (mirrored > 0.99).all()
    assert (plain < 0.7).all()


def test_correlation_of_a_picture_with_itself_is_that_of_numpy() -> None:
    """Without any move, against `np.corrcoef` on the same middle of the same detail."""
    one = thumbnails([1])
    padded = np.pad(one[0].astype(np.float64), 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    detail = (one[0] - windows.mean(axis=(2, 3)))[6:-6, 6:-6]
    other = np.roll(one[0], 9, axis=0)[None]
    least = np.corrcoef(detail.ravel(), _detail_of(other[0])[6:-6, 6:-6].ravel())[0, 1]
    assert aligned_correlations(one, one[:, None])[0, 0, 0] == pytest.approx(1, abs=1e-5)
    assert aligned_correlations(one, other[:, None])[0, 0, 0] >= least - 1e-5


def _detail_of(picture: Thumbnails) -> NDArray[np.float64]:
    padded = np.pad(picture.astype(np.float64), 2, mode="edge")
    return np.asarray(picture - np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).mean(axis=(2, 3)))


def test_a_picture_without_detail_correlates_with_none() -> None:
    flat = np.full((1, 32, 32), 90, np.uint8)
    assert np.abs(aligned_correlations(flat, thumbnails([1])[:, None])).max() < 0.01
    assert np.abs(aligned_correlations(flat, flat[:, None])).max() < 0.01


def test_equal_files_copies_and_strangers_by_hand() -> None:
    known = reference([0, 1, 2], ["aa", "bb", "cc"])
    predictions = table(
        [(0, 1.0)],  # the very file, right
        [(2, 0.97)],  # a copy by pixels, right
        [(0, 0.97)],  # as similar, but another picture; wrong
        [(1, 0.6)],  # not similar; right
        labels=["tor-m1", "tor-m1", "tor-m2k", "tor-m1"],
        digests=["AA", "", "", ""],
    )
    figures = judged(predictions, known, thumbnails([0, 2, 7, 8]))
    assert [(pair.file_name, pair.training_file_name) for pair in figures.pairs] == [
        ("0.jpg", "train-0.jpg"),
        ("1.jpg", "train-2.jpg"),
    ]
    assert figures.pairs[0].same_bytes
    assert (figures.pairs[0].similarity, figures.pairs[0].correlation) == (1.0, None)
    assert figures.pairs[1].correlation == pytest.approx(1, abs=1e-4)
    assert (figures.num_near_duplicates, figures.num_same_bytes, figures.num_unchecked) == (2, 1, 0)
    assert figures.accuracy_with.value == 3 / 4
    assert figures.accuracy_without.value == 1 / 2
    assert figures.difference.value == 1 / 4


def test_a_copy_need_not_be_the_nearest_of_those_listed() -> None:
    predictions = table([(0, 0.93), (2, 0.92), (4, 0.91)], labels=["tor-m1"])
    (pair,) = judged(predictions, reference([0, 2, 4]), thumbnails([4])).pairs
    assert (pair.training_file_name, pair.similarity) == ("train-4.jpg", 0.91)
    assert pair.same_class


def test_alike_pixels_alone_are_not_enough() -> None:
    predictions = table([(0, near_duplicates.MIN_SIMILARITY - 0.01)], labels=["tor-m1"])
    assert judged(predictions, reference([0]), thumbnails([0])).pairs == ()


def test_a_copy_with_another_label_is_counted() -> None:
    predictions = table([(1, 0.99)], [(1, 0.99)], labels=["tor-m1"] * 2, digests=["bb", ""])
    figures = judged(predictions, reference([0, 1], ["aa", "bb"]), thumbnails([1, 1]))
    assert figures.num_other_class == 2
    assert not any(pair.same_class for pair in figures.pairs)


def test_near_duplicates_that_flatter_are_said_to() -> None:
    copies, strangers = [[(0, 0.99)]] * 20, [[(0, 0.2)]] * 20
    predictions = table(*copies, *strangers, labels=["tor-m1"] * 20 + ["tor-m2k", "tor-m1"] * 10)
    figures = judged(predictions, reference([0]), thumbnails([0] * 40))
    assert figures.flatters
    assert (figures.accuracy_with.value, figures.accuracy_without.value) == (0.75, 0.5)


def test_without_near_duplicates_both_accuracies_are_one() -> None:
    figures = judged(table([(0, 0.3)], [(0, 0.2)], labels=["tor-m1", "tor-m2k"]), reference([0]))
    assert figures.accuracy_with == figures.accuracy_without
    assert figures.difference.value == 0
    assert not figures.flatters


def test_a_test_set_of_training_pictures_has_no_accuracy_without_them() -> None:
    predictions = table([(0, 1.0)], [(1, 1.0)], labels=["tor-m1"] * 2, digests=["aa", "bb"])
    figures = judged(predictions, reference([0, 1], ["aa", "bb"]))
    assert figures.accuracy_without.value is None
    assert not figures.flatters


def test_what_could_not_be_compared_is_counted() -> None:
    predictions = table([(0, 0.99)], [(0, 0.1)], labels=["tor-m1"] * 2)
    assert judged(predictions, reference([0])).num_unchecked == 1
    without_pixels = judged(predictions, reference([0], with_pixels=False), thumbnails([0, 0]))
    assert (without_pixels.num_unchecked, without_pixels.pairs) == (1, ())


def test_a_training_file_with_several_boxes_counts_as_each_of_them() -> None:
    known = reference([5, 0])
    known = Reference(known.embeddings, ["train-0.jpg"] * 2, *_from_third(known))
    (pair,) = judged(table([(0, 0.97)], labels=["tor-m1"]), known, thumbnails([0])).pairs
    assert pair.correlation == pytest.approx(1, abs=1e-4)


def _from_third(known: Reference) -> tuple[list[str], NDArray[np.int64], list[str], Thumbnails | None]:
    return known.sha256, known.class_indices, known.attributions, known.thumbnails


def test_predictions_without_nearest_have_no_figures() -> None:
    none_listed = table([], [], labels=["tor-m1"] * 2)
    for predictions in (none_listed, none_listed.drop("nearest")):
        assert near_duplicate_figures(predictions, ["a", "b"], reference([0]), CLASSES, lambda row: None) is None


def test_all_pairs_are_counted_and_some_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 2)
    monkeypatch.setattr(near_duplicates, "_CHUNK", 3)
    predictions = table(*[[(0, 0.99)]] * 7, labels=["tor-m1"] * 7)
    figures = judged(predictions, reference([0]), thumbnails([0] * 7))
    assert figures.num_near_duplicates == 7
    assert len(figures.pairs) == 2


def test_thumbnails_come_from_files_as_the_bundle_fits_them(tmp_path: Path) -> None:
    scene(1).convert("RGB").save(tmp_path / "one.png")
    thumbnail_of = thumbnails_from_files([tmp_path / "one.png", tmp_path / "gone.png"], PREPROCESSING)
    seen = thumbnail_of(0)
    assert seen is not None
    assert (seen == load_thumbnail(tmp_path / "one.png", PREPROCESSING)).all()
    assert thumbnail_of(1) is None


def _rendered(figures: FlatteryFigures | None) -> str:
    filters = {
        "percent": lambda value: f"{value}",
        "interval": lambda figure: f"{figure.low}",
        "training_thumbnail": lambda pair: None,
    }
    of_page = {
        "more": lambda _: "",
        "unfold": lambda *_: "",
        "picture_link": lambda name, _: name,
        "small_picture": lambda *_: "",
    }
    template = report_environment(**filters).get_template("_near_duplicates.html.j2")
    return template.render(near_duplicates=figures, max_near_duplicates=10, **of_page)


def test_the_section_says_what_is_there_and_escapes_names() -> None:
    predictions = table([(0, 0.99)], [(0, 0.1)], labels=["tor-m1"] * 2).with_columns(
        file_name=pl.Series(["<script>alert(1)</script>", "b"])
    )
    page = _rendered(judged(predictions, reference([0]), thumbnails([0, 0])))
    assert "1 of 2 pictures repeats a training picture" in page
    assert "<script>" not in page
    assert "train-0.jpg" in page
    assert "None of 1 picture repeats" in _rendered(judged(table([(0, 0.1)], labels=["tor-m1"]), reference([0])))
    assert _rendered(None).strip() == ""


def test_the_section_states_the_thresholds() -> None:
    page = _rendered(judged(table([(0, 0.1)], labels=["tor-m1"]), reference([0])))
    n = near_duplicates
    assert f"(cosine {n.MIN_SIMILARITY})" in page
    assert f"(correlation {n.MIN_CORRELATION})" in page
    assert f"({n.SECOND_SHOT_SIMILARITY} and {n.SECOND_SHOT_CORRELATION})" in page


def test_of_the_photographs_only_the_known_pair_of_second_shots_is_found(photos_dir: Path) -> None:
    """The two are 0.96 similar by the network that the thresholds come from; no other two are more than 0.941."""
    manifest = load_manifest(photos_dir / "manifest.csv")
    names = manifest.file_names
    seen = np.stack([load_thumbnail(manifest.image_path(name), PREPROCESSING) for name in names])
    best = np.concatenate([aligned_correlations(seen[row : row + 1], seen[None])[0].max(axis=1) for row in range(75)])
    correlations = best.reshape(75, 75)
    first, second = names.index("images/buk-02.jpg"), names.index("images/buk-03.jpg")
    assert correlations[first, second] > near_duplicates.SECOND_SHOT_CORRELATION
    assert correlations[second, first] > near_duplicates.SECOND_SHOT_CORRELATION
    assert (correlations[~np.eye(75, dtype=bool)] < near_duplicates.MIN_CORRELATION).all()
