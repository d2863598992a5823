"""The model card of an evaluation: the bundle's, and figures that are the evaluation's."""

from __future__ import annotations

import polars as pl

from vision.evaluate.evaluation import DataSource, Evaluation, evaluate_predictions
from vision.evaluate.model_card import bundle_part, filled_model_card
from vision.predictions import ClassProbability, Prediction, predictions_table
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
CARD = "# Model card: x\n\n## Licences\n\nCC0\n"


def _evaluation(answers: list[str], truths: list[str], data: DataSource | None = None) -> Evaluation:
    top = (ClassProbability("tor-m1", 0.6), ClassProbability("tor-m2k", 0.4))
    rows = [
        Prediction(f"{n}", "", "ok", label=a, level="class", probability=0.6, top=top) for n, a in enumerate(answers)
    ]
    groups = pl.Series("group", [f"g{n}" for n in range(len(rows))])
    table = predictions_table(rows).with_columns(groups, true_label=pl.Series(truths))
    known = ("tor-m1", "tor-m2k", "buk-m1")
    return evaluate_predictions(table, TAXONOMY, title="test | here", known_classes=known, data=data, num_replicates=50)


def test_the_card_keeps_its_text_and_gets_figures_by_class_and_confusions() -> None:
    evaluation = _evaluation(["tor-m1", "tor-m1", "tor-m1", "tor-m2k"], ["tor-m1", "tor-m1", "tor-m2k", "tor-m2k"])
    card = filled_model_card(CARD, evaluation, TAXONOMY)
    assert card.startswith("# Model card: x\n\n## Licences\n\nCC0\n\n## Figures\n\n### test &#124; here\n")
    assert "| class | pictures | recall | precision | F1 |" in card
    assert "| tor-m1 | 2 | 1.00 (no interval) | 0.67 (" in card
    assert "| 0.80 (" in card  # F1 of tor-m1
    assert "| buk-m1 | 0 | no images | no answers | no images |" in card
    assert "\n#### Most frequent confusions" in card
    assert "<code>tor-m2k</code> | <code>tor-m1</code> | 1 (50%)" in card
    assert bundle_part(card) == CARD


def test_the_card_tells_of_which_data_its_figures_are() -> None:
    data = DataSource(name="look|alikes", manifest_sha256="f" * 64, split="test")
    evaluation = _evaluation(["tor-m1"] * 3, ["tor-m1", "tor-m2k", "shilka"], data)
    card = filled_model_card(CARD, evaluation, TAXONOMY)
    assert "### Data of these figures" in card
    assert "| data set | look&#124;alikes |" in card
    assert f"| manifest, SHA-256 | <code>{'f' * 64}</code> |" in card
    assert "| split | test |\n| pictures | 3, of which 0 could not be read |\n| groups | 3 |" in card
    assert "| of classes that the model does not know | 1 pictures |" in card
    assert "| data set | not recorded |" in filled_model_card(CARD, _evaluation(["tor-m1"], ["tor-m1"]), TAXONOMY)


def test_the_card_warns_of_intervals_from_few_groups() -> None:
    few, many = (filled_model_card(CARD, _evaluation(["tor-m1"] * n, ["tor-m1"] * n), TAXONOMY) for n in (3, 20))
    assert "These are 3 groups: with fewer than about twenty, intervals are too narrow." in few
    assert "too narrow" not in many
    assert "3 right of 3 are no proof of more than 44 %" in many
