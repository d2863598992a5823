"""The shortcut audit: planted shortcuts are found, and none is found where there is none.

N pictures, K classes, S side of a thumbnail in px.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from vision.data.manifest import group_names, load_manifest
from vision.evaluate.report.pages import report_environment
from vision.evaluate.shortcut_models import folds_of_groups, nearest_neighbours, permuted_labels, ridge
from vision.evaluate.shortcuts import (
    THUMBNAIL_PX,
    Glances,
    ShortcutAudit,
    ShortcutFigures,
    audit_shortcuts,
    read_glances,
    shortcut_figures,
)

K = 4
NAMES = ["picture size", "aspect", "file size", "border", "blurred colours"]


def clean_glances(seed: int, num_groups: int = 40, per_group: int = 4) -> tuple[Glances, NDArray[np.int64], list[str]]:
    """Pictures that say nothing of their class; those of a group are of one class and look alike."""
    generator = np.random.default_rng(seed)
    group_of = np.repeat(np.arange(num_groups), per_group)

    def values(*shape: int) -> NDArray[np.float64]:
        of_groups = generator.normal(size=(num_groups, *shape))[group_of]
        return np.asarray(of_groups + generator.normal(size=(len(group_of), *shape)))

    colours = values(4, 4, 3).repeat(THUMBNAIL_PX // 4, axis=1).repeat(THUMBNAIL_PX // 4, axis=2)
    glances = Glances(
        sizes_px=np.round(500 * np.exp(0.2 * values(2))),
        sizes_bytes=np.round(50_000 * np.exp(0.2 * values())),
        thumbnails=np.clip(128 + 25 * colours, 0, 255).astype(np.uint8),
    )
    return glances, generator.integers(K, size=num_groups)[group_of], [str(group) for group in group_of]


def with_file_size_of_class(glances: Glances, labels: NDArray[np.int64]) -> Glances:
    return Glances(glances.sizes_px, glances.sizes_bytes * 2.0**labels, glances.thumbnails)


def with_aspect_of_class(glances: Glances, labels: NDArray[np.int64]) -> Glances:
    return Glances(glances.sizes_px * np.stack([2.0**labels, np.ones(len(labels))], 1), *_rest(glances))


def with_border_of_class(glances: Glances, labels: NDArray[np.int64]) -> Glances:
    thumbnails = glances.thumbnails.copy()
    thumbnails[:, 0] = (40 + 40 * labels)[:, None, None]
    return Glances(glances.sizes_px, glances.sizes_bytes, thumbnails)


def _rest(glances: Glances) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    return glances.sizes_bytes, glances.thumbnails


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (with_file_size_of_class, "file size"),
        (with_aspect_of_class, "aspect"),
        (with_aspect_of_class, "picture size"),
        (with_border_of_class, "border"),
    ],
)
def test_a_planted_shortcut_is_found_and_named(
    plant: Callable[[Glances, NDArray[np.int64]], Glances], name: str
) -> None:
    glances, labels, groups = clean_glances(1)
    figures = shortcut_figures(
        plant(glances, labels), labels.astype(str).tolist(), groups, num_permutations=50, num_replicates=300
    )
    (found,) = [each for each in figures if each.name == name]
    assert found.warns
    assert found.p_value == pytest.approx(1 / 51)
    assert not next(each for each in figures if each.name == "file size").warns or name == "file size"


def test_clean_pictures_give_no_warning_and_small_p_values_no_oftener_than_they_should() -> None:
    """Measured with 40 seeds in each of four designs: no warning in 800, p <= 0.05 in 3 %."""
    figures: list[ShortcutFigures] = []
    for seed in range(12):
        glances, labels, groups = clean_glances(seed)
        truth = labels.astype(str).tolist()
        figures += shortcut_figures(glances, truth, groups, num_permutations=39, num_replicates=200, seed=seed)
    assert len(figures) == 12 * len(NAMES)
    assert not any(each.warns for each in figures)
    assert np.mean([each.p_value <= 0.05 for each in figures]) <= 0.15


def test_equal_sizes_say_chance() -> None:
    glances, labels, groups = clean_glances(3)
    equal = Glances(np.full_like(glances.sizes_px, 331), glances.sizes_bytes, glances.thumbnails)
    size, aspect, *_ = shortcut_figures(equal, labels.astype(str).tolist(), groups, num_permutations=20)
    for figures in (size, aspect):
        assert figures.accuracy.value is not None
        assert figures.accuracy.value <= figures.chance == pytest.approx(np.bincount(labels).max() / len(labels))
        assert figures.p_value == 1
        assert not figures.warns


def test_group_look_alone_is_no_shortcut() -> None:
    """Every group has a file size of its own: it tells the group, and held-out groups are unknown."""
    glances, labels, groups = clean_glances(4)
    of_group = Glances(glances.sizes_px, 10_000.0 + 100 * np.array(groups, dtype=np.float64), glances.thumbnails)
    figures = shortcut_figures(of_group, labels.astype(str).tolist(), groups, num_permutations=50, num_replicates=200)
    assert not figures[2].warns


def test_folds_divide_no_group_and_hold_every_row_once() -> None:
    groups = np.random.default_rng(0).geometric(0.1, 300) - 1
    groups = np.unique(groups, return_inverse=True)[1]
    folds = folds_of_groups(groups)
    assert sorted(np.concatenate(folds).tolist()) == list(range(300))
    assert sum(len(set(groups[rows])) for rows in folds) == len(set(groups))
    assert len(folds_of_groups(np.array([0, 0, 1]))) == 2


def test_permuted_labels_keep_counts_and_stay_together_by_group() -> None:
    groups = np.repeat(np.arange(30), 5)
    labels = np.random.default_rng(0).integers(K, size=30)[groups]
    permuted = permuted_labels(labels, groups, np.random.default_rng(1))
    assert np.bincount(permuted).tolist() == np.bincount(labels).tolist()
    assert all(len(set(permuted[groups == group])) == 1 for group in range(30))
    assert (permuted != labels).any()


def test_ridge_answers_as_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(200, 12)), generator.integers(K, size=200)
    features[:, 0] += labels
    folds = folds_of_groups(np.arange(200) // 4)
    answers = ridge(features, folds, K)(labels)
    for held_out in folds:
        train = np.setdiff1d(np.arange(200), held_out)
        scaler = StandardScaler().fit(features[train])
        reference = Ridge(alpha=12).fit(scaler.transform(features[train]), np.eye(K)[labels[train]])
        expected = reference.predict(scaler.transform(features[held_out])).argmax(axis=1)
        assert (answers[held_out] == expected).all()


def test_nearest_neighbours_answer_as_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(300, 2)), generator.integers(K, size=300)
    folds = folds_of_groups(np.arange(300) // 3)
    answers = nearest_neighbours(features, folds, K)(labels)
    scaled = StandardScaler().fit_transform(features)
    for held_out in folds:
        train = np.setdiff1d(np.arange(300), held_out)
        reference = KNeighborsClassifier(10).fit(scaled[train], labels[train])
        assert (answers[held_out] == reference.predict(scaled[held_out])).all()


def test_pictures_of_the_same_size_all_have_a_vote() -> None:
    features = np.array([0.0] * 30 + [1.0] * 30)[:, None]
    labels = np.array(([0] * 12 + [1] * 18) + [2] * 30)  # the first ten of a size would say 0
    held_out = np.array([0, 11, 29, 59])
    folds = [held_out, np.setdiff1d(np.arange(60), held_out)]
    assert nearest_neighbours(features, folds, 3)(labels)[held_out].tolist() == [1, 1, 1, 2]


def test_sizes_are_those_of_the_upright_picture_or_of_its_box(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(256, size=(200, 400, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "plain.png")
    paths = [tmp_path / name for name in ("turned.jpg", "plain.png", "plain.png", "missing.jpg")]
    glances, is_read = read_glances(paths, [None, None, (10, 20, 30, 40), None])
    assert glances.sizes_px.tolist() == [[200, 400], [400, 200], [30, 40]]
    assert glances.sizes_bytes[1] == (tmp_path / "plain.png").stat().st_size
    assert is_read == [True, True, True, False]


def _written(folder: Path, count: int) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(generator.integers(256, size=(20, 20, 3)).astype(np.uint8)).save(path)
    return paths


def test_an_audit_tells_what_it_left_out_and_could_not_read(tmp_path: Path) -> None:
    paths = [*_written(tmp_path, 9), tmp_path / "gone.png"]
    labels, groups = ["a", "b"] * 5, [str(number) for number in range(10)]
    audit = audit_shortcuts(paths, labels, groups, num_replicates=20)
    assert audit is not None
    assert (audit.num_images, audit.num_unreadable, audit.num_left_out, audit.num_groups) == (9, 1, 0, 9)
    assert [model.name for model in audit.models] == NAMES
    fewer = audit_shortcuts(paths[:9], labels[:9], groups[:9], most=6, num_replicates=20)
    assert fewer is not None
    assert (fewer.num_images, fewer.num_left_out) == (6, 3)


@pytest.mark.parametrize(("labels", "groups"), [(["a"] * 4, "wxyz"), ("abab", ["one"] * 4)])
def test_one_class_or_one_group_has_no_audit(tmp_path: Path, labels: list[str], groups: list[str]) -> None:
    assert audit_shortcuts(_written(tmp_path, 4), list(labels), list(groups)) is None
    assert audit_shortcuts([], [], []) is None


def test_the_same_seed_gives_the_same_audit(tmp_path: Path) -> None:
    paths = _written(tmp_path, 8)
    first, second = (audit_shortcuts(paths, ["a", "b"] * 4, list("abcdefgh"), num_replicates=20) for _ in range(2))
    assert first == second


def _rendered(audit: ShortcutAudit | None) -> str:
    filters = {"percent": lambda value: f"{100 * value:.1f} %", "interval": lambda figure: f"{figure.low}"}
    return report_environment(**filters).get_template("_shortcuts.html.j2").render(shortcuts=audit)


def test_the_section_warns_in_words_and_escapes(tmp_path: Path) -> None:
    glances, labels, groups = clean_glances(1)
    truth = labels.astype(str).tolist()
    models = shortcut_figures(
        with_file_size_of_class(glances, labels), truth, groups, num_permutations=20, num_replicates=50
    )
    named = tuple(model.model_copy(update={"what_it_sees": "<script>"}) for model in models)
    audit = ShortcutAudit(
        models=named, num_images=160, num_groups=40, num_left_out=7, num_unreadable=0, num_permutations=20
    )
    page = _rendered(audit)
    assert "sees only file size" in page
    assert "much better than chance" in page
    assert "7 others were not looked at" in page
    assert "<script>" not in page
    assert _rendered(None).strip() == ""


def test_photographs_of_equal_size_have_no_shortcut(photos_dir: Path) -> None:
    manifest = load_manifest(photos_dir / "manifest.csv")
    paths = [manifest.image_path(name) for name in manifest.file_names]
    audit = audit_shortcuts(paths, manifest.table["label"].to_list(), group_names(manifest.table["group"]))
    assert audit is not None
    assert (audit.num_images, audit.num_groups) == (75, 40)
    assert not any(model.warns for model in audit.models)
    assert [model.p_value for model in audit.models[:2]] == [1, 1]
