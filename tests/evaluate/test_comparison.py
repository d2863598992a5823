"""Comparing two sets of predictions: which rows belong together, what is refused, and every figure by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from vision.errors import PredictionsError, TaxonomyError
from vision.evaluate.comparison import (
    MAX_PICTURES_PER_LIST,
    Comparison,
    NamedPredictions,
    changed_pictures,
    compare_predictions,
    needed_classes,
    pair_rows,
    predictions_path,
    safe_for_spreadsheets,
    significant_loss,
)
from vision.evaluate.paired_tests import mcnemar_p_value
from vision.predictions import ClassProbability, Prediction, predictions_table, save_predictions
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
TOR, BUK, GEPARD = "tor-m1", "buk-m1", "gepard"
FAMILY = TAXONOMY.family_id(TOR)


def row(name: str, label: str, probability: float = 0.8, *, sha256: str = "", top: str = "") -> Prediction:
    if label == "error":
        return Prediction(name, sha256, "error", error="truncated")
    level = "unknown" if label == "unknown" else "family" if label == FAMILY else "class"
    tops = (ClassProbability(top or label, probability),)
    return Prediction(name, sha256, "ok", label=label, level=level, probability=probability, top=tops)  # type: ignore[arg-type]


def named(
    rows: Sequence[Prediction], truths: Sequence[str] | None = None, *, groups: Sequence[str] = (), title: str = "a"
) -> NamedPredictions:
    table = predictions_table(rows)
    if truths is not None:
        table = table.with_columns(true_label=pl.Series(list(truths), dtype=pl.String))
    if groups:
        table = table.with_columns(group=pl.Series(list(groups), dtype=pl.String))
    return NamedPredictions(table, f"{title}.parquet", title)


def answers(labels: Sequence[str], *, title: str = "a", truths: Sequence[str] = (), groups: Sequence[str] = ()):  # type: ignore[no-untyped-def]
    rows = [row(f"{number:04}.jpg", label) for number, label in enumerate(labels)]
    return named(rows, truths or [TOR] * len(labels), groups=groups, title=title)


def compared(a: NamedPredictions, b: NamedPredictions, *, take_common: bool = False) -> Comparison:
    rows = pair_rows(a, b, take_common=take_common)
    return compare_predictions(a, b, rows, TAXONOMY, num_replicates=100)


def test_texts_that_a_spreadsheet_would_compute_get_an_apostrophe() -> None:
    table = pl.DataFrame({"file_name": ["=1+1", "+1", "-1", "@sum", "a=1.jpg", None], "probability_a": [-0.5] * 6})
    safe = safe_for_spreadsheets(table)
    assert safe["file_name"].to_list() == ["'=1+1", "'+1", "'-1", "'@sum", "a=1.jpg", None]
    assert safe["probability_a"].to_list() == [-0.5] * 6


def test_digests_decide_where_both_have_them_whatever_the_names() -> None:
    a = named([row("x.jpg", TOR, sha256="D1"), row("y.jpg", BUK, sha256="d2")], [TOR, BUK])
    b = named([row("x.jpg", BUK, sha256="d2"), row("z.jpg", TOR, sha256="d1")], [BUK, TOR])
    rows = pair_rows(a, b)
    assert rows.b["file_name"].to_list() == ["z.jpg", "x.jpg"]


def test_names_decide_where_one_has_no_digest() -> None:
    a = named([row("x.jpg", TOR, sha256="d1"), row("y.jpg", BUK, sha256="d2")], [TOR, BUK])
    b = named([row("y.jpg", BUK, sha256="d2"), row("x.jpg", "error")], [BUK, TOR])
    assert pair_rows(a, b).b["file_name"].to_list() == ["x.jpg", "y.jpg"]


def test_copies_of_a_picture_are_told_apart_by_name_then_taken_in_order() -> None:
    a = named([row(name, TOR, sha256="d") for name in ("1.jpg", "2.jpg", "3.jpg")], [TOR] * 3)
    b = named([row(name, TOR, sha256="d") for name in ("2.jpg", "p/1.jpg", "p/3.jpg")], [TOR] * 3)
    assert pair_rows(a, b).b["file_name"].to_list() == ["p/1.jpg", "2.jpg", "p/3.jpg"]


def test_different_pictures_are_refused_with_both_numbers_and_the_first_of_each() -> None:
    a, b = answers([TOR] * 5), answers([TOR] * 4, title="b")
    b.table[0, "file_name"] = "new.jpg"
    with pytest.raises(PredictionsError) as caught:
        pair_rows(a, b)
    assert "2 of 5 in a.parquet are not in b.parquet, first '0000.jpg'" in str(caught.value)
    assert "1 of 4 in b.parquet are not in a.parquet, first 'new.jpg'" in str(caught.value)
    assert "--common compares the 3 that both have" in str(caught.value)


def test_the_common_part_says_how_many_were_left_out() -> None:
    comparison = compared(answers([TOR] * 5), answers([TOR] * 3, title="b"), take_common=True)
    assert (comparison.num_images, comparison.num_only_in_a, comparison.num_only_in_b) == (3, 2, 0)


def test_nothing_in_common_is_refused_even_if_the_common_part_is_asked_for() -> None:
    other = named([row("other.jpg", TOR)], [TOR])
    with pytest.raises(PredictionsError, match="no picture in common"):
        pair_rows(answers([TOR]), other, take_common=True)


def test_a_picture_that_stands_twice_is_refused() -> None:
    twice = named([row("x.jpg", TOR), row("x.jpg", BUK)], [TOR, TOR])
    with pytest.raises(PredictionsError, match=r"a.parquet: 'x.jpg' stands 2 times"):
        pair_rows(twice, twice)


@pytest.mark.parametrize(("truths", "groups"), [([TOR, BUK], "gg"), ([TOR, TOR], "gh")])
def test_contradicting_truth_or_groups_are_refused(truths: list[str], groups: str) -> None:
    a = answers([TOR, TOR], groups="gg")
    b = answers([TOR, TOR], truths=truths, groups=groups, title="b")
    with pytest.raises(
        PredictionsError, match=r"a.parquet and b.parquet contradict .* of 1 pictures, first '0001.jpg'"
    ):
        pair_rows(a, b)


def test_truth_that_one_side_has_holds_for_both_and_none_at_all_is_refused() -> None:
    plain = named([row("0000.jpg", TOR)], title="b")
    assert pair_rows(answers([TOR]), plain).b["true_label"].to_list() == [TOR]
    with pytest.raises(PredictionsError, match="true_label"):
        pair_rows(plain, plain)


TRUTHS = [TOR] * 6 + [BUK] * 4
OF_A = [TOR, TOR, TOR, BUK, BUK, "unknown", BUK, BUK, TOR, "error"]
OF_B = [TOR, TOR, BUK, TOR, FAMILY, TOR, BUK, BUK, GEPARD, BUK]


def example() -> Comparison:
    return compared(answers(OF_A, truths=TRUTHS), answers(OF_B, truths=TRUTHS, title="b"))


def test_accuracy_recall_and_macro_recall_are_those_of_scikit_learn() -> None:
    comparison = example()
    for side, given in (("a", OF_A), ("b", OF_B)):
        recall = recall_score(TRUTHS, given, labels=[BUK, TOR], average=None, zero_division=0)
        assert getattr(comparison.answer.accuracy, side).value == pytest.approx(accuracy_score(TRUTHS, given))
        assert getattr(comparison.macro_recall, side).value == pytest.approx(recall.mean())
        by_class = {each.class_id: getattr(each.recall, side).value for each in comparison.classes}
        assert by_class == pytest.approx({BUK: recall[0], TOR: recall[1]})


def test_the_matrix_is_the_difference_of_two_confusion_matrices() -> None:
    matrix = example().matrix
    of_a = ["no answer" if label == "error" else label for label in OF_A]
    both = [confusion_matrix(TRUTHS, given, labels=list(matrix.answer_ids)) for given in (of_a, OF_B)]
    rows = [matrix.answer_ids.index(true_id) for true_id in matrix.true_ids]
    np.testing.assert_array_equal(matrix.differences(), (both[1] - both[0])[rows])
    assert matrix.differences().sum(axis=1).tolist() == [0, 0]
    assert matrix.answer_ids[matrix.num_classes :] == (FAMILY, "unknown", "no answer")
    assert matrix.shares()[matrix.true_ids.index(BUK), matrix.answer_ids.index(GEPARD)] == 1 / 4


def test_wins_and_losses_are_counted_and_tested_by_hand() -> None:
    test = example().answer.test
    assert (test.num_both_right, test.num_only_a, test.num_only_b, test.num_neither) == (4, 1, 3, 2)
    assert test.mcnemar_p_value == pytest.approx(2 * (1 + 4) / 16)
    assert test.group_p_value == pytest.approx(test.mcnemar_p_value)


def test_groups_that_change_together_are_no_proof() -> None:
    a = answers([BUK] * 20, groups="g" * 20)
    test = compared(a, answers([TOR] * 20, groups="g" * 20)).answer.test
    assert test.mcnemar_p_value < 1e-5
    assert test.group_p_value == pytest.approx(1)
    assert (test.num_groups_differing, test.least_group_p_value) == (1, 1)


def test_p_values_of_classes_are_corrected_for_their_number() -> None:
    truths = [TOR] * 8 + [BUK] * 8
    comparison = compared(answers([GEPARD] * 16, truths=truths), answers([TOR] * 16, truths=truths, title="b"))
    by_class = {each.class_id: each for each in comparison.classes}
    assert by_class[TOR].p_value == pytest.approx(mcnemar_p_value(0, 8))
    assert by_class[TOR].holm_p_value == pytest.approx(2 * mcnemar_p_value(0, 8))
    assert (by_class[TOR].is_significant, by_class[BUK].is_significant) == (True, False)


def test_the_most_probable_class_is_compared_whatever_was_answered() -> None:
    a = named([row("x.jpg", "unknown", top=TOR), row("y.jpg", TOR, top=TOR)], [TOR, TOR])
    b = named([row("x.jpg", "unknown", top=BUK), row("y.jpg", TOR, top=TOR)], [TOR, TOR])
    comparison = compared(a, b)
    assert comparison.answer.accuracy.difference.value == 0
    assert comparison.most_probable is not None
    assert comparison.most_probable.accuracy.difference.value == -0.5


def test_rows_without_probabilities_of_classes_have_no_most_probable_class() -> None:
    plain = Prediction("0000.jpg", "", "ok", label=TOR, level="class")
    assert compared(answers([TOR]), named([plain], [TOR])).most_probable is None


def test_changed_pictures_are_told_by_kind_with_the_surest_wrong_name_first() -> None:
    a = [row("1", TOR, 0.9), row("2", TOR, 0.9), row("3", BUK, 0.6), row("4", BUK, 0.7), row("5", TOR), row("6", TOR)]
    b = [
        row("1", BUK, 0.6),
        row("2", BUK, 0.9),
        row("3", TOR, 0.9),
        row("4", GEPARD),
        row("5", TOR),
        row("6", "unknown", 1),
    ]
    changed = changed_pictures(pair_rows(named(a, [TOR] * 6), named(b, [TOR] * 6)))
    assert changed["file_name"].to_list() == ["2", "1", "6", "3", "4"]
    kinds = ["right to wrong"] * 3 + ["wrong to right", "wrong to another wrong"]
    assert changed["change"].to_list() == kinds


def test_lists_are_capped_and_say_how_many_they_leave_out() -> None:
    num = MAX_PICTURES_PER_LIST + 5
    first = compared(answers([TOR] * num), answers([BUK] * num, title="b")).changed[0]
    assert (first.change, first.num_images, first.num_left_out) == ("right to wrong", num, 5)
    assert len(first.pictures) == MAX_PICTURES_PER_LIST


@pytest.mark.parametrize(("num_lost", "is_loss"), [(30, True), (1, False), (0, False)])
def test_a_significant_loss_is_an_interval_below_zero(num_lost: int, is_loss: bool) -> None:
    comparison = compared(answers([TOR] * 60), answers([BUK] * num_lost + [TOR] * (60 - num_lost), title="b"))
    assert significant_loss(comparison) is is_loss
    assert significant_loss(compared(answers([TOR] * 9, groups="g" * 9), answers([BUK] * 9))) is False


def test_a_comparison_with_itself_finds_nothing() -> None:
    comparison = compared(answers(OF_A, truths=TRUTHS), answers(OF_A, truths=TRUTHS))
    difference = comparison.answer.accuracy.difference
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert comparison.answer.test.group_p_value == 1
    assert sum(each.num_images for each in comparison.changed) == 0


def test_the_order_of_rows_does_not_matter() -> None:
    a, b = answers(OF_A, truths=TRUTHS), answers(OF_B, truths=TRUTHS, title="b")
    turned = NamedPredictions(b.table.reverse(), b.source, b.title)
    assert compared(a, turned) == compared(a, b)


def test_it_survives_its_file() -> None:
    comparison = example()
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_a_class_that_the_taxonomy_lacks_is_named() -> None:
    a = answers(["tor-m9"])
    assert needed_classes(pair_rows(a, a)) == {TOR, "tor-m9"}
    with pytest.raises(TaxonomyError, match="tor-m9"):
        compared(a, a)


def test_a_hundred_thousand_pictures_are_compared_in_seconds() -> None:
    generator = np.random.default_rng(0)
    names = np.array([f"{number:06}.jpg" for number in range(100_000)])
    classes = np.array(TAXONOMY.class_ids)
    truth = generator.choice(classes, 100_000)

    def side(title: str) -> NamedPredictions:
        label = np.where(generator.random(100_000) < 0.8, truth, generator.choice(classes, 100_000))
        columns = {
            "file_name": names,
            "sha256": "",
            "status": "ok",
            "label": label,
            "level": "class",
            "true_label": truth,
        }
        table = pl.DataFrame(columns).with_columns(
            probability=0.8, top=pl.lit([], dtype=predictions_table([])["top"].dtype)
        )
        return NamedPredictions(table, title, title)

    a, b = side("a"), side("b")
    start = time.perf_counter()
    comparison = compared(a, b)
    assert comparison.num_images == 100_000
    assert time.perf_counter() - start < 30  # 2 s on an idle core; others may be at work


def test_a_folder_without_predictions_is_refused_with_the_one_below_it(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"holds no predictions\.parquet; give an evaluation's folder"):
        predictions_path(tmp_path)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "predictions.parquet").touch()
    with pytest.raises(PredictionsError, match=r"did you mean '.*evaluation'"):
        predictions_path(tmp_path)
    assert predictions_path(tmp_path / "evaluation").name == "predictions.parquet"
    (tmp_path / "rows.jsonl").touch()
    assert predictions_path(tmp_path / "rows.jsonl") == tmp_path / "rows.jsonl"


def save(folder: Path, side: NamedPredictions, name: str) -> Path:
    rows = [Prediction.from_dict(values) for values in side.table.to_dicts()]
    save_predictions(rows, folder / name, extra_columns=side.table.select("true_label"))
    return folder / name


def test_the_command_line_compares_a_folder_with_a_file(tmp_path: Path) -> None:
    save(tmp_path / "old", answers(OF_A, truths=TRUTHS), "predictions.parquet")
    save(tmp_path, answers(OF_B, truths=TRUTHS), "new.jsonl")
    done = run_vision("compare", "old", "new.jsonl", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "right class named              0.500   0.700  +20.0" in done.stdout
    assert "right in both 4, in A alone 1, in B alone 3, in neither 2" in done.stdout
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["answer"]["test"]["num_only_b"] == 3
    changed = pl.read_csv(tmp_path / "out" / "changed.csv")
    assert changed["change"].value_counts().sort("count")["count"].to_list() == [1, 2, 3]
    again = run_vision("compare", "old", "new.jsonl", "-o", "out", cwd=tmp_path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_the_command_line_takes_truth_from_a_manifest_and_the_common_part_when_told(tmp_path: Path) -> None:
    manifest = pl.DataFrame({"file_name": ["1.jpg", "2.jpg"], "label": [TOR, BUK], "group": ["g", "h"]})
    manifest.write_csv(tmp_path / "manifest.csv")
    save_predictions([row("1.jpg", TOR), row("2.jpg", TOR)], tmp_path / "a.jsonl")
    save_predictions([row("1.jpg", BUK)], tmp_path / "b.jsonl")
    command = ["compare", "a.jsonl", "b.jsonl", "--manifest", "manifest.csv"]
    refused = run_vision(*command, cwd=tmp_path)
    assert refused.returncode == 2
    assert "1 of 2 in a.jsonl are not in b.jsonl, first '2.jpg'; --common compares the 1" in refused.stderr
    done = run_vision(*command, "--common", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 pictures that A alone has, 0 of B alone" in done.stdout


def test_a_path_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    with pytest.raises(PredictionsError, match=r"evaluatio: no such file or folder, did you mean 'evaluation'\?"):
        predictions_path(tmp_path / "evaluatio")
