"""Splits: no group in two of them whatever the input, old pictures keep theirs, shares as asked where groups allow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_splits import feasible_groups, few_groups

from vision.data.manifest import SPLITS, Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.splitting import dealing
from vision.data.splitting.report import class_shares, find_split_warnings, slice_shares, widest_in_slice
from vision.data.splitting.settings import (
    DEALT_SPLITS,
    DEFAULT_SHARES,
    SplitSettings,
    check_can_be_split,
    check_slices,
    parse_shares,
)
from vision.data.splitting.splitting import Splitting, split_manifest
from vision.errors import ManifestError, UsageError

Row = dict[str, str | int | None]
PATH = Path("m.csv")

names = st.text(max_size=3) | st.sampled_from(["g", "h", "ü", "群", "\0x", "a b", "0"])
rows_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.none() | st.sampled_from("abc"),
            "group": st.none() | names,
            "author": st.none() | st.sampled_from(["A", "B", "ü"]),
            "view": st.none() | st.sampled_from(["front", "rear"]),
        }
    ),
    max_size=40,
)
any_settings = st.builds(
    SplitSettings,
    shares=st.sampled_from([DEFAULT_SHARES, {"train": 0.5, "test": 0.5}, {"train": 1.0}]),
    slices=st.sampled_from([(), ("view",), ("view", "author")]),
    seed=st.integers(0, 3),
    by_author=st.booleans(),
)


def rows_of(label: str, groups: Iterable[object], **more: str | None) -> list[Row]:
    """A row for each entry of `groups`; None is a picture without a group."""
    return [
        {"file_name": f"{label}-{number}.jpg", "label": label, "group": None if group is None else str(group), **more}
        for number, group in enumerate(groups)
    ]


def split_of(rows: Sequence[Row], **options: Any) -> Splitting:
    return split_manifest(manifest_from_rows(PATH, rows), SplitSettings(**options))


def counts(splitting: Splitting) -> dict[str, tuple[int, ...]]:
    return {row[0]: row[1:] for row in class_shares(splitting).select("label", *SPLITS).iter_rows()}


def warnings(splitting: Splitting) -> list[str]:
    return [f"{p.value}: {p.message}" for p in find_split_warnings(splitting, class_shares(splitting))]


def manifest_of(rows: list[Row]) -> Manifest:
    """With a column `view`, even if there is no row."""
    some = manifest_from_rows(PATH, [*rows, {"file_name": "", "label": "", "view": None}])
    return Manifest(PATH, some.table.head(len(rows)))


def divided(splitting: Splitting) -> pl.DataFrame:
    table = splitting.manifest.table.filter(pl.col("group").is_not_null())
    return table.group_by("group").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)


def numbered(rows: list[Row]) -> list[Row]:
    return [{"file_name": f"{number}.jpg", **row} for number, row in enumerate(rows)]


@settings(max_examples=150, deadline=None)
@given(rows_of_any_kind, any_settings)
def test_no_group_stands_in_two_splits_whatever_the_input(rows: list[Row], options: SplitSettings) -> None:
    splitting = split_manifest(manifest_of(numbered(rows)), options)
    assert splitting.manifest.table["split"].null_count() == 0
    assert set(splitting.manifest.table["split"]) <= set(options.shares)
    assert divided(splitting).is_empty()
    if options.by_author:
        authors = splitting.manifest.table.filter(pl.col("author").is_not_null()).group_by("author")
        assert (authors.agg(pl.col("split").n_unique())["split"] == 1).all()


@settings(max_examples=100, deadline=None)
@given(rows_of_any_kind, any_settings, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows: list[Row], options: SplitSettings, chance: random.Random) -> None:
    shuffled = numbered(rows)
    chance.shuffle(shuffled)
    first, second = (split_manifest(manifest_of(some), options).manifest.table for some in (numbered(rows), shuffled))
    assert dict(first.select("file_name", "split").rows()) == dict(second.select("file_name", "split").rows())


@settings(max_examples=100, deadline=None)
@given(rows_of_any_kind, rows_of_any_kind, any_settings)
def test_old_rows_keep_their_split_when_rows_are_added(old: list[Row], new: list[Row], options: SplitSettings) -> None:
    if options.by_author:  # a new picture may join two authors whose pictures stand in two splits
        options = replace(options, by_author=False)
    first = split_manifest(manifest_of(numbered(old)), options).manifest.table
    more = numbered([*old, *new])
    for row, split in zip(more, first["split"], strict=False):
        row["split"] = split
    second = split_manifest(manifest_of(more), options)
    assert second.manifest.table["split"].head(len(old)).to_list() == first["split"].to_list()
    assert second.num_kept == len(old)
    assert divided(second).is_empty()


@settings(max_examples=150, deadline=None)
@given(rows_of_any_kind, any_settings, st.randoms(use_true_random=False))
def test_splits_that_some_rows_have_are_kept_and_their_groups_follow(
    rows: list[Row], options: SplitSettings, chance: random.Random
) -> None:
    options = replace(options, by_author=False)  # one author may stand in two splits already
    of_group = {row["group"]: chance.choice(DEALT_SPLITS) for row in rows if row["group"]}
    old = [chance.choice([None, of_group.get(row["group"], "test")]) for row in rows]
    rows = [{**row, "split": split} for row, split in zip(numbered(rows), old, strict=True)]
    splitting = split_manifest(manifest_of(rows), options)
    new = splitting.manifest.table["split"].to_list()
    assert [after for after, before in zip(new, old, strict=True) if before] == [split for split in old if split]
    assert None not in new
    assert divided(splitting).is_empty()


@settings(max_examples=30, deadline=None)
@given(st.integers(200, 600), st.integers(200, 600), st.integers(0, 5), st.sampled_from([(0.7, 0.15), (0.34, 0.33)]))
def test_shares_are_within_two_points_where_pictures_stand_alone(
    num_a: int, num_b: int, seed: int, shares: tuple[float, float]
) -> None:
    asked = dict(zip(DEFAULT_SHARES, [*shares, 1 - sum(shares)], strict=True))
    generator = np.random.default_rng(seed)
    rows = rows_of("a", [None] * num_a) + rows_of("b", [None] * num_b)
    for row, value in zip(rows, generator.choice(["front", "side", "rear"], len(rows)), strict=True):
        row["view"] = str(value)
    splitting = split_of(rows, shares=asked, slices=("view",), seed=seed)
    assert class_shares(splitting)["deviation"].max() <= 0.02  # type: ignore[operator]
    within = slice_shares(splitting, "view").filter(pl.col("num_pictures") >= 50)
    assert within["deviation"].max() <= 0.02  # type: ignore[operator]


def random_groups(seed: int, num_groups: int, largest: int, *, two_classes: float = 0.1) -> list[Row]:
    """Groups of 1 to `largest` pictures of three classes, some with two of them, in two views."""
    generator = np.random.default_rng(seed)
    rows: list[Row] = []
    for group in range(num_groups):
        label, mixed = generator.integers(3), generator.random() < two_classes
        for _ in range(int(min(generator.zipf(1.7), largest))):
            of = (label + (mixed and generator.random() < 0.5)) % 3
            view = str(generator.choice(["front", "rear"]))
            rows.append({"file_name": f"{len(rows)}.jpg", "label": f"c{of}", "group": f"g{group}", "view": view})
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_balanced_no_worse_than_by_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.model_selection")
    rows = random_groups(seed, 300, 12)
    labels, groups = [row["label"] for row in rows], [row["group"] for row in rows]
    thirds = dict.fromkeys(DEFAULT_SHARES, 1 / 3)
    ours = class_shares(split_of(rows, shares=thirds, seed=seed))["deviation"].max()
    folds = sklearn.StratifiedGroupKFold(3, shuffle=True, random_state=seed).split(rows, labels, groups)
    by_fold = [pl.Series([labels[index] for index in test]).value_counts() for _, test in folds]
    totals = dict(pl.Series(labels).value_counts().iter_rows())
    theirs = max(abs(n / totals[label] - 1 / 3) for fold in by_fold for label, n in fold.iter_rows())
    assert ours <= theirs + 1e-9  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(3))
def test_many_groups_that_are_dealt_together_come_to_the_shares_too(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rows = random_groups(seed, 3000, 12)
    monkeypatch.setattr(dealing, "MOST_ONE_BY_ONE", 100)
    splitting = split_of(rows, slices=("view",), seed=seed)
    assert divided(splitting).is_empty()
    assert class_shares(splitting)["deviation"].max() <= 0.005  # type: ignore[operator]
    assert slice_shares(splitting, "view")["deviation"].max() <= 0.01  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(5, 10, False), (5, 15, True), (10, 20, True), (3, 12, False)]))
def test_class_shares_are_within_two_points_where_groups_allow(seed: int, kind: tuple[int, int, bool]) -> None:
    num_classes, largest, mixed = kind
    rows = feasible_groups(seed, num_classes, 100, largest, is_mixed=mixed)
    assert class_shares(split_of(rows))["deviation"].max() <= 0.02 + 1e-9  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(5))
def test_a_better_balance_of_classes_is_not_paid_for_by_the_slices(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rows = feasible_groups(seed, 4, 400, 80, is_mixed=False)
    for row, view in zip(rows, np.random.default_rng(seed).choice(["front", "rear"], len(rows)), strict=True):
        row["view"] = str(view)

    def off(splitting: Splitting) -> tuple[float, float]:
        within = slice_shares(splitting, "view")["deviation"]
        return class_shares(splitting)["deviation"].max(), within.mean()  # type: ignore[return-value]

    balanced = off(split_of(rows, slices=("view",)))
    monkeypatch.setattr("vision.data.splitting.balancing.MOST_STEPS", 0)
    dealt = off(split_of(rows, slices=("view",)))
    assert balanced[0] < dealt[0]
    assert balanced[1] < dealt[1] + 0.02


def test_a_class_of_enough_groups_stands_in_every_split_though_they_hold_other_classes_too() -> None:
    # Dealt one after another, these leave a class out of a split.
    shares = class_shares(split_of(few_groups(102))).filter(pl.col("num_groups") >= 3)
    assert shares.select(pl.min_horizontal("train", "calibration", "test").min()).item() > 0


def test_a_class_that_is_off_and_has_no_free_group_is_left_as_it_is() -> None:
    rows = rows_of("a", [None] * 9, split="test") + rows_of("b", [1, 1, 1, 2, 2])
    assert counts(split_of(rows)) == {"a": (0, 0, 9, 0), "b": (3, 0, 2, 0)}


def test_the_photographs_come_to_the_shares_but_for_one_picture(photos_dir: Path) -> None:
    splitting = split_manifest(load_manifest(photos_dir / "manifest.csv"), SplitSettings(reassign=True))
    asked = np.array([10.5, 2.25, 2.25])
    assert all(np.abs(np.array(of_class[:3]) - asked).max() <= 1 for of_class in counts(splitting).values())
    assert not any("together" in text for text in warnings(splitting))


def test_a_huge_group_goes_to_training_and_the_rest_makes_up_for_it() -> None:
    splitting = split_of(rows_of("a", ["huge"] * 60 + [None] * 40))
    assert counts(splitting)["a"] == (70, 15, 15, 0)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 1, 1), (100, 100, 1), (5, 5, 5)])
def test_a_class_of_three_groups_stands_in_every_split(sizes: tuple[int, ...]) -> None:
    splitting = split_of(rows_of("a", [group for group, size in enumerate(sizes) for _ in range(size)]))
    assert all(counts(splitting)["a"][:3])


def test_a_class_of_too_few_groups_gets_training_then_a_test_and_is_told() -> None:
    splitting = split_of(rows_of("a", [1, 1, 2]) + rows_of("b", [3]))
    assert counts(splitting) == {"a": (2, 0, 1, 0), "b": (1, 0, 0, 0)}
    told = [text for text in warnings(splitting) if "no picture in" in text]
    remedy = "add pictures of other vehicles or events"
    assert told == [
        f"a: no picture in calibration: it has 2 groups, 3 are needed; {remedy}",
        f"b: no picture in calibration and test: it has 1 group, 3 are needed; {remedy}",
    ]


def test_another_seed_is_another_split() -> None:
    rows = rows_of("a", [None] * 50)
    first, same, other = (split_of(rows, seed=seed).manifest.table["split"].to_list() for seed in (0, 0, 1))
    assert first == same != other


def test_two_rows_of_one_file_without_group_stay_together() -> None:
    rows = rows_of("a", [None] * 30)
    splitting = split_of([*rows, *rows])
    by_file = splitting.manifest.table.group_by("file_name").agg(pl.col("split").n_unique())
    assert by_file["split"].to_list() == [1] * 30


def test_a_file_named_like_a_group_is_no_part_of_it() -> None:
    splitting = split_of([{"file_name": "g", "label": "a"}, {"file_name": "x", "label": "a", "group": "g"}])
    assert sorted(splitting.manifest.table["split"]) == ["test", "train"]


def test_new_pictures_of_an_old_group_follow_it() -> None:
    rows = rows_of("a", ["old"], split="test") + rows_of("b", ["old", "old", "new"])
    table = split_of(rows).manifest.table
    assert table.filter(pl.col("group") == "old")["split"].to_list() == ["test"] * 3


def test_new_pictures_make_up_for_the_shares_of_old_ones() -> None:
    old = [{**row, "split": "train"} for row in rows_of("a", [None] * 70)]
    new = [{**row, "file_name": f"new-{row['file_name']}"} for row in rows_of("a", [None] * 30)]
    assert counts(split_of(old + new))["a"] == (70, 15, 15, 0)


def test_a_group_that_is_divided_already_is_told_with_its_splits_and_the_remedies() -> None:
    rows = rows_of("a", ["g"], split="train") + rows_of("b", ["g"], split="test")
    with pytest.raises(
        ManifestError, match=r"m\.csv:2: group 'g': is divided between train and test already; .* --reassign"
    ):
        split_of(rows)
    assert divided(split_of(rows, reassign=True)).is_empty()
    for number, row in enumerate(rows):
        row |= {"author": "A", "group": f"g{number}"}
    with pytest.raises(ManifestError, match=r"group 'g0': is divided, with the groups of its authors, between train"):
        split_of(rows, by_author=True)


def test_a_novel_class_goes_to_novel_as_a_whole_and_counts_for_no_share() -> None:
    splitting = split_of(rows_of("a", [None] * 100) + rows_of("b", [None] * 7), novel=frozenset("b"))
    assert counts(splitting) == {"a": (70, 15, 15, 0), "b": (0, 0, 0, 7)}
    assert warnings(splitting) == []


def test_new_pictures_of_a_class_that_is_novel_stay_out_of_training() -> None:
    rows = [*rows_of("b", [None], split="novel"), {"file_name": "new.jpg", "label": "b"}]
    assert counts(split_of(rows))["b"] == (0, 0, 0, 2)


def test_making_all_splits_anew_tells_of_classes_that_were_novel() -> None:
    rows = rows_of("b", [None] * 10, split="novel")
    assert any("b: stood in split novel" in text for text in warnings(split_of(rows, reassign=True)))
    assert counts(split_of(rows, reassign=True, novel=frozenset("b")))["b"] == (0, 0, 0, 10)


def test_a_group_of_a_novel_class_and_another_is_told() -> None:
    rows = rows_of("a", ["g"]) + rows_of("b", ["g"])
    with pytest.raises(ManifestError, match=r"m\.csv:2: group 'g': holds pictures of a novel class and of others"):
        split_of(rows, novel=frozenset("b"))


def test_a_novel_class_that_stands_in_training_is_told() -> None:
    with pytest.raises(ManifestError, match=r"m\.csv:2: group 'b-0\.jpg': stands in split 'train' already; .*reassign"):
        split_of(rows_of("b", [None], split="train"), novel=frozenset("b"))


def test_pictures_of_one_author_stay_together_if_asked() -> None:
    rows = rows_of("a", range(40))
    for number, row in enumerate(rows):
        row["author"] = f"author {number % 10}" if number % 4 else None
    table = split_of(rows, by_author=True).manifest.table
    by_author = table.filter(pl.col("author").is_not_null()).group_by("author").agg(pl.col("split").n_unique())
    assert set(by_author["split"]) == {1}
    assert set(table["split"]) == set(DEFAULT_SHARES)


def test_groups_are_joined_through_authors_and_authors_through_groups() -> None:
    pairs = [("g1", "A"), ("g1", "B"), ("g2", "B"), ("g2", "C"), ("g3", "C"), ("g4", "D")]
    rows: list[Row] = [
        {"file_name": f"{index}.jpg", "label": "a", "group": group, "author": author}
        for index, (group, author) in enumerate(pairs)
    ]
    assert split_of(rows, by_author=True).group.to_list() == [0, 0, 0, 0, 0, 1]


def test_an_author_with_most_pictures_of_a_class_is_told() -> None:
    rows = rows_of("a", [None] * 11, author="A") + rows_of("b", [None] * 10, author="A")
    rows += [{"file_name": f"x{n}.jpg", "label": "a", "author": f"B{n}"} for n in range(10)]
    rows += [{"file_name": f"y{n}.jpg", "label": "b", "author": f"B{n}"} for n in range(10)]
    told = [text for text in warnings(split_of(rows)) if "of its 2" in text]
    assert told == ["a: author 'A' has 11 of its 21 pictures; add pictures of others"]


def test_a_group_with_most_of_the_test_pictures_is_told() -> None:
    rows = rows_of("a", ["train"] * 20, split="train") + [
        {"file_name": f"t{n}", "label": "a", "group": "parade" if n < 3 else f"h{n}", "split": "test"} for n in range(5)
    ]
    told = [text for text in warnings(split_of(rows)) if "test pictures" in text]
    assert told == [
        "a: group 'parade' has 3 of its 5 test pictures; its test figure says little of others; add pictures"
    ]


def test_shares_that_groups_do_not_allow_are_told_with_the_group() -> None:
    (told,) = [text for text in warnings(split_of(rows_of("a", ["g"] * 90 + [None] * 10))) if "for 70" in text]
    assert told.startswith("a: train 90.0% for 70.0%, calibration 5.0% for 15.0%, test 5.0% for 15.0%: group 'g' holds")


def test_a_group_is_blamed_only_where_it_alone_is_too_large() -> None:
    (told,) = [text for text in warnings(split_of(rows_of("a", [1] * 50 + [2] * 50 + [3] * 50))) if "for 70" in text]
    assert "no better way was found to divide its 3 groups, of which the largest holds 50 of 150 pictures" in told


def test_shares_that_old_pictures_do_not_allow_are_told_so() -> None:
    rows = [*rows_of("a", [None] * 100, split="train"), {"file_name": "new", "label": "a"}]
    assert any("its old pictures keep their splits" in text for text in warnings(split_of(rows)))


def test_one_picture_more_or_less_is_no_warning() -> None:
    assert warnings(split_of(rows_of("a", [None] * 15))) == []


def test_the_widest_deviation_in_a_slice_names_class_and_value() -> None:
    rows = rows_of("a", ["g"] * 50, view="front") + [
        {**row, "file_name": f"s{n}"} for n, row in enumerate(rows_of("a", [None] * 50, view="side"))
    ]
    line = widest_in_slice(split_of(rows, slices=("view",)), "view")
    assert line.startswith("slice view: off by 30.0 points at most (class 'a', view 'front', 50 pictures; of 2 with")
    assert "say nothing" in widest_in_slice(split_of(rows_of("a", "xyz", view="front"), slices=("view",)), "view")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train=0.7,test=0.2", "the shares sum to 0.9, not to 1"),
        ("train=0.7,tset=0.3", "'tset' is none of train, calibration, test, did you mean 'test'?"),
        ("train=0.7,novel=0.3", "'novel' is none of .*; whole classes go to novel by --novel"),
        ("train=0.7,train=0.3", "'train' stands twice"),
        ("train=70%,test=30%", "'70%' is no share; write a number above 0"),
        ("train=1,test=0", "'0' is no share; .* leave the split out"),
        ("", "'' is none of"),
    ],
)
def test_wrong_shares_are_told_with_value_and_remedy(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"^--shares {text}: {told}"):
        parse_shares(text)


def test_shares_are_read_in_any_order() -> None:
    assert list(parse_shares(" test=0.25, train = 0.75 ").items()) == [("train", 0.75), ("test", 0.25)]


def test_slices_and_novel_classes_that_are_not_there_are_told_with_the_nearest(tmp_path: Path) -> None:
    manifest = manifest_from_rows(tmp_path / "m.csv", rows_of("tor-m1", "gh", view="front"))
    save_manifest(manifest, manifest.path)
    with pytest.raises(UsageError, match=r"--slice veiw: .*m\.csv has no such column .*did you mean 'view'\?"):
        check_slices(manifest.path, ["veiw"])
    with pytest.raises(UsageError, match=r"--slice group: .* there are: view"):
        check_slices(manifest.path, ["group"])
    with pytest.raises(UsageError, match=r"--novel tor-m2: no picture .*did you mean 'tor-m1'\?"):
        check_can_be_split(manifest, ["tor-m2"])


def test_rows_that_cannot_be_split_are_all_told() -> None:
    manifest = manifest_from_rows(PATH, [{"file_name": "a", "label": None, "split": "tst"}, {"file_name": "a"}])
    with pytest.raises(ManifestError) as caught:
        check_can_be_split(manifest, [])
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "label",
        "label",
        "split 'tst'",
        "file_name 'a'",
    ]


def written(tmp_path: Path, rows: Sequence[Row], name: str = "m.csv") -> Manifest:
    manifest = manifest_from_rows(tmp_path / name, rows)
    save_manifest(manifest, manifest.path)
    return load_manifest(manifest.path)


@pytest.mark.parametrize("name", ["m.csv", "m.parquet", "m.jsonl"])
def test_the_command_fills_in_the_split_and_changes_nothing_else(tmp_path: Path, name: str) -> None:
    rows = rows_of("a", [None] * 20, title='two\nlines, "quoted"', view="front")
    before = written(tmp_path, [{**row, "width": 3, "sha256": f"{n:064}"} for n, row in enumerate(rows)], name)
    done = run_vision("data", "split", before.path, "--slice", "view")
    assert done.returncode == 0, done.stderr
    after = load_manifest(before.path)
    assert after.table.drop("split").equals(before.table.drop("split"))
    assert after.table["split"].value_counts(sort=True)["count"].to_list() == [14, 3, 3]
    assert "m." in done.stdout
    assert "20 rows, 0 of them kept their split" in done.stdout


def test_the_manifest_is_split_though_nobody_reads_what_is_told(tmp_path: Path) -> None:
    manifest = written(tmp_path, rows_of("a", [None] * 20))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vision", "data", "split", str(manifest.path)]
    subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert load_manifest(manifest.path).table["split"].null_count() == 0


def test_a_dry_run_writes_nothing_and_prints_the_table(tmp_path: Path) -> None:
    manifest = written(tmp_path, rows_of("a", [None] * 20))
    before = manifest.path.read_bytes()
    done = run_vision("data", "split", manifest.path, "--dry-run")
    assert manifest.path.read_bytes() == before
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("a ")]
    assert line.split() == ["a", "20", "20", "14", "(70.0%)", "3", "(15.0%)", "3", "(15.0%)", "0.0", "points"]


def test_a_divided_group_is_exit_code_3_and_a_wrong_share_2(tmp_path: Path) -> None:
    rows = rows_of("a", ["g"], split="train") + rows_of("b", ["g"], split="test")
    manifest = written(tmp_path, rows)
    done = run_vision("data", "split", manifest.path)
    assert (done.returncode, "m.csv:2: group 'g'" in done.stderr) == (3, True)
    assert run_vision("data", "split", manifest.path, "--shares", "train=2").returncode == 2


def test_a_copy_in_another_folder_is_warned_of(tmp_path: Path) -> None:
    manifest = written(tmp_path, rows_of("a", [None] * 20))
    done = run_vision("data", "split", manifest.path, "-o", tmp_path / "there" / "m.parquet")
    assert "paths in a manifest are relative to its folder" in done.stderr
    assert load_manifest(tmp_path / "there" / "m.parquet").table["split"].null_count() == 0


def test_a_new_picture_that_would_follow_a_novel_group_while_its_class_is_trained_on_is_refused() -> None:
    rows = rows_of("bmp-2", ["g", "g"], split="novel") + rows_of("buk", ["g", None, None])
    with pytest.raises(ManifestError, match=r"m\.csv:4: label 'buk': comes in split 'novel' with its group 'g'"):
        split_of(rows)
    assert counts(split_of(rows[:3]))["buk"] == (0, 0, 0, 1)  # the whole class, which nobody trains on


def test_one_file_in_two_groups_is_refused_unless_both_stand_in_one_split() -> None:
    rows = [{**row, "sha256": "0" * 64} for row in rows_of("a", ["g", None])]
    message = r"m\.csv:3: sha256 '0+': the same file stands at m\.csv:2 in another group"
    with pytest.raises(ManifestError, match=message):
        split_of(rows)
    with pytest.raises(ManifestError, match=message):
        split_of([{**rows[0], "split": "train"}, {**rows[1], "split": "test"}])
    assert split_of([{**row, "split": "train"} for row in rows]).num_kept == 2
    assert split_of([{**row, "group": "g"} for row in rows]).num_kept == 0


def test_blanks_and_two_spellings_of_a_file_are_refused() -> None:
    rows = rows_of("a", ["ev0", "ev0 "])
    with pytest.raises(ManifestError, match=r"m\.csv:3: group 'ev0 ': begins or ends with a blank"):
        check_can_be_split(manifest_from_rows(PATH, rows), ())
    twice = [{"file_name": name, "label": "a"} for name in ("a.jpg", "./a.jpg")]
    with pytest.raises(ManifestError, match=r"m\.csv:3: file_name './a\.jpg': stands already"):
        check_can_be_split(manifest_from_rows(PATH, twice), ())


def test_another_manifest_is_replaced_only_when_asked(tmp_path: Path) -> None:
    manifest = written(tmp_path, rows_of("a", [None] * 20))
    (tmp_path / "other.csv").write_text("precious")
    refused = run_vision("data", "split", manifest.path, "-o", tmp_path / "other.csv")
    assert (refused.returncode, "use --overwrite" in refused.stderr) == (2, True)
    assert (tmp_path / "other.csv").read_text() == "precious"
    assert run_vision("data", "split", manifest.path, "-o", tmp_path / "other.csv", "--overwrite").returncode == 0
