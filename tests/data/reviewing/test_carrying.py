"""A review that is applied a second time: what its output had been given since stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from vision.cli.data import data_app
from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.reviewing.applying import apply_review
from vision.data.reviewing.carrying import CarriedReview, carry_over, earlier_output
from vision.data.reviewing.decisions import ReviewLine, Verdict, open_review_log
from vision.errors import OutputError
from vision.files import sha256_of_file
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
Cells = dict[str, str | int | None]


def _manifest(path: Path, *rows: Cells) -> Manifest:
    manifest = manifest_from_rows(path, rows)
    save_manifest(manifest, path)
    return manifest


def _row(name: str, **cells: str) -> Cells:
    return {"file_name": name, "label": "shilka", "sha256": name * 2, **cells}


def _carried(folder: Path, manifest: list[Cells], output: list[Cells], *lines: ReviewLine) -> CarriedReview:
    """What a second round makes of a manifest where the first one's output has been given more since."""
    made = _manifest(folder / "manifest.csv", *manifest)
    told = pl.Series([], dtype=pl.String)
    _manifest(folder / "out.csv", *output)
    no_rows = manifest_from_rows(folder / "x.csv", []).table
    no_rows.with_columns(dropped_because=told, review_note=told).write_csv(folder / "out-dropped.csv")
    earlier = earlier_output(folder / "out.csv", made)
    assert earlier is not None
    return carry_over(apply_review(made, lines, TAXONOMY), earlier, made, lines)


def _cells(carried: CarriedReview, column: str) -> dict[str, str | None]:
    return dict(carried.applied.kept.select("file_name", column).iter_rows())


def test_splits_groups_and_columns_are_carried_over_by_name_and_digest(tmp_path: Path) -> None:
    old = [_row("a", split="test", group="copies-1", view="left"), _row("b", split="train", sha256="another")]
    carried = _carried(tmp_path, [_row("a"), _row("b"), _row("c")], old)
    assert _cells(carried, "split") == {"a": "test", "b": None, "c": None}
    assert _cells(carried, "group") == {"a": "copies-1", "b": None, "c": None}
    assert _cells(carried, "view") == {"a": "left", "b": None, "c": None}
    assert carried.num_carried == 1


def test_what_the_manifest_says_of_a_work_counts_and_its_gaps_are_filled(tmp_path: Path) -> None:
    carried = _carried(tmp_path, [_row("a", author="new")], [_row("a", author="old", box="1 2 3 4")])
    assert (_cells(carried, "author"), _cells(carried, "box")) == ({"a": "new"}, {"a": "1 2 3 4"})


def test_a_new_picture_of_a_group_that_was_joined_to_another_follows_it(tmp_path: Path) -> None:
    rows = [_row("a", group="Ann"), _row("b", group="Bob")]
    old = [_row("a", group="Ann"), _row("b", group="Ann")]
    carried = _carried(tmp_path, [*rows, _row("c", group="Bob"), _row("d", group="Cid")], old)
    assert _cells(carried, "group") == {"a": "Ann", "b": "Ann", "c": "Ann", "d": "Cid"}


def test_a_group_that_stands_in_several_splits_is_that_of_the_manifest_again(tmp_path: Path) -> None:
    rows = [_row("a", group="Ann"), _row("b", group="Bob"), _row("c", group="Cid"), _row("d", group="Dan")]
    split = ["train", "test", "train", None]  # a picture without a split divides no group
    joined = ["Ann", "Ann", "Cid", "Cid"]
    old = [{**row, "split": s, "group": g} for row, s, g in zip(rows, split, joined, strict=True)]
    carried = _carried(tmp_path, rows, old)
    assert _cells(carried, "group") == {"a": "Ann", "b": "Bob", "c": "Cid", "d": "Cid"}
    assert _cells(carried, "split") == dict(zip("abcd", split, strict=True))
    assert carried.divided_groups == ("Ann",)


def test_a_label_that_was_mended_in_the_output_stays_and_one_that_a_decision_made_follows_the_decisions(
    tmp_path: Path,
) -> None:
    lines = [ReviewLine(file_name="b", decision=Verdict.NOT_THIS_CLASS, class_id="buk-m1", label="shilka")]
    taken_back = [*lines, ReviewLine(file_name="b", decision=Verdict.UNDO)]
    old = [{**_row("a"), "label": "gepard"}, {**_row("b"), "label": "buk-m1"}]
    carried = _carried(tmp_path, [_row("a"), _row("b")], old, *taken_back)
    assert _cells(carried, "label") == {"a": "gepard", "b": "shilka"}
    assert carried.labels_kept == ("a: 'gepard', and not 'shilka' of manifest and review",)


def test_a_row_that_the_manifest_has_no_more_is_named(tmp_path: Path) -> None:
    assert _carried(tmp_path, [_row("a")], [_row("a"), _row("b")]).gone == ("b",)


def test_an_output_of_another_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.csv: none of its pictures is in .*manifest\.csv"):
        _carried(tmp_path, [_row("a")], [_row("z")])


def _command(manifest: Path, out: Path, *options: str) -> str:
    """What `apply-review`, which succeeds, says."""
    done = CliRunner().invoke(data_app, ["apply-review", str(manifest), "-o", str(out), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_run_again_keeps_splits_also_of_a_picture_that_was_dropped_in_between(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).write_text(name)
    digests = {name: sha256_of_file(tmp_path / "data" / name) for name in "ab"}
    manifest = _manifest(tmp_path / "data" / "manifest.csv", *(_row(n, sha256=digests[n]) for n in "ab"))
    out = tmp_path / "out.csv"
    decisions: list[Verdict] = [Verdict.KEEP, Verdict.REJECT, Verdict.KEEP]
    for round_, decision in enumerate(decisions):
        with open_review_log(tmp_path / "data" / "review.jsonl") as log:
            log.append(ReviewLine(file_name="a", sha256=digests["a"], decision=decision))
        done = _command(manifest.path, out)
        if round_ == 0:
            table = load_manifest(out).table.with_columns(split=pl.Series(["test", "train"]))
            save_manifest(Manifest(out, table), out)
    table = load_manifest(out).table
    assert dict(table.select("file_name", "split").iter_rows()) == {"data/a": "test", "data/b": "train"}
    assert "2 pictures stood there before" in done
    _command(manifest.path, out, "--overwrite")
    assert load_manifest(out).table["split"].null_count() == 2
