"""What is said of classes that a model never saw, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from vision.bundle import Bundle
from vision.data.manifest import load_manifest
from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.novel import novel_figures
from vision.evaluate.outputs import recorded_known
from vision.evaluate.run import evaluate_bundle, known_rows
from vision.predictions import (
    PREDICTIONS_FILE,
    ClassProbability,
    Level,
    Prediction,
    load_predictions,
    predictions_table,
)
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
KNOWN = ("tor-m1", "tor-m2k", "shilka")


def row(name: str, label: str, level: Level, probability: float, top: float = 0.5) -> Prediction:
    most_probable = (ClassProbability("tor-m2k", top), ClassProbability("shilka", 1 - top))
    return Prediction(name, "", "ok", label=label, level=level, probability=probability, top=most_probable)


def table(*rows: Prediction, truth: str = "dprk-tor-like") -> pl.DataFrame:
    return predictions_table(rows).with_columns(pl.lit(truth).alias("true_label"))


def test_each_kind_of_answer_is_counted_as_what_it_is() -> None:
    family, role = TAXONOMY.family_id("dprk-tor-like"), TAXONOMY.role_id("dprk-tor-like")
    (figures,) = novel_figures(
        table(
            row("1", "unknown", "unknown", 0.99, top=0.95),
            row("2", family, "family", 0.96),
            row("3", role, "role", 0.96),
            row("4", "shilka-family", "family", 0.96),
            row("5", "tor-m2k", "class", 0.97, top=0.97),
            row("6", "tor-m2k", "class", 0.6, top=0.6),
            Prediction("7", "", "error", error="broken"),
            row("8", "shilka", "class", 0.7),
        ).with_columns(pl.Series("logits", [[3.0, 0.0, 0.0], [1.0, 0.0, 0.0]] * 3 + [None, [0.0, 3.0, 0.0]])),
        KNOWN,
        TAXONOMY,
    )
    assert figures.num_images == 8
    assert figures.unknown == 1 / 8
    assert figures.right_above == 2 / 8
    assert figures.wrong_above == 1 / 8
    assert figures.wrong_class == 3 / 8
    assert figures.confident_wrong_class == 1 / 8
    assert figures.softmax_confident == 4 / 8
    assert figures.named[0] == ("tor-m2k", 2)
    assert figures.most_probable == (("tor-m2k", 7),)


def test_classes_that_the_model_knows_are_not_listed_and_the_most_dangerous_is_first() -> None:
    both = pl.concat(
        [
            table(row("1", "unknown", "unknown", 0.99), truth="gepard"),
            table(row("2", "tor-m2k", "class", 0.99)),
            table(row("3", "tor-m1", "class", 0.99), truth="tor-m1"),
        ]
    )
    assert [figures.class_id for figures in novel_figures(both, KNOWN, TAXONOMY)] == ["dprk-tor-like", "gepard"]


def test_an_evaluation_has_levels_of_answers_and_how_often_they_are_right() -> None:
    family = TAXONOMY.family_id("tor-m1")
    rows = [
        row("1", "tor-m1", "class", 0.9),
        row("2", "tor-m2k", "class", 0.9),
        row("3", family, "family", 0.9),
        row("4", "unknown", "unknown", 0.9),
    ]
    evaluation = evaluate_predictions(table(*rows, truth="tor-m1"), TAXONOMY, title="t", known_classes=KNOWN)
    assert evaluation.answers is not None
    assert evaluation.answers.by_level == {"class": 0.5, "family": 0.25, "role": 0.0, "unknown": 0.25}
    assert evaluation.answers.num_answers == 3
    assert evaluation.answers.right.value == pytest.approx(2 / 3)
    assert evaluation.accuracy.value == 0.25
    assert evaluation.most_probable is not None
    assert evaluation.most_probable.value == 0.0
    assert evaluation.novel == ()


def test_known_pictures_beside_novel_ones_are_those_of_test_or_else_of_calibration_never_trained_ones(
    bundle: Bundle, drawn_run: Path
) -> None:
    manifest = load_manifest(drawn_run / "data" / "manifest.csv")
    assert known_rows(manifest, bundle)["split"].unique().to_list() == ["test"]
    untested = replace(manifest, table=manifest.table.filter(pl.col("split") != "test"))
    assert known_rows(untested, bundle)["split"].unique().to_list() == ["calibration"]
    renamed = replace(manifest, table=manifest.table.with_columns(split=pl.lit("test")))
    assert len(known_rows(renamed, bundle)) == len(manifest.table) - len(bundle.reference.sha256)


def test_novel_pictures_are_judged_beside_known_ones_that_count_nowhere_else(
    bundle: Bundle, drawn_run: Path, tmp_path: Path
) -> None:
    """Calibration pictures stand for novel ones, under the name of a class that the bundle does not know."""
    manifest = load_manifest(drawn_run / "data" / "manifest.csv")
    is_novel = pl.col("split") == "calibration"
    table = manifest.table.with_columns(
        label=pl.when(is_novel).then(pl.lit("gepard")).otherwise("label"),
        split=pl.when(is_novel).then(pl.lit("novel")).otherwise("split"),
    )
    evaluation = evaluate_bundle(bundle, replace(manifest, table=table), TAXONOMY, tmp_path, split="novel")
    assert evaluation.num_images == 12
    assert evaluation.novelty is not None
    assert (sum(evaluation.novelty.known), sum(evaluation.novelty.novel)) == (12, 12)
    assert set(evaluation.novelty.others) == {"maximum softmax", "entropy", "energy"}
    assert evaluation.promises is not None
    assert evaluation.promises.coverage is not None
    assert evaluation.promises.coverage.promised == 0.95
    assert len(pl.read_parquet(tmp_path / "known.parquet")) == 12


def test_known_pictures_that_were_classified_already_are_not_classified_again(
    bundle: Bundle, drawn_run: Path, tmp_path: Path
) -> None:
    manifest = load_manifest(drawn_run / "data" / "manifest.csv")
    novel = manifest.table.filter(pl.col("split") == "calibration").with_columns(
        label=pl.lit("gepard"), split=pl.lit("novel")
    )
    known = load_predictions(drawn_run / "run" / "evaluation" / PREDICTIONS_FILE)
    told: list[int] = []
    evaluation = evaluate_bundle(
        bundle, replace(manifest, table=novel), TAXONOMY, tmp_path, split="novel", known=known, on_progress=told.append
    )
    assert sum(told) == len(novel)
    assert evaluation.novelty is not None
    assert sum(evaluation.novelty.known) == len(known)
    assert recorded_known(tmp_path).equals(known)  # type: ignore[union-attr]
