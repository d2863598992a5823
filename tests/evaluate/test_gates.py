"""Limits that an evaluation is held to: what passes, what fails, what is refused, and what machines read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from command_line import run_vision

from vision.errors import ConfigError, PredictionsError, UsageError
from vision.evaluate.evaluation import Evaluation, evaluate_predictions
from vision.evaluate.gates import (
    GATES_FILE,
    JUNIT_FILE,
    GateReport,
    GateResult,
    check_baseline,
    check_gates,
    gates_table,
    judge_gates,
    load_gates,
    remove_gates,
    write_gates,
)
from vision.evaluate.junit import Case, junit_xml, visible_text
from vision.predictions import ClassProbability, Level, Prediction, predictions_table, save_predictions
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
KNOWN = ("tor-m1", "tor-m2k", "shilka", "gepard")


def row(label: str, probability: float = 0.7, level: Level = "class") -> Prediction:
    """A row whose probabilities are complete."""
    first = label if label in KNOWN else "tor-m1"
    others = [class_id for class_id in KNOWN if class_id != first]
    top = (ClassProbability(first, probability), *(ClassProbability(c, (1 - probability) / 3) for c in others))
    return Prediction("a.jpg", "", "ok", label=label, level=level, probability=probability, top=top, model="m")


ROWS = [
    *[("tor-m1", row("tor-m1"))] * 4,
    ("tor-m1", row("tor-m2k")),
    *[("tor-m2k", row("tor-m2k"))] * 3,
    ("tor-m2k", row("unknown", level="unknown")),
    ("shilka", Prediction("b.jpg", "", "error", error="broken")),
    ("dprk-tor-like", row("tor-m2k", 0.95)),
    *[("dprk-tor-like", row("unknown", level="unknown"))] * 3,
]


def table(rows: list[tuple[str, Prediction]] | None = None) -> pl.DataFrame:
    rows = ROWS if rows is None else rows
    names = pl.Series("file_name", [f"{index}.jpg" for index in range(len(rows))])
    truth = pl.Series("true_label", [truth for truth, _ in rows])
    return predictions_table(prediction for _, prediction in rows).with_columns(names, truth)


def evaluated(of: pl.DataFrame) -> Evaluation:
    return evaluate_predictions(of, TAXONOMY, title="test", known_classes=KNOWN, num_replicates=200)


def gates_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gates.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def judge(tmp_path: Path, text: str, of: pl.DataFrame | None = None) -> list[GateResult]:
    of = table() if of is None else of
    return list(judge_gates(load_gates(gates_file(tmp_path, text)), evaluated(of), of, TAXONOMY))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy: {min: %s}", 7 / 14),
        ("recall: {tor-m1: {min: %s}}", 4 / 5),
        ("recall: {shilka: {min: %s}}", 0.0),
        ("confusion: [{true: tor-m1, answer: tor-m2k, max: %s}]", 1 / 5),
        ("confusion: [{true: tor-m2k, answer: unknown, max: %s}]", 1 / 4),
        ("confusion: [{true: shilka, answer: no answer, max: %s}]", 1.0),
        ("confusion: [{true: tor-m1, answer: shilka-family, max: %s}]", 0.0),
        ("confident_wrong_novel: {max: %s}", 1 / 4),
    ],
)
def test_a_limit_that_is_just_reached_passes_and_one_beyond_it_fails(tmp_path: Path, text: str, value: float) -> None:
    beyond = value + 0.01 if "min" in text else value - 0.01
    (just,) = judge(tmp_path, text % value)
    assert (just.passed, just.measured.value) == (True, pytest.approx(value))
    if 0 <= beyond <= 1:
        (failed,) = judge(tmp_path, text % beyond)
        assert not failed.passed
        assert re.search(r"is (below|above) 0\.\d+$", failed.words)


def test_calibration_error_and_cost_are_those_of_the_evaluation(tmp_path: Path) -> None:
    evaluation = evaluated(table())
    assert evaluation.calibration is not None
    assert evaluation.costs is not None
    error, cost = judge(tmp_path, "calibration_error: {max: 0}\ncost: {max: 1000}")
    assert error.measured == evaluation.calibration.after.calibration_error
    assert cost.measured == evaluation.costs.realised
    assert (error.passed, cost.passed) == (False, True)


def test_figures_that_the_predictions_do_not_tell_fail_and_say_so(tmp_path: Path) -> None:
    of = table().with_columns(top=pl.lit([], dtype=table()["top"].dtype))
    without = evaluated(of).model_copy(update={"costs": None})
    loaded = load_gates(gates_file(tmp_path, "calibration_error: {max: 1}\ncost: {max: 1000}"))
    results = judge_gates(loaded, without, of, TAXONOMY)
    assert [(result.passed, result.words.split(":")[0]) for result in results] == [(False, "not available")] * 2


def test_a_class_without_images_fails_its_floor_and_its_ceiling(tmp_path: Path) -> None:
    text = "recall: {gepard: {min: 0}}\nconfusion: [{true: gepard, answer: shilka, max: 1}]"
    results = judge(tmp_path, text)
    assert [(result.passed, result.words, result.measured.value) for result in results] == [
        (False, "no images", None)
    ] * 2


def test_the_share_of_confident_wrong_names_fails_without_novel_pictures(tmp_path: Path) -> None:
    (result,) = judge(tmp_path, "confident_wrong_novel: {max: 1}", table(ROWS[:9]))
    assert (result.passed, result.words) == (False, "no novel pictures")


def test_an_unsure_or_rolled_up_answer_for_a_novel_picture_is_no_confident_wrong_name(tmp_path: Path) -> None:
    family = TAXONOMY.family_id("tor-m1")
    rows = [("dprk-tor-like", row("tor-m1", 0.89)), ("dprk-tor-like", row(family, 0.99, "family")), *ROWS[:3]]
    (result,) = judge(tmp_path, "confident_wrong_novel: {max: 0}", table(rows))
    assert (result.passed, result.measured.value) == (True, 0)


def test_by_bound_holds_the_worse_end_of_the_interval_to_the_limit(tmp_path: Path) -> None:
    evaluation = evaluated(table())
    low = evaluation.accuracy.low
    assert low is not None
    texts = [f"accuracy: {{min: {limit}, by: bound}}" for limit in (low, low + 0.01)]
    passed, failed = (judge(tmp_path, text)[0] for text in texts)
    assert (passed.passed, failed.passed) == (True, False)
    assert f"whose bound {low:.4f} is below {low + 0.01:g}" in failed.words


def test_three_right_of_three_are_not_sure_to_be_all(tmp_path: Path) -> None:
    of = table([("tor-m1", row("tor-m1"))] * 3 + ROWS[5:])
    (result,) = judge(tmp_path, "recall: {tor-m1: {min: 0.9, by: bound}}", of)
    # Wilson's lower bound of n of n is n / (n + z^2).
    assert result.measured.low == pytest.approx(3 / (3 + 1.959964**2))
    assert not result.passed


@pytest.mark.parametrize(
    "text",
    [
        "accuracy: {min: 0, by: bound}",
        "recall: {tor-m1: {min: 0, by: bound}}",
        "confusion: [{true: tor-m1, answer: tor-m2k, max: 1, by: bound}]",
        "calibration_error: {max: 1, by: bound}",
        "cost: {max: 1000, by: bound}",
        "confident_wrong_novel: {max: 1, by: bound}",
    ],
)
def test_a_figure_of_one_group_has_no_bound_and_fails(tmp_path: Path, text: str) -> None:
    (result,) = judge(tmp_path, text, table().with_columns(group=pl.lit("one")))
    assert not result.passed
    assert re.match(r"no interval: all pictures are of one group; the figure is \d", result.words)


def test_a_class_whose_pictures_are_of_one_group_has_no_bound(tmp_path: Path) -> None:
    rows = [("tor-m1", row("tor-m1"))] * 50 + ROWS[5:]
    groups = pl.Series("group", ["one"] * 50 + [f"g{index}" for index in range(len(ROWS) - 5)])
    (result,) = judge(tmp_path, "recall: {tor-m1: {min: 0.1, by: bound}}", table(rows).with_columns(groups))
    assert (result.passed, result.measured.value, result.measured.low) == (False, 1, None)


def test_the_interval_of_a_confusion_holds_the_truth_as_often_as_it_says(tmp_path: Path) -> None:
    generator, share, held = np.random.default_rng(0), 0.2, 0
    loaded = load_gates(gates_file(tmp_path, "confusion: [{true: tor-m1, answer: tor-m2k, max: 0}]"))
    for _ in range(60):
        wrong = generator.random(100) < share
        of = table([("tor-m1", row("tor-m2k" if w else "tor-m1")) for w in wrong])
        (result,) = judge_gates(loaded, EMPTY_EVALUATION, of, TAXONOMY)
        low, high = result.measured.low, result.measured.high
        assert low is not None
        assert high is not None
        held += low <= share <= high
    assert 51 <= held <= 60  # 0.95 of 60 are 57; fewer than 51 would come by chance once in 400 times


EMPTY_EVALUATION = evaluated(table())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recal: {tor-m1: {min: 0.8}}", r"gates\.yaml:1: unknown key 'recal', did you mean 'recall'\?"),
        ("\nrecall:\n  tor-m1: {mim: 0.8}", r"gates\.yaml:3: unknown key 'recall\.tor-m1\.mim', did you mean 'min'\?"),
        ("recall: {tor-m1: {max: 0.8}}", r"unknown key 'recall\.tor-m1\.max'; known keys: by, min"),
        ("recall: {tor-m1: {}}", r"gates\.yaml:1: key 'recall\.tor-m1\.min' is missing"),
        ("accuracy: {min: 80}", r"gates\.yaml:1: accuracy\.min: expected a share in \[0, 1\], not 80"),
        ("accuracy: {min: 80 %}", r"accuracy\.min: expected a share in \[0, 1\], not '80 %'"),
        ("accuracy: {min: yes}", r"accuracy\.min: expected a share in \[0, 1\], not True"),
        ("accuracy: {min: .nan}", r"accuracy\.min: expected a share in \[0, 1\], not nan"),
        ("cost: {max: .inf}", r"cost\.max: expected a number from 0, not inf"),
        ("cost: {max: -1}", r"cost\.max: expected a number from 0, not -1"),
        ("accuracy: {min: 0.5, by: bounds}", r"accuracy\.by: expected value or bound, not 'bounds'"),
        ("confusion: [{answer: tor-m1, max: 0.1}]", r"gates\.yaml:1: key 'confusion\.0\.true' is missing"),
        ("confusion: [{true: a, answer: yes, max: 0}]", r"confusion\.0\.answer: expected a name, in quotes if need be"),
        ("confusion: {true: a, answer: b, max: 0}", r"gates\.yaml:1: confusion: expected a list, of items such as"),
        ("confusion: [tor-m1]", r"gates\.yaml:1: confusion\.0: expected an item such as \{true: .*, not 'tor-m1'"),
        ("accuracy: 0.8", r"gates\.yaml:1: accuracy: expected limits such as \{min: 0\.8\}, not 0\.8"),
        ("cost: 1", r"gates\.yaml:1: cost: expected limits such as \{max: 0\.1\}, not 1"),
        ("recall: 0.8", r"gates\.yaml:1: recall: expected limits by class, such as \{tor-m1: .*, not 0\.8"),
        ("\nrecall:\n  tor-m1: 0.8", r"gates\.yaml:3: recall\.tor-m1: expected limits such as \{min: 0\.8\}, not 0\.8"),
        ("no_loss: old.parquet", r"no_loss: expected \{baseline: old/predictions\.parquet\}, .* not 'old\.parquet'"),
        ("", r"gates\.yaml: file: has no gate; known gates: accuracy, recall, confusion"),
        ("recall: {}", r"gates\.yaml:1: file: has no gate"),
        ("[recall]", r"gates\.yaml: expected keys and values, found list"),
        ("recall: {a: {min: 0.5}, a: {min: 0.9}}", r"gates\.yaml:1: key 'a' stands here and on line 1"),
    ],
)
def test_a_wrong_gates_file_is_refused_with_place_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_gates(gates_file(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nrecall:\n  tor-m2kk: {min: 1}", r"gates\.yaml:3: recall: 'tor-m2kk' is not .*, did you mean 'tor-m2k'\?"),
        ("recall: {buk-m1: {min: 1}}", r"recall: class 'buk-m1' is neither a class of the model nor of the pictures"),
        ("recall: {tor-family: {min: 1}}", r"recall: 'tor-family' is a family; name a class of it: .*tor-m1, tor-m2k"),
        ("confusion: [{true: shorad-missile, answer: shilka, max: 0}]", r"'shorad-missile' is a role; name a class of"),
        ("confusion: [{true: tor-m, answer: shilka, max: 0}]", r"confusion: 'tor-m' is not in the taxonomy, did you"),
        ("confusion: [{true: shilka, answer: unknwn, max: 0}]", r"'unknwn' is not .*, did you mean 'unknown'\?"),
        ("confusion: [{true: shilka, answer: shilka, max: 0}]", r"'shilka' is right; name a wrong answer"),
        ("recall: {xyz: {min: 1}}", r"'xyz' is not in the taxonomy; `vision taxonomy` shows what is"),
    ],
)
def test_a_class_that_has_no_figures_is_refused_with_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        judge(tmp_path, text)


def test_all_wrong_names_are_told_at_once(tmp_path: Path) -> None:
    loaded = load_gates(gates_file(tmp_path, "recall:\n  tor-m: {min: 1}\n  shilkaa: {min: 1}"))
    with pytest.raises(ConfigError) as caught:
        check_gates(loaded, TAXONOMY, KNOWN)
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in str(caught.value).splitlines()] == ["2", "3"]


def test_a_bare_true_is_a_key_although_yaml_takes_it_for_a_truth_value(tmp_path: Path) -> None:
    loaded = load_gates(gates_file(tmp_path, "confusion:\n- {true: tor-m1, answer: shilka, max: 0.05}"))
    assert loaded.gates.confusion[0].true == "tor-m1"


HOSTILE = "<script>alert(1)</script> & \"'\x00\x1b[31m\n‮ \udcff 🚀 ]]>"


def test_junit_has_the_structure_that_systems_of_continuous_integration_read(tmp_path: Path) -> None:
    results = judge(tmp_path, "accuracy: {min: 0.1}\nrecall: {tor-m1: {min: 0.9}, gepard: {min: 0.5}}")
    write_gates(results, tmp_path, title=HOSTILE)
    root = ElementTree.parse(tmp_path / JUNIT_FILE).getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("3", "2", "0")
    cases = [(case.tag, case.get("classname"), case.get("name")) for case in suite]
    assert cases[1] == ("testcase", "vision.gates.recall", "recall of tor-m1")
    failures = [failure.get("message") for failure in suite.iterfind("testcase/failure")]
    assert re.fullmatch(r">= 0\.9: 0\.8000 \(0\.\d+ to 1\.0000\) is below 0\.9", failures[0] or "")
    assert failures[1:] == [">= 0.5: no images"]


def test_names_in_junit_do_not_change_with_a_limit_so_that_systems_keep_their_history(tmp_path: Path) -> None:
    names = []
    for limit in (0.5, 0.9):
        results = judge(tmp_path, f"accuracy: {{min: {limit}, by: bound}}\ncost: {{max: {limit}}}")
        write_gates(results, tmp_path, title="t")
        cases = ElementTree.parse(tmp_path / JUNIT_FILE).getroot().iter("testcase")
        names.append([case.get("name") for case in cases])
    assert names == [["accuracy by bound", "mean cost of an answer"]] * 2


def test_junit_is_well_formed_and_shows_hostile_characters() -> None:
    text = junit_xml(HOSTILE, [Case(HOSTILE, HOSTILE, HOSTILE, HOSTILE), Case("a", "b", HOSTILE)])
    root = ElementTree.fromstring(text.encode())
    shown = r"""<script>alert(1)</script> & "'\x00\x1b[31m\n\u202e \udcff 🚀 ]]>"""
    assert visible_text(HOSTILE) == shown
    assert [root.get("name"), *(case.get("name") for case in root[0])] == [shown, shown, "b"]
    assert root.findtext("testsuite/testcase/system-out") == shown
    assert [element.tag for element in root.iter()].count("script") == 0


def test_gates_json_round_trips_and_is_removed_when_it_says_nothing_any_more(tmp_path: Path) -> None:
    results = judge(tmp_path, "accuracy: {min: 0.9}\nrecall: {gepard: {min: 0.5}}")
    write_gates(results, tmp_path, title="t")
    report = GateReport.model_validate_json((tmp_path / GATES_FILE).read_bytes())
    assert (report.passed, report.results) == (False, tuple(results))
    remove_gates(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gates.yaml"]
    remove_gates(tmp_path / "nowhere")


def test_the_table_has_failed_gates_first_and_counts(tmp_path: Path) -> None:
    lines = gates_table(judge(tmp_path, "accuracy: {min: 0.1}\nrecall: {tor-m1: {min: 0.9, by: bound}}")).splitlines()
    assert [line.split()[0] for line in lines] == ["FAILED", "passed", "gates:"]
    assert ">= 0.9 by bound" in lines[0]
    assert lines[-1] == "gates: 1 passed, 1 failed"


def test_a_baseline_is_needed_found_beside_the_file_and_not_the_judged_file_itself(tmp_path: Path) -> None:
    path = gates_file(tmp_path, "no_loss: {}")
    with pytest.raises(UsageError, match=r"gates\.yaml:1: no_loss names no baseline; add it, or give --baseline"):
        load_gates(path)
    path = gates_file(tmp_path, "no_loss: {baseline: old.parquet}")
    with pytest.raises(ConfigError, match=r"gates\.yaml:1: no_loss: no file of predictions at .*old\.parquet"):
        load_gates(path)
    save_predictions([row("tor-m1")], tmp_path / "old.parquet")
    loaded = load_gates(path)
    assert loaded.baseline == tmp_path / "old.parquet"
    with pytest.raises(UsageError, match="the baseline of no_loss is the file that is judged"):
        check_baseline(loaded, tmp_path / "old.parquet", table(), TAXONOMY)


def test_a_baseline_without_a_gate_that_reads_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no gate 'no_loss' that would read it"):
        load_gates(gates_file(tmp_path, "accuracy: {min: 0.5}"), baseline=tmp_path / "gates.yaml")


def _against_baseline(tmp_path: Path, baseline: list[tuple[str, Prediction]], ours: pl.DataFrame) -> GateResult:
    table(baseline).write_parquet(tmp_path / "old.parquet")
    (result,) = judge(tmp_path, "no_loss: {baseline: old.parquet}", ours)
    return result


RIGHT, WRONG = ("tor-m1", row("tor-m1")), ("tor-m1", row("tor-m2k"))


def test_a_loss_beyond_chance_fails_and_a_loss_within_chance_passes(tmp_path: Path) -> None:
    heavy = _against_baseline(tmp_path, [RIGHT] * 40, table([WRONG] * 20 + [RIGHT] * 20))
    assert (heavy.passed, heavy.measured.value) == (False, -0.5)
    assert "on 40 pictures in 40 groups: a loss beyond chance; recall fell beyond chance: tor-m1 -0.5" in heavy.words
    light = _against_baseline(tmp_path, [RIGHT] * 40, table([WRONG] + [RIGHT] * 39))
    assert (light.passed, light.measured.value) == (True, pytest.approx(-1 / 40))
    assert light.words.endswith(": no loss beyond chance")


def test_a_gain_and_the_same_answers_are_no_loss(tmp_path: Path) -> None:
    gain = _against_baseline(tmp_path, [WRONG] * 20, table([RIGHT] * 20))
    same = _against_baseline(tmp_path, ROWS, table())
    assert (gain.passed, gain.measured.value, same.passed, same.measured.value) == (True, 1, True, 0)


def test_a_class_that_is_lost_beyond_chance_fails_although_accuracy_is_kept(tmp_path: Path) -> None:
    gained, lost = ("shilka", row("shilka")), ("shilka", row("gepard"))
    result = _against_baseline(tmp_path, [RIGHT] * 20 + [lost] * 20, table([WRONG] * 20 + [gained] * 20))
    assert (result.passed, result.measured.value) == (False, 0)
    assert result.words.endswith("no loss beyond chance; recall fell beyond chance: tor-m1 -1.0000")


def test_a_comparison_within_one_group_can_show_nothing_and_fails(tmp_path: Path) -> None:
    result = _against_baseline(tmp_path, [RIGHT] * 9, table([WRONG] * 9).with_columns(group=pl.lit("one")))
    assert not result.passed
    assert result.words == "no interval: all pictures are of one group; the change is -1.0000 on 9 pictures"


def _checked_before(tmp_path: Path, baseline: list[tuple[str, Prediction]], pictures: pl.DataFrame) -> None:
    table(baseline).write_parquet(tmp_path / "old.parquet")
    loaded = load_gates(gates_file(tmp_path, "no_loss: {baseline: old.parquet}"))
    known = pictures.select("file_name", "true_label", "sha256")
    check_baseline(loaded, tmp_path / "new.parquet", known, TAXONOMY)


OTHER_PICTURES = r"gates\.yaml:\d: no_loss: 2 of 9 pictures of .*old\.parquet were not judged, 0 of 7"


def test_a_baseline_of_other_pictures_is_refused_before_any_is_classified(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=OTHER_PICTURES):
        _checked_before(tmp_path, [RIGHT] * 9, table([RIGHT] * 7))


def test_a_baseline_with_other_truths_is_refused_before_any_picture_is_classified(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"contradict each other in 'true_label' of 1 pictures, first '1\.jpg'"):
        _checked_before(tmp_path, [RIGHT, RIGHT], table([RIGHT, ("shilka", row("tor-m1"))]))


def test_a_digest_that_a_manifest_has_wrong_does_not_refuse_a_baseline(tmp_path: Path) -> None:
    stale = table([RIGHT] * 3).with_columns(sha256=pl.lit("0" * 64))
    rows = [(truth, replace(answer, sha256="f" * 64)) for truth, answer in [RIGHT] * 3]
    _checked_before(tmp_path, rows, stale)


def test_a_baseline_that_cannot_be_compared_after_all_fails_its_gate_alone(tmp_path: Path) -> None:
    table([RIGHT] * 9).write_parquet(tmp_path / "old.parquet")
    accuracy, no_loss = judge(tmp_path, "accuracy: {min: 1}\nno_loss: {baseline: old.parquet}", table([RIGHT] * 7))
    assert (accuracy.passed, no_loss.passed) == (True, False)
    assert re.search(OTHER_PICTURES, no_loss.words)


def test_equal_models_lose_by_chance_in_few_of_a_hundred_comparisons(tmp_path: Path) -> None:
    generator, num_failed = np.random.default_rng(1), 0
    for _ in range(30):
        is_right = generator.random((2, 60)) < 0.7
        old, new = ([RIGHT if hit else WRONG for hit in side] for side in is_right.tolist())
        num_failed += not _against_baseline(tmp_path, old, table(new)).passed
    assert num_failed <= 5  # 5 % are 1.5; more than 5 would come by chance once in 300 times


def _reported(tmp_path: Path, text: str) -> tuple[int, str]:
    """Exit code and output of `vision report --gate`."""
    of = table()
    save_predictions(
        [prediction for _, prediction in ROWS],
        tmp_path / "p.parquet",
        extra_columns=of.select("true_label"),
    )
    done = run_vision("report", tmp_path / "p.parquet", "-o", tmp_path / "out", "--gate", gates_file(tmp_path, text))
    return done.returncode, done.stdout + done.stderr


def test_the_command_line_exits_5_if_a_gate_failed_and_0_if_none_did(tmp_path: Path) -> None:
    code, told = _reported(tmp_path, "accuracy: {min: 0.99}\nrecall: {tor-m1: {min: 0.5}}")
    assert code == 5
    assert re.search(r"FAILED  accuracy +>= 0\.99 .*\npassed  recall of tor-m1 .*\ngates: 1 passed, 1 failed", told)
    assert json.loads((tmp_path / "out" / GATES_FILE).read_text())["passed"] is False
    assert "1 of 2 gates failed" in (tmp_path / "out" / "summary.md").read_text()
    page = tmp_path / "out" / "report" / "index.html"
    assert "1 of 2 gates failed." in page.read_text()
    run_vision("report", tmp_path / "p.parquet", "-o", tmp_path / "out", "--title", "again")
    assert "1 of 2 gates failed." in page.read_text()  # the same rows, so that the result stands
    code, told = _reported(tmp_path, "accuracy: {min: 0.1}")
    assert (code, "gates: 1 passed, 0 failed" in told) == (0, True)


@pytest.mark.parametrize("text", ["recal: {}", "recall: {tor-m2kk: {min: 1}}"])
def test_the_command_line_exits_2_before_it_writes_if_the_gates_are_wrong(tmp_path: Path, text: str) -> None:
    code, told = _reported(tmp_path, text)
    assert code == 2
    assert "did you mean" in told
    assert not (tmp_path / "out").exists()


def test_a_failed_gate_goes_before_images_that_failed(drawn_run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data" / "images"
    broken.mkdir(parents=True)
    (broken / "a.jpg").write_text("no picture")
    (tmp_path / "data" / "manifest.csv").write_text("file_name,label\nimages/a.jpg,shilka\n")
    codes = {}
    for limit in (0, 0.5):
        gates = gates_file(tmp_path, f"recall: {{shilka: {{min: {limit}}}}}")
        done = run_vision(
            *("evaluate", "-m", drawn_run / "run" / "bundle", "--manifest", tmp_path / "data" / "manifest.csv"),
            *("-o", tmp_path / "e", "--overwrite", "--gate", gates),
        )
        codes[limit] = done.returncode
    assert codes == {0: 1, 0.5: 5}
