"""What the model finds odd comes first, and the page says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision.cli import data_review
from vision.data.manifest import Manifest, manifest_from_rows
from vision.errors import ManifestError, UsageError
from vision.predictions import ClassProbability, Prediction
from vision.taxonomy import load_taxonomy
from vision.web.review_order import QueuedPicture, num_odd, queue_oddest_first, rows_of_classes

TAXONOMY = load_taxonomy()


def _manifest(*labels: str) -> Manifest:
    rows = [{"file_name": f"{number}.jpg", "label": label} for number, label in enumerate(labels)]
    return manifest_from_rows(Path("manifest.csv"), rows)


def _answer(name: str, rank: float | None = 0.5, **top: float) -> Prediction:
    classes = tuple(ClassProbability(class_id.replace("_", "-"), share) for class_id, share in top.items())
    return Prediction(name, "", "ok", label=classes[0].class_id, level="class", top=classes, novelty_rank=rank)


def _queue(manifest: Manifest, *answers: Prediction) -> list[QueuedPicture]:
    rows = rows_of_classes(manifest, [])
    return queue_oddest_first(manifest, rows, answers, TAXONOMY)[0]


def test_without_a_model_classes_take_turns() -> None:
    manifest = _manifest("shilka", "shilka", "shilka", "gepard", "gepard", "buk")
    assert rows_of_classes(manifest, []) == [0, 3, 5, 1, 4, 2]
    assert rows_of_classes(manifest, ["gepard"]) == [3, 4]


def test_a_class_that_no_row_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(ManifestError, match="no row of class 'gepad', did you mean 'gepard'"):
        rows_of_classes(_manifest("shilka", "gepard"), ["gepad"])


def test_unreadable_then_least_plausible_then_those_without_an_answer() -> None:
    queue = _queue(
        _manifest("shilka", "shilka", "shilka", "shilka", "shilka"),
        _answer("0.jpg", shilka=0.9, gepard=0.1),
        _answer("1.jpg", gepard=0.95, shilka=0.05),
        Prediction("2.jpg", "", "error", error="no such file"),
        _answer("3.jpg", rank=0.99, shilka=0.9, gepard=0.1),
    )
    # 0.9 * 0.01 is less than 0.05 * 0.5.
    assert [picture.row for picture in queue] == [2, 3, 1, 0, 4]
    assert num_odd(queue) == 3
    assert [picture.why.replace("\xa0", " ") for picture in queue] == [
        "the model could not read it: no such file",
        "the model says Shilka with 90 %; less like the training pictures than 99 % of known ones",
        "the model says Gepard with 95 %; Shilka with 5 %",
        "the model says Shilka with 90 %",
        "the model was not asked about this picture",
    ]


def test_a_class_that_covers_the_label_does_not_contradict_it() -> None:
    queue = _queue(_manifest("buk-m1", "buk"), _answer("0.jpg", buk=0.9), _answer("1.jpg", buk_m1=0.5, buk_m2=0.4))
    assert num_odd(queue) == 0


def test_a_label_that_the_model_does_not_know_is_no_contradiction() -> None:
    queue = _queue(_manifest("tor-m1", "shilka"), _answer("0.jpg", shilka=0.99), _answer("1.jpg", shilka=0.99))
    assert [picture.row for picture in queue] == [1, 0]
    assert "it does not know Tor-M1" in queue[1].why


def test_a_label_outside_the_listed_classes_has_at_most_what_they_leave() -> None:
    answers = _answer("0.jpg", gepard=0.6, buk=0.3), _answer("1.jpg", gepard=0.9, buk=0.08), _answer("2.jpg", shilka=1)
    queue = _queue(_manifest("shilka", "shilka", "shilka"), *answers)
    assert [picture.row for picture in queue] == [1, 0, 2]
    assert "Shilka is not among its 2 first" in queue[0].why


def test_old_bundles_without_a_rank_are_ranked_by_novelty() -> None:
    answers = [
        Prediction(f"{n}.jpg", "", "ok", label="shilka", top=(ClassProbability("shilka", 0.9),), novelty=novelty)
        for n, novelty in enumerate((0.2, 0.7, 0.1))
    ]
    assert [picture.row for picture in _queue(_manifest("shilka", "shilka", "shilka"), *answers)] == [1, 0, 2]


def test_predictions_are_found_by_path_and_not_by_another_file_of_the_name(tmp_path: Path) -> None:
    rows = [{"file_name": "images/a.jpg", "label": "shilka"}, {"file_name": "b.jpg", "label": "shilka", "sha256": "1f"}]
    manifest = manifest_from_rows(tmp_path / "manifest.csv", rows)
    answers = [_answer(str(tmp_path / "images" / "a.jpg"), gepard=1), Prediction("b.jpg", "2e", "error")]
    queue, num_judged = queue_oddest_first(manifest, [0, 1], answers, TAXONOMY)
    assert num_judged == 1
    assert queue[0].says == "gepard"


def test_a_model_whose_answers_fit_no_row_is_told_with_place_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_review, "_classified", lambda *asked: [])
    manifest = manifest_from_rows(tmp_path / "m.csv", [{"file_name": "a.png", "label": "shilka", "sha256": "00"}])
    with pytest.raises(UsageError, match=r"m\.csv: no picture is the file that its sha256 says.*check --fix"):
        data_review._queue(manifest, [0], tmp_path / "bundle", None, load_taxonomy())
