"""Decisions about pictures: what stands in the file, what a crash leaves, what becomes of the manifest."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vision.cli.data_review import apply_command
from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.reviewing.applying import NOT_DECIDED, AppliedReview, apply_review, seen_from
from vision.data.reviewing.decisions import ReviewHistory, ReviewLine, Verdict, load_review, open_review_log
from vision.errors import OutputError, ReviewError
from vision.files import sha256_of_file
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
NAMES = ("a.png", "b.png", "c.png", "d.png", "e.png", "f.png")


def _line(name: str, decision: Verdict, **others: str) -> ReviewLine:
    return ReviewLine(file_name=name, decision=decision, **others)


def _data_set(folder: Path) -> Manifest:
    """Six pictures, all labelled as Shilka."""
    for number, name in enumerate(NAMES):
        Image.new("RGB", (30, 20), (40 * number, 0, 0)).save(folder / name)
    manifest = manifest_from_rows(folder / "manifest.csv", [{"file_name": n, "label": "shilka"} for n in NAMES])
    save_manifest(manifest, manifest.path)
    return manifest


def _decided(manifest: Manifest, name: str, decision: Verdict, **others: str) -> ReviewLine:
    digest = sha256_of_file(manifest.image_path(name))
    return _line(name, decision, sha256=digest, **{"label": "shilka", **others})


def _applied(manifest: Manifest, *lines: ReviewLine, only_decided: bool = False) -> AppliedReview:
    return apply_review(manifest, lines, TAXONOMY, only_decided=only_decided)


# --- The file


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    line = _line("טנק.jpg", Verdict.NOT_THIS_CLASS, sha256="0a", class_id="gepard", note='"two"\nlines', label="shilka")
    with open_review_log(tmp_path / "review.jsonl") as log:
        log.append(line)
    assert load_review(tmp_path / "review.jsonl").lines == (line,)
    written = json.loads((tmp_path / "review.jsonl").read_text(encoding="ascii"))
    assert (written["class"], written["decision"]) == ("gepard", "not-this-class")


@pytest.mark.parametrize("kept_bytes", range(1, 60, 7))
def test_a_line_that_a_crash_tore_is_told_and_spoils_no_other(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "review.jsonl"
    whole = _line("a.png", Verdict.KEEP).to_json() + "\n"
    path.write_text(whole + _line("b.png", Verdict.REJECT).to_json()[:kept_bytes])
    with open_review_log(path) as log:
        log.append(_line("c.png", Verdict.WRECK))
    review = load_review(path)
    assert [line.file_name for line in review.lines] == ["a.png", "c.png"]
    assert review.torn == (f"{path}:2",)


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    path.write_text(_line("a.png", Verdict.KEEP).to_json())
    with open_review_log(path) as log:
        log.append(_line("b.png", Verdict.KEEP))
    assert [line.file_name for line in load_review(path).lines] == ["a.png", "b.png"]


def test_zeros_that_a_power_cut_left_are_told(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    path.write_bytes(_line("a.png", Verdict.KEEP).to_json().encode() + b"\n" + b"\0" * 40)
    assert load_review(path).torn == (f"{path}:2",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file_name": "a", "decision": "kep"}', "decision 'kep' is none, did you mean 'keep'?"),
        ('{"file_name": "a"}', "lacks 'decision'"),
        (
            '{"file_name": "a", "decision": "keep", "clas": "x"}',
            "'clas' is no part of a decision, did you mean 'class'?",
        ),
        ("[1]", "the line '[1]'"),
    ],
)
def test_a_line_that_says_what_it_cannot_say_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "review.jsonl"
    path.write_text(_line("a.png", Verdict.KEEP).to_json() + "\n" + text + "\n")
    with pytest.raises(ReviewError) as caught:
        load_review(path)
    assert f"{path}:2: " in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match=r"no\.jsonl: cannot be read as decisions \(No such file .*--decisions"):
        load_review(tmp_path / "no.jsonl")


def test_two_reviews_do_not_write_the_same_file(tmp_path: Path) -> None:
    with (
        open_review_log(tmp_path / "review.jsonl"),
        pytest.raises(OutputError, match="another review is writing here"),
        open_review_log(tmp_path / "review.jsonl"),
    ):
        pass


def test_a_full_disk_is_told_and_the_next_line_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "review.jsonl", os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:-19])

    with open_review_log(path) as log:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match=r"could not be written \(No space left"):
            log.append(_line("a.png", Verdict.KEEP))
        monkeypatch.undo()
        log.append(_line("b.png", Verdict.KEEP))
    review = load_review(path)
    assert [line.file_name for line in review.lines] == ["b.png"]
    assert review.torn == (f"{path}:1",)


# --- What stands


def test_the_last_line_wins_and_undo_takes_back_one() -> None:
    history = ReviewHistory([_line("a", Verdict.KEEP), _line("a", Verdict.REJECT), _line("b", Verdict.KEEP)])
    assert history.standing("a") == _line("a", Verdict.REJECT)
    history.add(_line("a", Verdict.UNDO))
    assert history.standing("a") == _line("a", Verdict.KEEP)
    history.add(_line("a", Verdict.UNDO))
    assert history.standing("a") is None
    assert history.last_decided({"a", "b"}) == "b"


def test_files_of_two_reviewers_can_be_concatenated() -> None:
    first = [_line("a", Verdict.KEEP), _line("b", Verdict.WRECK)]
    second = [_line("a", Verdict.REJECT), _line("a", Verdict.UNDO), _line("b", Verdict.KEEP)]
    history = ReviewHistory([*first, *second])
    assert {line.file_name: line.decision for line in history.all_standing()} == {"a": "keep", "b": "keep"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Verdict))), max_size=30))
def test_what_stands_is_what_stacks_would_leave(steps: list[tuple[str, Verdict]]) -> None:
    history = ReviewHistory(_line(name, verdict) for name, verdict in steps)
    order: list[tuple[str, Verdict]] = []
    for name, verdict in steps:
        if verdict is not Verdict.UNDO:
            order.append((name, verdict))
        elif any(other == name for other, _ in order):
            del order[max(place for place, (other, _) in enumerate(order) if other == name)]
    expected = dict(order)
    assert {line.file_name: line.decision for line in history.all_standing()} == expected
    assert history.last_decided("abc") == (order[-1][0] if order else None)


# --- Applying


def test_each_decision_has_its_consequence(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    applied = _applied(
        manifest,
        _decided(manifest, "a.png", Verdict.KEEP),
        _decided(manifest, "b.png", Verdict.REJECT, note="a map"),
        _decided(manifest, "c.png", Verdict.NOT_THIS_CLASS, class_id="gepard"),
        _decided(manifest, "d.png", Verdict.NOT_THIS_CLASS),
        _decided(manifest, "e.png", Verdict.SKIP),
    )
    assert applied.kept.select("file_name", "label").rows() == [
        ("a.png", "shilka"),
        ("c.png", "gepard"),
        ("e.png", "shilka"),
        ("f.png", "shilka"),
    ]
    assert applied.dropped.select("file_name", "label", "dropped_because", "review_note").rows() == [
        ("b.png", "shilka", "rejected", "a map"),
        ("d.png", "shilka", "not of its class, of an unknown one", None),
    ]
    assert applied.num_by_decision == {"keep": 1, "reject": 1, "not-this-class": 2, NOT_DECIDED: 2}
    assert applied.num_relabelled == 1


@pytest.mark.parametrize("verdict", [Verdict.INTERIOR, Verdict.MODEL, Verdict.WRECK])
def test_interiors_models_and_wrecks_go_unless_they_are_wanted(tmp_path: Path, verdict: Verdict) -> None:
    manifest = _data_set(tmp_path)
    line = _decided(manifest, "a.png", verdict)
    assert "a.png" not in _applied(manifest, line).kept["file_name"]
    assert "a.png" in apply_review(manifest, [line], TAXONOMY, keep=[verdict]).kept["file_name"]


def test_every_row_is_kept_or_dropped(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    applied = _applied(manifest, _decided(manifest, "b.png", Verdict.KEEP), only_decided=True)
    assert applied.kept["file_name"].to_list() == ["b.png"]
    assert set(applied.dropped["dropped_because"]) == {NOT_DECIDED}
    assert sorted([*applied.kept["file_name"], *applied.dropped["file_name"]]) == list(NAMES)


def test_a_file_that_has_changed_since_is_told_and_stays(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    line = _decided(manifest, "b.png", Verdict.REJECT)
    Image.new("RGB", (31, 20)).save(tmp_path / "b.png")
    applied = _applied(manifest, line)
    assert "b.png" in applied.kept["file_name"]
    assert applied.not_applied == (f"{manifest.path}:3: b.png: reject: the file has changed since; look at it again",)


def test_a_label_that_has_changed_since_is_told_and_stays(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    applied = _applied(manifest, _decided(manifest, "a.png", Verdict.NOT_THIS_CLASS, label="gepard", class_id="tor-m1"))
    assert applied.kept["label"].to_list() == ["shilka"] * 6
    assert "it was about the label 'gepard', now it is 'shilka'" in applied.not_applied[0]


def test_applying_twice_changes_nothing_more(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    lines = [
        _decided(manifest, "a.png", Verdict.NOT_THIS_CLASS, class_id="gepard"),
        _decided(manifest, "b.png", Verdict.WRECK),
    ]
    once = _applied(manifest, *lines)
    twice = _applied(Manifest(manifest.path, once.kept), *lines)
    assert twice.kept.equals(once.kept)
    assert (len(twice.dropped), twice.num_elsewhere, twice.not_applied) == (0, 1, ())


def test_a_missing_file_can_be_rejected(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    (tmp_path / "a.png").unlink()
    assert "a.png" not in _applied(manifest, _line("a.png", Verdict.REJECT)).kept["file_name"]


def test_a_class_that_is_not_in_the_taxonomy_is_refused(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    with pytest.raises(ReviewError, match=r"a\.png: class 'gepad' .* did you mean 'gepard'\?"):
        _applied(manifest, _decided(manifest, "a.png", Verdict.NOT_THIS_CLASS, class_id="gepad"))


def test_paths_follow_a_manifest_that_is_written_above(tmp_path: Path) -> None:
    table = pl.DataFrame({"file_name": ["a.png"]})
    assert seen_from(table, tmp_path / "x" / "y", tmp_path)["file_name"].to_list() == ["x/y/a.png"]
    with pytest.raises(OutputError, match="cannot name pictures beneath"):
        seen_from(table, tmp_path, tmp_path / "x")


# --- The command line


def test_the_command_writes_the_manifest_and_what_it_left_out(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    with open_review_log(tmp_path / "review.jsonl") as log:
        log.append(_decided(manifest, "b.png", Verdict.WRECK))
        log.append(_decided(manifest, "c.png", Verdict.REJECT).model_copy(update={"sha256": "00"}))
    out = tmp_path / "reviewed.csv"
    done = run_vision("data", "apply-review", manifest.path, "-o", out)
    assert done.returncode == 1, done.stderr
    assert "5 pictures" in done.stdout
    assert "c.png: reject: the file has changed since" in done.stderr
    assert load_manifest(out).file_names == ["a.png", "c.png", "d.png", "e.png", "f.png"]
    assert load_manifest(tmp_path / "reviewed-dropped.csv").file_names == ["b.png"]


def test_the_command_replaces_no_file_of_others(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    (tmp_path / "review.jsonl").touch()
    (tmp_path / "mine.csv").write_bytes(manifest.path.read_bytes())
    done = run_vision("data", "apply-review", manifest.path, "-o", tmp_path / "mine.csv")
    assert (done.returncode, "use --overwrite" in done.stderr) == (2, True)
    assert (tmp_path / "mine.csv").read_bytes() == manifest.path.read_bytes()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("manifest.csv", "is the input itself"),
        ("review.jsonl", "is the input itself"),
        ("out.txt", "a manifest ends in .csv"),
    ],
)
def test_the_command_refuses_places_that_would_lose_something(tmp_path: Path, output: str, message: str) -> None:
    manifest = _data_set(tmp_path)
    (tmp_path / "review.jsonl").touch()
    before = manifest.path.read_bytes()
    done = run_vision("data", "apply-review", manifest.path, "-o", tmp_path / output, "--overwrite")
    assert done.returncode == 2
    assert message in done.stderr
    assert manifest.path.read_bytes() == before


@pytest.mark.parametrize("name", ["review_note", "new_label", "dropped_because", "row_index", "is_decided"])
def test_a_slice_of_any_name_is_kept(tmp_path: Path, name: str) -> None:
    manifest = _data_set(tmp_path)
    manifest = Manifest(manifest.path, manifest.table.with_columns(pl.lit("mine").alias(name)))
    applied = _applied(manifest, _decided(manifest, "b.png", Verdict.REJECT, note="blurred"))
    assert (set(applied.kept[name]), set(applied.dropped[name])) == ({"mine"}, {"mine"})
    assert applied.dropped.row(0)[-2:] == ("rejected", "blurred")


def test_the_command_that_comes_next_is_told_with_whole_paths() -> None:
    path = Path("my data/manifest.csv")
    assert apply_command(path, None) == "vision data apply-review 'my data/manifest.csv' -o 'my data/reviewed.csv'"
    assert apply_command(Path("m.csv"), Path("a.jsonl")).endswith("-o reviewed.csv --decisions a.jsonl")


def test_a_second_round_keeps_what_the_first_left_out(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    with open_review_log(tmp_path / "review.jsonl") as log:
        log.append(_decided(manifest, "b.png", Verdict.WRECK))
    assert run_vision("data", "apply-review", manifest.path, "-o", tmp_path / "one.csv").returncode == 0
    second = run_vision("data", "apply-review", tmp_path / "one.csv", "-o", tmp_path / "two.csv", "--overwrite")
    assert second.returncode == 0, second.stderr
    assert load_manifest(tmp_path / "one-dropped.csv").file_names == ["b.png"]


def test_a_file_that_is_gone_is_told_as_gone(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    line = _decided(manifest, "b.png", Verdict.REJECT)
    manifest.image_path("b.png").unlink()
    (told,) = _applied(manifest, line).not_applied
    assert "the file cannot be read (No such file or directory)" in told


def test_decisions_are_not_added_to_the_manifest_itself(tmp_path: Path) -> None:
    manifest = _data_set(tmp_path)
    before = manifest.path.read_bytes()
    done = run_vision("data", "review", manifest.path, "--decisions", manifest.path, "--no-browser", timeout=30)
    assert (done.returncode, "is the input itself" in done.stderr) == (2, True)
    assert manifest.path.read_bytes() == before
