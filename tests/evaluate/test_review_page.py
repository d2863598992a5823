"""The report's page in a browser: from a cell to its pictures, other settings, by keyboard, from disk alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser_tab import Tab
from PIL import Image

from vision.classify.decision import DecisionRules, decide
from vision.evaluate.evaluation import LevelName, answer_at_level, evaluate_predictions
from vision.evaluate.metrics import confusion_counts
from vision.evaluate.report.render import render_report
from vision.evaluate.report.review_data import (
    DecisionSettings,
    Review,
    TargetThreshold,
    build_review,
    redecided_answers,
)
from vision.evaluate.report.review_rows import CHUNK_ROWS, Overlay
from vision.evaluate.report.seriation import confusion_order
from vision.evaluate.report.thumbnails import thumbnail_order
from vision.predictions import Level, NearestImage, Prediction, predictions_table
from vision.taxonomy import Taxonomy

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CLASSES = ("tor-m1", "tor-m2", "osa", "gepard", "buk")
TAXONOMY = Taxonomy.model_validate(
    {
        "version": 1,
        "roles": [{"id": "missile", "name": "Missile system"}, {"id": "gun", "name": "Gun"}],
        "families": [
            {"id": "tor", "role": "missile", "name": "Tor family"},
            {"id": "osa-family", "role": "missile", "name": "Osa family"},
            {"id": "gepard-family", "role": "gun", "name": "Gepard family"},
        ],
        "classes": [
            {"id": "tor-m1", "family": "tor", "names": ["Tor-M1"]},
            {"id": "tor-m2", "family": "tor", "names": ["Tor-M2"]},
            {"id": "osa", "family": "osa-family", "names": ["Osa"]},
            {"id": "buk", "family": "osa-family", "names": ["Buk"]},
            {"id": "gepard", "family": "gepard-family", "names": ["Gepard"]},
        ],
        "look_alikes": [{"classes": ["tor-m1", "tor-m2"], "cues": [{"text": "mesh dish", "provenance": "derived"}]}],
    }
)
RULES = DecisionRules(TAXONOMY, TAXONOMY.class_ids, 0.1, 0.6, None, False, 0.1, 2.0)
SETTINGS = DecisionSettings(
    classes=RULES.classes,
    unknown_share=RULES.unknown_share,
    novelty_exponent=RULES.novelty_exponent,
    false_alarms=RULES.false_alarms,
    target_accuracy=0.9,
    confidence=0.9,
    roll_up_threshold=RULES.roll_up_threshold,
    use_costs=False,
    targets=tuple(
        TargetThreshold(target_accuracy=target, threshold=threshold, is_promised=target < 0.95)
        for target, threshold in ((0.5, 0.3), (0.9, 0.6), (0.95, 0.8), (0.99, 2.0))
    ),
)
LEVEL_OF = {node.id: "family" for node in TAXONOMY.families} | {node.id: "role" for node in TAXONOMY.roles}
HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "👩‍👧 🚀", "טנק \u202e تور", "x" * 300)


def _table(num_rows: int, *, rules: DecisionRules | None = RULES, seed: int = 0) -> pl.DataFrame:
    """Answers by these rules to pictures of four of the five classes; one picture is not readable."""
    generator = np.random.default_rng(seed)
    rows, truths = [], [CLASSES[i] for i in generator.integers(4, size=num_rows)]
    for number, truth in enumerate(truths):
        logits = generator.normal(0, 1.5, 5)
        place = TAXONOMY.class_ids.index(truth)
        logits[place] += 2
        logits[(place + 1) % 5] += 5 * (generator.random() < 0.3)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        rank = float(generator.integers(1000)) / 1000
        decision = decide(probabilities, RULES.classes, TAXONOMY, top_k=5, rules=rules, novelty_rank=rank)
        near = (NearestImage(f"train-{number}.jpg", truth, 0.875, "Tor by A. Photographer, CC-BY-4.0"),)
        rows.append(decision.row(f"{number}.png", "", novelty_rank=rank, nearest=near, label_set=("tor-m1", "osa")))
    rows[0] = Prediction("0.png", "", "error", error="the file is empty (0 bytes)")
    return predictions_table(rows).with_columns(pl.Series("true_label", truths))


def _write(table: pl.DataFrame, folder: Path, settings: DecisionSettings | None = SETTINGS, **options: Any) -> Path:
    evaluation = evaluate_predictions(table, TAXONOMY, title="test", known_classes=CLASSES, num_replicates=5)
    options = {"images_dir": None, **options}
    return render_report(evaluation, table, TAXONOMY, folder / "report", settings=settings, **options)


def _review(table: pl.DataFrame, settings: DecisionSettings | None = SETTINGS) -> Review:
    evaluation = evaluate_predictions(table, TAXONOMY, title="test", known_classes=CLASSES, num_replicates=5)
    return build_review(evaluation, table, TAXONOMY, settings)


def _expected(table: pl.DataFrame, answers: list[str], level: LevelName) -> dict[str, int]:
    """Counts of a level by another way: names to names, one by one."""
    counts: dict[str, int] = {}
    for truth, answer in zip(table["true_label"], answers, strict=True):
        at = [TAXONOMY.name(answer_at_level(node, level, TAXONOMY)) for node in (truth, answer)]
        counts[" > ".join(at)] = counts.get(" > ".join(at), 0) + 1
    return counts


def _recorded(table: pl.DataFrame) -> list[str]:
    return [label or "no answer" for label in table["label"]]


def _by_other_rules(table: pl.DataFrame, **changes: float) -> list[str]:
    """What the classifier itself would answer with other settings."""
    rules, answers = replace(RULES, **changes), []
    for top, rank, status in table.select("top", "novelty_rank", "status").iter_rows():
        if status != "ok":
            answers.append("no answer")
            continue
        of = {item["class_id"]: item["probability"] for item in top}
        probabilities = np.array([of[class_id] for class_id in RULES.classes])
        decision = decide(probabilities, RULES.classes, TAXONOMY, top_k=5, rules=rules, novelty_rank=rank)
        answers.append(decision.label)
    return answers


# --- Without a browser


def test_the_models_own_settings_give_the_recorded_answers() -> None:
    review = _review(_table(200))
    assert review.num_unlike == 0
    assert (review.threshold, review.false_alarms) == (0.6, 0.1)


def test_other_settings_give_the_answers_of_the_classifier() -> None:
    table = _table(300)
    review = _review(table)
    answers = redecided_answers(
        review.candidates, review.reached, review.novelty_rank, review.recorded, review.node_ids, 0.8, 0.3
    )
    ours = {int(place): review.node_ids[node] for place, node in zip(review.positions, answers, strict=True)}
    assert [ours[row] for row in range(300)] == _by_other_rules(table, roll_up_threshold=0.8, false_alarms=0.3)


def test_answers_of_least_cost_are_found_again() -> None:
    rules = replace(RULES, use_costs=True)
    review = _review(_table(300, rules=rules), SETTINGS.model_copy(update={"use_costs": True}))
    assert review.num_unlike == 0


def test_rows_that_list_no_classes_keep_their_answer() -> None:
    rows = [Prediction("a", "", "ok", label="tor", level="family", probability=0.7)]
    review = _review(predictions_table(rows).with_columns(true_label=pl.lit("tor-m1")), None)
    assert (review.num_unlike, review.threshold, review.can_decide) == (0, 0.7, True)


def test_pictures_stand_wrong_ones_first_cell_by_cell_surest_first() -> None:
    review = _review(_table(200))
    assert (np.diff(review.is_right.astype(int)) >= 0).all()
    same_cell = (np.diff(review.truth) == 0) & (np.diff(review.recorded) == 0)
    assert (np.diff(review.probability)[same_cell] <= 0).all()


def test_a_cap_of_thumbnails_leaves_no_wrong_cell_without_any() -> None:
    review = _review(_table(300))
    wrong = np.flatnonzero(~review.is_right)
    cells = {(int(review.truth[row]), int(review.recorded[row])) for row in wrong}
    first = thumbnail_order(review)[: len(cells)]
    assert {(int(review.truth[row]), int(review.recorded[row])) for row in first} == cells


def test_confusion_order_finds_a_band_that_was_shuffled() -> None:
    places = np.random.default_rng(3).permutation(9)
    distance = np.abs(places[:, None] - places[None])
    order = confusion_order(np.where(distance <= 2, 40 - 15 * distance, 0))
    assert places[order].tolist() in (list(range(9)), list(range(9))[::-1])


def test_classes_never_confused_stand_last_in_their_order() -> None:
    counts = np.diag([5, 5, 5, 0, 5])
    counts[4, 1] = 2
    assert confusion_order(counts) == [1, 4, 0, 2, 3]


def test_settings_come_from_a_bundle(bundle: Any) -> None:
    settings = DecisionSettings.of(bundle)
    assert settings is not None
    own = [each for each in settings.targets if each.target_accuracy == settings.target_accuracy]
    assert [each.threshold for each in own] == [bundle.info.decision.roll_up_threshold]
    targets = [each.target_accuracy for each in settings.targets]
    assert targets == sorted(set(targets))


# --- In a browser


def test_the_page_opens_with_the_recorded_answers(browser: Any, tmp_path: Path) -> None:
    table = _table(200)
    tab = Tab(browser, _write(table, tmp_path))
    assert tab.counts() == _expected(table, _recorded(table), "class")
    assert tab.page.locator("#recorded-answers").is_disabled()
    assert tab.is_quiet()


@pytest.mark.parametrize("level", ["family", "role"])
def test_levels_switch(browser: Any, tmp_path: Path, level: LevelName) -> None:
    table = _table(200)
    tab = Tab(browser, _write(table, tmp_path))
    tab.page.locator(f"label[for=show-level-{level}]").click()
    assert tab.counts() == _expected(table, _recorded(table), level)


def test_figures_switch_to_row_percentages(browser: Any, tmp_path: Path) -> None:
    rows = [("tor-m1", 3), ("tor-m2", 1)]
    labels = [label for label, count in rows for _ in range(count)]
    table = predictions_table([Prediction("a", "", "ok", label=label, level="class") for label in labels])
    tab = Tab(browser, _write(table.with_columns(true_label=pl.lit("tor-m1")), tmp_path))
    tab.page.locator("label[for=show-figures-share]").click()
    assert tab.texts("#matrix-box .count") == ["75\u00a0%", "25\u00a0%"]


def test_order_by_confusion_keeps_the_counts(browser: Any, tmp_path: Path) -> None:
    table = _table(200)
    tab = Tab(browser, _write(table, tmp_path))
    before = tab.counts()
    tab.page.locator("label[for=show-order-confusion]").click()
    assert tab.counts() == before
    review = _review(table)
    names = [f"{review.names[node]}" for node in review.levels[0].by_confusion]
    assert tab.page.eval_on_selector_all("[role=rowheader]", "all => all.map(each => each.ariaLabel)") == names


@pytest.mark.parametrize(("stop", "threshold"), [(0, 0.3), (2, 0.8), (3, 2.0)])
def test_sliders_recompute_the_matrix_as_the_classifier_decides(
    browser: Any, tmp_path: Path, stop: int, threshold: float
) -> None:
    table = _table(200)
    tab = Tab(browser, _write(table, tmp_path))
    tab.slide("target", stop)
    answers = _by_other_rules(table, roll_up_threshold=threshold)
    assert tab.counts() == _expected(table, answers, "class")
    tab.slide("alarms", 10)
    answers = _by_other_rules(table, roll_up_threshold=threshold, false_alarms=0.3)
    assert tab.counts() == _expected(table, answers, "class")
    tab.page.locator("#recorded-answers").click()
    tab.settle()
    assert tab.counts() == _expected(table, _recorded(table), "class")
    assert tab.is_quiet()


def test_coverage_and_risk_are_those_of_the_new_answers(browser: Any, tmp_path: Path) -> None:
    table = _table(200)
    tab = Tab(browser, _write(table, tmp_path))
    tab.slide("target", 2)
    answers = _by_other_rules(table, roll_up_threshold=0.8)
    again = table.with_columns(
        label=pl.Series(answers).replace("no answer", ""),
        level=pl.Series(["class" if a in CLASSES else LEVEL_OF.get(a, "unknown") for a in answers]),
    ).with_columns(level=pl.when(pl.col("status") == "ok").then("level").otherwise(pl.lit("")))
    figures = evaluate_predictions(again, TAXONOMY, title="", known_classes=CLASSES, num_replicates=2).answers
    assert figures is not None
    assert figures.right.value is not None
    shown = tab.texts("#decide tbody tr")
    assert f"{figures.num_answers} of 200" in shown[0]
    assert f"{100 * (1 - figures.right.value):.1f}\u00a0%" in shown[1]


def test_a_threshold_without_the_models_settings_promises_nothing(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser, _write(_table(50), tmp_path, None))
    tab.slide("target", 70)
    text = tab.page.locator("#decide").inner_text()
    assert "Answers need a probability of at least 70.0\u00a0%" in text
    assert "stands for no target accuracy" in text
    assert "promised" not in text


def test_a_target_says_whether_it_is_promised(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser, _write(_table(50), tmp_path))
    assert "at least 60.0\u00a0%; promised" in tab.page.locator("#decide").inner_text()
    tab.slide("target", 2)
    assert "best effort, not promised" in tab.page.locator("#decide").inner_text()
    tab.slide("target", 3)
    assert "nothing is answered" in tab.page.locator("#decide").inner_text()


def test_a_click_on_a_cell_opens_its_pictures_surest_first(browser: Any, tmp_path: Path) -> None:
    table = _table(120)
    for name in table["file_name"][1:]:
        Image.new("RGB", (60, 40), "green").save(tmp_path / name)
    tab = Tab(browser, _write(table, tmp_path, images_dir=tmp_path))
    tab.open_cell("true Tor-M1, answered Tor-M2")
    expected = table.filter(true_label="tor-m1", label="tor-m2").sort("probability", descending=True)["file_name"]
    tab.until("document.querySelector('.picture img')?.naturalWidth === 60")
    assert tab.texts(".picture .file") == expected.to_list()
    assert tab.texts("#opened .cue") == ["What separates them: mesh dish"]
    text = tab.page.locator(".picture").first.inner_text()
    assert all(
        part in text for part in ("label set\ntor-m1, osa", "Tor by A. Photographer, CC-BY-4.0", "held-out known")
    )
    original = tab.page.locator(".picture .view").first.get_attribute("href")
    assert (tmp_path / "report" / str(original)).resolve() == tmp_path / expected[0]
    assert "surest first" in tab.page.locator("#said").inner_text()
    assert tab.is_quiet()


def test_many_pictures_come_in_pages_of_fifty_from_several_files(browser: Any, tmp_path: Path) -> None:
    num = CHUNK_ROWS + 20
    rows = [Prediction(f"{i}.jpg", "", "ok", label="osa", level="class", probability=i / num) for i in range(num)]
    tab = Tab(browser, _write(predictions_table(rows).with_columns(true_label=pl.lit("tor-m1")), tmp_path))
    tab.open_cell("true Tor-M1, answered Osa")
    tab.page.wait_for_selector(".picture")
    assert tab.texts(".picture .file") == [f"{num - 1 - i}.jpg" for i in range(50)]
    for _ in range(num // 50):
        tab.page.locator("text=next ›").first.click()
    tab.until("document.querySelectorAll('.picture').length === 20")
    assert tab.texts(".picture .file")[-1] == "0.jpg"
    assert tab.page.locator("text=next ›").first.is_disabled()


def test_the_keyboard_alone_leads_to_pictures_and_back(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser, _write(_table(120), tmp_path))
    active = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.getAttribute('role')") == "gridcell":
            break
    assert tab.page.evaluate(active).startswith("true Tor-M1, answered Tor-M1")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "Home", "End", "ArrowUp", "Control+Home", "ArrowRight"):
        tab.page.keyboard.press(key)
    assert tab.page.evaluate(active).startswith("true Tor-M1, answered Tor-M2")
    assert tab.page.locator(".hint").inner_text().startswith("true Tor-M1, answered Tor-M2")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".picture")
    assert tab.page.evaluate(active).startswith("Tor-M1 answered Tor-M2")
    tab.page.keyboard.press("Escape")
    assert tab.page.evaluate(active).startswith("true Tor-M1, answered Tor-M2")
    assert not tab.page.locator("#opened").is_visible()
    assert tab.page.locator("[role=gridcell][tabindex='0']").count() == 1


def test_a_link_of_the_list_opens_a_cell(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser, _write(_table(120), tmp_path))
    tab.page.locator("label[for=show-level-role]").click()
    tab.page.locator('#wrong ~ .scroll a[href="#class/tor-m1/tor-m2"]').first.click()
    tab.page.wait_for_selector(".picture")
    assert tab.page.locator("#show-level-class").is_checked()
    assert tab.page.locator("#opened-heading").inner_text().startswith("Tor-M1 answered Tor-M2")


def test_hostile_texts_are_shown_and_not_run(browser: Any, tmp_path: Path) -> None:
    rows = [
        Prediction(text, "", "ok", label="osa", level="class", probability=0.5, reason=text, cues=(text,))
        for text in HOSTILE
    ]
    table = predictions_table(rows).with_columns(pl.Series("author", HOSTILE), true_label=pl.lit("tor-m1"))
    table = table.with_columns(source_url=pl.lit("javascript:alert(1)"))
    tab = Tab(browser, _write(table, tmp_path), width=390)
    tab.open_cell("true Tor-M1, answered Osa")
    tab.page.wait_for_selector(".picture")
    assert [each.strip() for each in tab.page.locator(".picture .file").all_text_contents()] == list(HOSTILE)
    assert tab.page.locator(".picture script, .picture [onerror], a[href^='javascript']").count() == 0
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.is_quiet()


@pytest.mark.parametrize("width", [390, 1920])
def test_no_width_makes_the_page_scroll_sideways(browser: Any, tmp_path: Path, width: int) -> None:
    tab = Tab(browser, _write(_table(120), tmp_path), width=width)
    tab.open_cell("true Tor-M1, answered Tor-M2")
    tab.page.wait_for_selector(".picture")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width


def test_without_scripts_the_matrix_is_there(browser: Any, tmp_path: Path) -> None:
    tab = Tab(browser, _write(_table(50), tmp_path), javascript=False)
    text = tab.page.locator("main").inner_text()
    assert "Scripts are off" in text
    assert tab.page.locator("#static svg").first.is_visible()
    assert not tab.page.locator("#controls").is_visible()


def test_a_page_that_was_mailed_without_its_data_says_so(browser: Any, tmp_path: Path) -> None:
    path = _write(_table(50), tmp_path)
    (path.parent / "data.js").unlink()
    page = browser.new_page()
    page.goto(path.as_uri())
    assert "data.js is missing" in page.locator("#fault").inner_text()
    assert page.locator("#static svg").first.is_visible()


def test_an_evidence_map_lies_over_its_picture_and_can_be_taken_off(browser: Any, tmp_path: Path) -> None:
    for name in ("a.png", "map of a.png"):
        Image.new("RGB", (60, 40), "green").save(tmp_path / name)
    rows = [Prediction("a.png", "", "ok", label="osa", level="class", probability=0.5)]
    table = predictions_table(rows).with_columns(true_label=pl.lit("tor-m1"))
    overlays = {"a.png": Overlay(tmp_path / "map of a.png", "osa", "tor-m1")}
    tab = Tab(browser, _write(table, tmp_path, images_dir=tmp_path, overlays=overlays))
    tab.open_cell("true Tor-M1, answered Osa")
    tab.until("document.querySelector('.picture img.evidence')?.naturalWidth === 60")
    tab.page.locator("text=evidence maps over the pictures").click()
    assert not tab.page.locator(".picture img.evidence").is_visible()
    assert tab.is_quiet()


def test_an_evidence_map_says_which_colour_speaks_for_which_class(browser: Any, tmp_path: Path) -> None:
    names = ["a.png", "b.png", "right.png"]
    for name in names:
        Image.new("RGB", (60, 40), "green").save(tmp_path / name)
    labels = ["unknown", "unknown", "tor-m1"]
    rows = [
        Prediction(name, "", "ok", label=label, level="class" if label == "tor-m1" else "unknown", probability=0.5)
        for name, label in zip(names, labels, strict=True)
    ]
    table = predictions_table(rows).with_columns(true_label=pl.lit("tor-m1"))
    overlays = {"a.png": Overlay(tmp_path / "a.png", "tor-m2", "tor-m1"), "b.png": Overlay(tmp_path / "b.png")}
    tab = Tab(browser, _write(table, tmp_path, images_dir=tmp_path, overlays=overlays))
    tab.open_cell("true Tor-M1, answered unknown")
    tab.page.wait_for_selector(".picture")
    recorded, older = tab.texts(".map-key")
    assert recorded == "orange: for tor-m2blue: for tor-m1"
    assert "orange: for the answerblue: against it" in older
    alt = tab.page.locator("img.evidence").first.get_attribute("alt")
    assert alt == "evidence map: orange for tor-m2, blue for tor-m1"
    assert "check\nmesh dish" in tab.page.locator(".picture").first.inner_text()
    assert "Maps were made for 2 of 2 wrong answers" in tab.page.locator("#evidence-key").inner_text()
    tab.open_cell("true Tor-M1, answered Tor-M1")
    tab.until("document.querySelectorAll('.picture').length === 1")
    assert "No evidence map here." in tab.page.locator("#evidence-key").inner_text()


def test_pictures_beyond_the_cap_are_counted_and_link_to_the_original(browser: Any, tmp_path: Path) -> None:
    table = _table(40)
    for name in table["file_name"][1:]:
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    tab = Tab(browser, _write(table, tmp_path, images_dir=tmp_path, max_thumbnails=5))
    assert "35 pictures have none" in tab.page.locator("#left-out").inner_text()


@pytest.mark.parametrize("label", ["tor-m1", "unknown"])
def test_one_picture_reads_right(browser: Any, tmp_path: Path, label: str) -> None:
    rows = [Prediction("a", "", "ok", label=label, level="class" if label != "unknown" else "unknown")]
    tab = Tab(browser, _write(predictions_table(rows).with_columns(true_label=pl.lit("tor-m1")), tmp_path))
    assert tab.counts() == {f"Tor-M1 > {TAXONOMY.name(label)}": 1}
    assert tab.texts("#matrix-box .absent") == ["no images"] * 4
    assert tab.is_quiet()


def test_all_answers_unknown_have_no_risk(browser: Any, tmp_path: Path) -> None:
    table = _table(50, rules=replace(RULES, roll_up_threshold=2.0))
    tab = Tab(browser, _write(table, tmp_path))
    shown = tab.texts("#decide tbody tr")
    assert "0.0\u00a0%" in shown[0]
    assert "nothing answered" in shown[1]


def test_counts_of_the_review_are_those_of_the_evaluation() -> None:
    table = _table(200)
    review = _review(table)
    evaluation = evaluate_predictions(table, TAXONOMY, title="", known_classes=CLASSES, num_replicates=2)
    matrix = evaluation.matrix("class")
    columns = {node: column for column, node in enumerate(matrix.answer_ids)}
    found = np.array([columns[review.node_ids[node]] for node in review.recorded])
    assert (confusion_counts(review.truth, found, 5, len(columns)) == matrix.array()).all()


def _luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("answer", ["t-9", "unknown"])
@pytest.mark.parametrize("javascript", [True, False])
def test_numbers_stand_out_from_every_shade(browser: Any, tmp_path: Path, answer: str, javascript: bool) -> None:
    ids = [f"t-{shade}" for shade in range(10)]
    taxonomy = Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": f"role-{i}", "name": i} for i in ids],
            "families": [{"id": f"family-{i}", "role": f"role-{i}", "name": i} for i in ids],
            "classes": [{"id": i, "family": f"family-{i}", "names": [i]} for i in ids],
        }
    )
    level: Level = "unknown" if answer == "unknown" else "class"
    wrong = [
        (t, Prediction("a", "", "ok", label=answer, level=level))
        for s, t in enumerate(ids[:9], 1)
        for _ in range(s * s)
    ]
    right = [
        (t, Prediction("a", "", "ok", label=t, level="class"))
        for s, t in enumerate(ids[:9], 1)
        for _ in range(81 - s * s)
    ]
    rows = [*wrong, *right]
    table = predictions_table(row for _, row in rows).with_columns(
        pl.Series("true_label", [truth for truth, _ in rows])
    )
    evaluation = evaluate_predictions(table, taxonomy, title="shades", known_classes=ids, num_replicates=2)
    tab = Tab(browser, render_report(evaluation, table, taxonomy, tmp_path, images_dir=None), javascript=javascript)
    kind, matrix = ("silent" if answer == "unknown" else "wrong"), "#matrix-box" if javascript else "#static"
    for shade in range(1, 10):
        cell = tab.page.locator(f"{matrix} .matrix rect.{kind}{shade}").last
        fill, ink = (
            cell.evaluate(f"rect => getComputedStyle({which}).fill") for which in ("rect", "rect.nextElementSibling")
        )
        dark, light = sorted(map(_luminance, (fill, ink)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (shade, fill, ink)
