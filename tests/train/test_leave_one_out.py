"""Leaving a class out: nothing of it reaches the fit, everything of it is asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from drawings import write_drawings

from vision.config import load_config
from vision.errors import ManifestError
from vision.evaluate.left_out import left_out_figures
from vision.train.features import feature_recipes
from vision.train.leave_one_out import FeaturedRun, divided_by_class, featured_run, leave_one_out, left_out_trial
from vision.train.training_set import _training_set, prepare_run

LEFT_OUT = "shilka"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FeaturedRun:
    """Drawn pictures with made-up vectors: four well-separated clouds."""
    config = load_config(write_drawings(tmp_path_factory.mktemp("drawings")))
    prepared = prepare_run(config)
    rows = prepared.manifest.table.filter(pl.col("split") == "test")
    test = _training_set(prepared.manifest, rows, prepared.classes)
    truth = np.concatenate([part.class_indices for part in (prepared.training, prepared.calibration, test)])
    generator = np.random.default_rng(0)
    vectors = 10 * np.eye(4, 12)[truth] + generator.normal(0, 1, (len(truth), 12))
    return FeaturedRun(prepared, test, {feature_recipes(config)[0]: vectors.astype(np.float32)})


def with_other_vectors(run: FeaturedRun, class_id: str) -> FeaturedRun:
    truth = np.concatenate([part.class_indices for part in run.sets])
    is_class = (truth == run.prepared.classes.index(class_id))[:, None]
    changed = {recipe: np.where(is_class, rows + 100, rows) for recipe, rows in run.features.items()}
    return replace(run, features=changed)


def test_all_pictures_of_the_class_are_asked_about_and_none_of_the_others_is_lost(run: FeaturedRun) -> None:
    others, of_class = divided_by_class(run, LEFT_OUT)
    assert [len(part.images) for part in of_class.sets] == [8, 3, 3]
    assert [len(part.images) for part in others.sets] == [24, 9, 9]
    assert LEFT_OUT not in others.prepared.classes
    labels = [others.prepared.classes[index] for index in others.prepared.training.class_indices]
    assert labels == others.prepared.training.table["label"].to_list()


def test_no_answer_names_the_class_that_was_left_out(run: FeaturedRun) -> None:
    trial = left_out_trial(run, LEFT_OUT)
    answers = [*trial.novel.predictions, *trial.known.predictions]
    assert len(trial.novel.predictions) == 14
    assert set(trial.novel.true_labels) == {LEFT_OUT}
    assert LEFT_OUT not in {item.class_id for row in answers for item in row.top}


def test_pictures_of_the_class_change_nothing_about_the_others(run: FeaturedRun) -> None:
    trial, other = (left_out_trial(each, LEFT_OUT) for each in (run, with_other_vectors(run, LEFT_OUT)))
    assert trial.known.predictions == other.known.predictions
    np.testing.assert_array_equal(trial.comparisons[0].of_known, other.comparisons[0].of_known)
    assert not np.array_equal(trial.comparisons[0].of_novel, other.comparisons[0].of_novel)


def test_known_pictures_are_those_of_the_test_split(run: FeaturedRun) -> None:
    trial = left_out_trial(run, LEFT_OUT)
    assert run.known_pictures == "test split"
    assert len(trial.known.predictions) == 9
    assert len(trial.comparisons) == 1


def test_without_a_test_split_training_pictures_are_asked_out_of_fold_by_the_same_models(run: FeaturedRun) -> None:
    nothing = np.zeros(0, dtype=np.int64)
    empty = replace(run.test, table=run.test.table[:0], images=[], class_indices=nothing, groups=[])
    kept = sum(len(part.images) for part in run.sets[:2])
    trial = left_out_trial(
        FeaturedRun(run.prepared, empty, {recipe: rows[:kept] for recipe, rows in run.features.items()}), LEFT_OUT
    )
    assert len(trial.known.predictions) == 24
    assert len(trial.comparisons) == 5
    assert sorted(np.concatenate([c.known_rows for c in trial.comparisons])) == list(range(24))
    assert all(comparison.of_novel.shape == (4, 11) for comparison in trial.comparisons)


def test_every_class_is_left_out_once_and_far_clouds_are_noticed(run: FeaturedRun) -> None:
    trials = leave_one_out(run)
    figures = left_out_figures(trials, run.prepared.taxonomy, title="t", known_pictures="k", num_replicates=20)
    assert tuple(trial.class_id for trial in trials) == run.prepared.classes
    assert all((row.auroc["ours"] or 0) > 0.8 for row in figures.classes)


def test_two_classes_are_too_few(run: FeaturedRun) -> None:
    two = replace(run, prepared=replace(run.prepared, classes=("tor-m1", "osa-akm")))
    with pytest.raises(ManifestError, match=r"manifest\.csv: 2 classes to train on; .* takes at least 3"):
        leave_one_out(two)


def test_features_are_those_of_training_calibration_and_test(run: FeaturedRun, tmp_path: Path) -> None:
    overrides = ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64"]
    config = load_config(run.prepared.manifest.path.parent / "drawings.yaml", overrides)
    small = featured_run(prepare_run(config), tmp_path)
    (recipe,) = small.features
    assert [len(rows) for rows in small.features_of(recipe)] == [32, 12, 12]
    assert small.test.table["split"].unique().to_list() == ["test"]


def test_the_terminal_says_that_a_probe_was_judged_where_the_configuration_tunes(
    run: FeaturedRun, tmp_path: Path
) -> None:
    config = run.prepared.manifest.path.parent / "drawings.yaml"
    small = ("--set", "backbone.name=resnet10t", "--set", "backbone.weights=none", "--set", "features.input_px=64")
    done = run_vision(
        "evaluate", "--leave-one-out", config, *small, "--set", "train.strategy=finetune", "-o", tmp_path / "out",
        "--cache", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "judged here is a probe" in done.stderr
    assert "called most often" in done.stdout


def test_leaving_out_does_not_go_with_the_split_novel_and_says_so_by_name(tmp_path: Path) -> None:
    done = run_vision("evaluate", "--leave-one-out", tmp_path / "x.yaml", "--novel")
    assert done.returncode == 2
    assert "--leave-one-out does not go with --novel;" in done.stderr


def test_tunings_for_novelty_that_a_probe_has_no_use_for_are_told(run: FeaturedRun) -> None:
    path = run.prepared.manifest.path.parent / "drawings.yaml"
    (told,) = [
        warning
        for warning in prepare_run(load_config(path, ["decide.novelty_tunings=3"])).warnings
        if "novelty_tunings" in warning
    ]
    assert "decide.novelty_tunings: 3 is for train.strategy: finetune" in told
