"""From predictions with their truth to figures: what counts where, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vision.data.manifest import Manifest, group_names, manifest_from_rows
from vision.errors import PredictionsError, TaxonomyError
from vision.evaluate.comparison import Comparison
from vision.evaluate.evaluation import (
    LEVELS,
    ConfusionMatrix,
    Evaluation,
    LevelName,
    evaluate_predictions,
    with_truth,
)
from vision.evaluate.gates import GateReport
from vision.evaluate.outputs import EVALUATION_FILE, REPORT_PAGE, TAXONOMY_FILE, recorded_images_dir, write_evaluation
from vision.evaluate.summary import SUMMARY_FILE
from vision.predictions import (
    ClassProbability,
    Level,
    Prediction,
    load_predictions,
    predictions_table,
    save_predictions,
)
from vision.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    parents = {"tor-m1": "tor", "tor-m2": "tor", "buk-m1": "buk", "t-72": "t-72-family"}
    return Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": "missile", "name": "Missile system"}, {"id": "tank", "name": "Tank"}],
            "families": [
                {"id": "tor", "role": "missile", "name": "Tor turrets"},
                {"id": "buk", "role": "missile", "name": "Buk launchers"},
                {"id": "t-72-family", "role": "tank", "name": "T-72 hulls"},
            ],
            "classes": [{"id": c, "family": f, "names": [c.upper()]} for c, f in parents.items()],
            "look_alikes": [
                {"classes": ["tor-m2", "tor-m1"], "cues": [{"text": "mesh or plate", "provenance": "derived"}]}
            ],
        }
    )


def _row(label: str, level: Level = "class", name: str = "a.jpg", sha256: str = "") -> Prediction:
    top = (ClassProbability("tor-m1", 0.6),)
    return Prediction(name, sha256, "ok", label=label, level=level, probability=0.6, top=top, model="m1")


FAILED = Prediction("broken.jpg", "", "error", error="the file is empty (0 bytes)", model="m1")
ANSWERS: tuple[tuple[str, Prediction], ...] = (
    ("tor-m1", _row("tor-m1")),
    ("tor-m1", _row("tor-m1")),
    ("tor-m1", _row("tor-m2")),
    ("tor-m1", _row("tor", "family")),
    ("tor-m2", _row("missile", "role")),
    ("tor-m2", _row("unknown", "unknown")),
    ("tor-m2", FAILED),
    ("t-72", _row("t-72")),
    ("t-72", _row("tor-m1")),
)


def _table(answers: Sequence[tuple[str | None, Prediction]] = ANSWERS) -> pl.DataFrame:
    truths = pl.Series("true_label", [truth for truth, _ in answers], dtype=pl.String)
    return predictions_table(row for _, row in answers).with_columns(truths)


def _evaluate(table: pl.DataFrame, taxonomy: Taxonomy, known_classes: Sequence[str] = ()) -> Evaluation:
    return evaluate_predictions(table, taxonomy, title="test", known_classes=known_classes, num_replicates=20)


def _count(matrix: ConfusionMatrix, true_id: str, answer_id: str) -> int:
    return matrix.counts[matrix.true_ids.index(true_id)][matrix.answer_ids.index(answer_id)]


def _num_right(matrix: ConfusionMatrix) -> int:
    return int(np.trace(matrix.array()[:, : len(matrix.true_ids)]))


def test_every_level_counts_every_picture_once(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy, ["buk-m1"])
    assert [int(evaluation.matrix(level).array().sum()) for level in LEVELS] == [len(ANSWERS)] * 3


def test_rows_of_classes_add_up_to_the_rows_of_their_family_and_role(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy, ["buk-m1"])
    sums = {level: evaluation.matrix(level).array().sum(axis=1).tolist() for level in LEVELS}
    assert sums == {"class": [4, 3, 0, 2], "family": [7, 0, 2], "role": [7, 2]}


def test_a_coarser_level_has_at_least_as_many_right_answers(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy)
    assert [_num_right(evaluation.matrix(level)) for level in LEVELS] == [3, 5, 6]


@pytest.mark.parametrize(
    ("level", "answers"),
    [
        ("class", ("tor-m1", "tor-m2", "t-72", "missile", "tor", "unknown", "no answer")),
        ("family", ("tor", "t-72-family", "missile", "unknown", "no answer")),
        ("role", ("missile", "tank", "unknown", "no answer")),
    ],
)
def test_roll_ups_unknown_and_no_answer_are_columns_after_the_classes(
    taxonomy: Taxonomy, level: LevelName, answers: tuple[str, ...]
) -> None:
    matrix = _evaluate(_table(), taxonomy).matrix(level)
    assert matrix.answer_ids == answers
    assert matrix.true_ids == answers[: len(matrix.true_ids)]


def test_a_roll_up_is_not_right_as_a_class_but_as_a_family(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table([("tor-m1", _row("tor", "family"))]), taxonomy)
    assert _count(evaluation.matrix("class"), "tor-m1", "tor") == 1
    assert _count(evaluation.matrix("family"), "tor", "tor") == 1
    assert evaluation.accuracy.value == 0


def test_columns_that_do_not_occur_are_not_there(taxonomy: Taxonomy) -> None:
    matrix = _evaluate(_table([("tor-m1", _row("tor-m1"))]), taxonomy).matrix("class")
    assert matrix.answer_ids == ("tor-m1",)


def test_an_unreadable_picture_counts_as_not_recognised(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table([("tor-m1", _row("tor-m1")), ("tor-m1", FAILED)]), taxonomy)
    assert _count(evaluation.matrix("class"), "tor-m1", "no answer") == 1
    assert (evaluation.num_errors, evaluation.accuracy.value) == (1, 0.5)


def test_a_class_without_images_has_a_row_of_zeros_and_figures_of_none(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy, ["buk-m1"])
    matrix = evaluation.matrix("class")
    assert set(matrix.counts[matrix.true_ids.index("buk-m1")]) == {0}
    (figures,) = (c for c in evaluation.classes if c.class_id == "buk-m1")
    assert (figures.num_images, figures.num_answers) == (0, 0)
    for figure in (figures.precision, figures.recall, figures.f1):
        assert (figure.value, figure.low, figure.high) == (None, None, None)


def test_a_class_without_images_does_not_change_the_macro_recall(taxonomy: Taxonomy) -> None:
    without, with_it = _evaluate(_table(), taxonomy), _evaluate(_table(), taxonomy, ["buk-m1"])
    assert with_it.macro_recall == without.macro_recall


def test_classes_of_the_top_and_of_the_answers_are_in_the_matrix(taxonomy: Taxonomy) -> None:
    matrix = _evaluate(_table([("t-72", _row("buk-m1"))]), taxonomy).matrix("class")
    assert matrix.true_ids == ("tor-m1", "buk-m1", "t-72")  # top, answer, truth, in the order of the taxonomy


def test_a_class_that_no_row_lists_or_answers_is_novel_by_default(taxonomy: Taxonomy) -> None:
    answers = [("tor-m1", _row("tor-m1")), ("buk-m1", _row("tor-m1")), ("t-72", _row("t-72"))]
    evaluation = _evaluate(_table(answers), taxonomy)
    assert [(novel.class_id, novel.num_images) for novel in evaluation.novel] == [("buk-m1", 1)]
    assert evaluation.known_classes == ("tor-m1", "t-72")


def test_no_class_is_novel_where_no_row_tells_a_class(taxonomy: Taxonomy) -> None:
    assert _evaluate(_table([("tor-m1", FAILED)]), taxonomy).novel == ()


def test_figures_by_hand(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy)
    assert evaluation.accuracy.value == pytest.approx(3 / 9)
    assert evaluation.macro_recall.value == pytest.approx((2 / 4 + 0 / 3 + 1 / 2) / 3)
    assert evaluation.largest_class_share == pytest.approx(4 / 9)
    tor_m1 = evaluation.classes[0]
    assert (tor_m1.num_images, tor_m1.num_answers) == (4, 3)
    assert (tor_m1.recall.value, tor_m1.precision.value) == (pytest.approx(2 / 4), pytest.approx(2 / 3))


def test_confused_pairs_are_all_wrong_answers_most_frequent_first(taxonomy: Taxonomy) -> None:
    extra = ("tor-m1", _row("tor-m2"))
    pairs = _evaluate(_table([*ANSWERS, extra]), taxonomy).confused_pairs
    assert (pairs[0].true_id, pairs[0].answer_id, pairs[0].num_images) == ("tor-m1", "tor-m2", 2)
    assert pairs[0].share_of_true == pytest.approx(2 / 5)
    assert sum(pair.num_images for pair in pairs) == 7


def test_a_confused_pair_of_look_alikes_brings_its_cues(taxonomy: Taxonomy) -> None:
    pairs = {(p.true_id, p.answer_id): p.cues for p in _evaluate(_table(), taxonomy).confused_pairs}
    assert pairs["tor-m1", "tor-m2"] == ("mesh or plate",)
    assert pairs["t-72", "tor-m1"] == pairs["tor-m1", "tor"] == ()


def test_evaluation_json_round_trips(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_table(), taxonomy, ["buk-m1"])
    assert Evaluation.model_validate_json(evaluation.model_dump_json(indent=1)) == evaluation


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    assert len(set(group_names(["g", None, "g", "", None, "row 1"]))) == 5


def test_groups_of_numbers_are_groups(taxonomy: Taxonomy) -> None:
    table = _table(ANSWERS[:4]).with_columns(group=pl.Series([0, 0, 1, None]))
    assert _evaluate(table, taxonomy).num_groups == 3


def test_predictions_without_a_level_column_may_answer_unknown(taxonomy: Taxonomy) -> None:
    matrix = _evaluate(_table().drop("level"), taxonomy).matrix("class")
    assert _count(matrix, "tor-m2", "unknown") == 1


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_of_unreadable_pictures_alone_is_judged(tmp_path: Path, taxonomy: Taxonomy, ending: str) -> None:
    path = tmp_path / f"predictions{ending}"
    save_predictions([FAILED], path)
    evaluation = _evaluate(load_predictions(path).with_columns(true_label=pl.lit("t-72")), taxonomy)
    assert (evaluation.num_errors, evaluation.accuracy.value) == (1, 0)


def test_predictions_without_rows_are_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(PredictionsError, match="no predictions to judge: the table has no rows"):
        _evaluate(_table([]), taxonomy)


def test_predictions_without_truth_are_refused_with_the_remedy(taxonomy: Taxonomy) -> None:
    with pytest.raises(PredictionsError, match="no column 'true_label'; give --manifest"):
        _evaluate(_table().drop("true_label"), taxonomy)


def test_rows_without_truth_are_counted(taxonomy: Taxonomy) -> None:
    table = _table([("tor-m1", _row("tor-m1")), (None, _row("tor-m1")), (None, _row("tor-m1"))])
    with pytest.raises(PredictionsError, match="2 of 3 predictions have no true_label; give --manifest"):
        _evaluate(table, taxonomy)


def test_a_truth_that_is_no_class_is_refused_with_the_nearest(taxonomy: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match=r"class 'torm2' is not in the taxonomy, did you mean 'tor-m2'\?"):
        _evaluate(_table([("torm2", _row("tor-m1"))]), taxonomy)


def test_an_answer_that_is_no_class_is_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match="class 'zsu-23' is not in the taxonomy"):
        _evaluate(_table([("tor-m1", _row("zsu-23"))]), taxonomy)


def _manifest(tmp_path: Path, *rows: dict[str, str | int | None]) -> Manifest:
    return manifest_from_rows(tmp_path / "manifest.csv", rows)


def test_truth_is_found_by_digest_also_if_the_name_is_another(tmp_path: Path) -> None:
    manifest = _manifest(
        tmp_path,
        {"file_name": "1.jpg", "label": "tor-m1", "sha256": "aa", "group": "g1"},
        {"file_name": "2.jpg", "label": "tor-m2", "sha256": "bb", "group": "g2"},
    )
    table = predictions_table([_row("t-72", name="/other/2.jpg", sha256="bb"), _row("t-72", name="x", sha256="aa")])
    found = with_truth(table, manifest)
    assert found.select("true_label", "group").rows() == [("tor-m2", "g2"), ("tor-m1", "g1")]
    assert found["file_name"].to_list() == ["/other/2.jpg", "x"]


def test_truth_is_found_by_digest_whatever_its_case(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {"file_name": "1.jpg", "label": "tor-m1", "sha256": "AA"})
    found = with_truth(predictions_table([_row("t-72", name="x", sha256="aa")]), manifest)
    assert found["true_label"].to_list() == ["tor-m1"]


def test_truth_is_found_by_name_as_it_stands_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = _manifest(tmp_path / "data", {"file_name": "1.jpg", "label": "tor-m1"})
    names = ["1.jpg", str(tmp_path / "data" / "1.jpg"), "data/1.jpg"]
    found = with_truth(predictions_table(_row("t-72", name=name) for name in names), manifest)
    assert found["true_label"].to_list() == ["tor-m1"] * 3


def test_pictures_that_are_not_in_the_manifest_are_counted_and_the_first_named(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {"file_name": "1.jpg", "label": "tor-m1"})
    table = predictions_table(_row("t-72", name=name) for name in ("1.jpg", "lost.jpg", "gone.jpg"))
    place = re.escape(str(manifest.path))
    with pytest.raises(PredictionsError, match=rf"{place}: 2 of 3 predicted pictures .* first 'lost\.jpg'"):
        with_truth(table, manifest)


def test_a_manifest_gives_truth_to_rows_that_have_none(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {"file_name": "a.jpg", "label": "tor-m1"})
    found = with_truth(_table([(None, _row("t-72"))]), manifest)
    assert found["true_label"].to_list() == ["tor-m1"]


def test_truth_is_found_by_name_for_predictions_without_digests(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, {"file_name": "a.jpg", "label": "tor-m1"})
    found = with_truth(predictions_table([_row("t-72")]).drop("sha256"), manifest)
    assert found["true_label"].to_list() == ["tor-m1"]


def test_an_evaluation_is_written_with_all_its_files(tmp_path: Path, taxonomy: Taxonomy) -> None:
    evaluation = write_evaluation(_table(), taxonomy, tmp_path, title="test", images_dir=None)
    stems = ("confusion", "confusion_family", "confusion_role")
    matrices = {f"{stem}{end}" for stem in stems for end in (".csv", "_rates.csv", ".png", ".svg")}
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {EVALUATION_FILE, TAXONOMY_FILE, SUMMARY_FILE, *matrices}
    assert (tmp_path / REPORT_PAGE).is_file()
    assert Evaluation.model_validate_json((tmp_path / EVALUATION_FILE).read_bytes()) == evaluation


def _complete_table() -> pl.DataFrame:
    top = (ClassProbability("tor-m1", 0.6), ClassProbability("t-72", 0.4))
    answers = [(truth, replace(_row(truth), top=top, novelty_rank=0.5)) for truth in ("tor-m1", "t-72", "tor-m1")]
    return _table(answers)


def test_rows_with_all_classes_and_ranks_get_charts_too(tmp_path: Path, taxonomy: Taxonomy) -> None:
    (tmp_path / "curves.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    folder = tmp_path / "evaluation"
    evaluation = write_evaluation(_complete_table(), taxonomy, folder, title="test", images_dir=None)
    assert evaluation.calibration is not None
    for stem in ("reliability", "answers", "risk_coverage", "novelty"):
        assert (folder / f"{stem}.png").stat().st_size > 1000
        assert (folder / f"{stem}.svg").stat().st_size > 1000
    page = (folder / REPORT_PAGE).read_text(encoding="utf-8")
    assert page.count('class="chart"') == 5  # without plain softmax, one reliability diagram; answers; training curves
    assert "How training went" in page


def test_an_evaluation_from_before_there_was_calibration_is_read(taxonomy: Taxonomy) -> None:
    evaluation = _evaluate(_complete_table(), taxonomy)
    old = evaluation.model_dump_json(exclude={"calibration", "novelty"})
    assert Evaluation.model_validate_json(old).calibration is None


def test_an_evaluation_remembers_where_its_pictures_lie(tmp_path: Path, taxonomy: Taxonomy) -> None:
    (tmp_path / "pictures").mkdir()
    evaluation = _evaluate(_table(), taxonomy).model_copy(update={"images_dir": "../pictures"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / EVALUATION_FILE).write_text(evaluation.model_dump_json(), encoding="utf-8")
    found = recorded_images_dir(tmp_path / "out")
    assert found is not None
    assert found.samefile(tmp_path / "pictures")


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_no_readable_evaluation_remembers_no_pictures(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / EVALUATION_FILE).write_text(content, encoding="utf-8")
    assert recorded_images_dir(tmp_path) is None


DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = {"evaluation": Evaluation, "comparison": Comparison, "gates": GateReport}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_published_schema_is_that_of_the_code(name: str) -> None:
    # python scripts/write_schemas.py writes them anew.
    published = json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert published == SCHEMAS[name].model_json_schema()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_of_a_published_schema_is_described(name: str) -> None:
    schema = SCHEMAS[name].model_json_schema()
    models = {name: schema, **schema["$defs"]}
    plain = [
        f"{each}.{key}" for each in models for key, at in models[each]["properties"].items() if "description" not in at
    ]
    assert plain == []
