"""The model card of an evaluation: the bundle's, and figures that are the evaluation's."""

from __future__ import annotations

import polars as pl

from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.model_card import filled_model_card
from vision.predictions import ClassProbability, Prediction, predictions_table
from vision.taxonomy import load_taxonomy


def test_the_card_keeps_its_text_and_gets_figures_by_class_and_confusions() -> None:
    taxonomy = load_taxonomy()
    answers, truths = ["tor-m1", "tor-m1", "tor-m1", "tor-m2k"], ["tor-m1", "tor-m1", "tor-m2k", "tor-m2k"]
    top = (ClassProbability("tor-m1", 0.6), ClassProbability("tor-m2k", 0.4))
    rows = [
        Prediction(f"{n}", "", "ok", label=a, level="class", probability=0.6, top=top) for n, a in enumerate(answers)
    ]
    table = predictions_table(rows).with_columns(true_label=pl.Series(truths), group=pl.Series(list("abcd")))
    evaluation = evaluate_predictions(
        table, taxonomy, title="test | here", known_classes=("tor-m1", "tor-m2k", "buk-m1"), num_replicates=50
    )
    card = filled_model_card("# Model card: x\n\n## Licences\n\nCC0\n", evaluation, taxonomy)
    assert card.startswith("# Model card: x\n\n## Licences\n\nCC0\n\n## Figures\n\n### test &#124; here\n")
    assert "| tor-m1 | 2 | 1.00" in card
    assert "| 0.67 (" in card  # precision of tor-m1
    assert "| buk-m1 | 0 | no images | no answers |" in card
    assert "\n#### Most frequent confusions" in card
    assert "<code>tor-m2k</code> | <code>tor-m1</code> | 1 (50%)" in card
