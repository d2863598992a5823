"""Figures are checked by hand and against plain counting in Python."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision
from hypothesis import given
from hypothesis import strategies as st

from vision.data.licences import LicencePolicy
from vision.data.manifest import Manifest, manifest_from_rows, save_manifest
from vision.data.statistics import statistics
from vision.data.statistics.figures import DataSetStatistics
from vision.data.statistics.findings import findings, largest_labels
from vision.data.statistics.statistics import data_set_statistics
from vision.taxonomy import load_taxonomy

Row = dict[str, str | int | None]
TAXONOMY = load_taxonomy()


def manifest(*rows: Row) -> Manifest:
    return manifest_from_rows(Path("data/m.csv"), rows)


def counted(*rows: Row) -> DataSetStatistics:
    return data_set_statistics(manifest(*rows), TAXONOMY, LicencePolicy.OPEN)


def row(label: str | None = "tor-m1", **others: str | int | None) -> Row:
    return {"file_name": "a.jpg", "label": label, **others}


cells = st.sampled_from([None, "a", "b", "train", "test", "tor-m1", "shilka", "CC0-1.0", "x\ny"])
rows = st.lists(
    st.fixed_dictionaries(
        dict.fromkeys(("label", "split", "group", "author", "licence", "view"), cells)
        | {"file_name": st.just("a.jpg")}
        | {name: st.none() | st.integers(1, 5000) for name in ("width", "height")}
    ),
    max_size=30,
)


@given(rows)
def test_counts_agree_with_counting_row_by_row(listed: list[Row]) -> None:
    s = counted(*listed)
    assert {each.label: each.num_images for each in s.labels} == Counter(each["label"] for each in listed)
    assert {each.licence: each.num_images for each in s.licences} == Counter(each["licence"] for each in listed)
    authors = Counter(each["author"] for each in listed if each["author"])
    assert {each.author: each.num_images for each in s.authors} == authors
    for each in s.labels:
        own = [r for r in listed if r["label"] == each.label]
        groups = Counter(r["group"] for r in own if r["group"])
        assert (each.num_groups, each.num_in_largest_group) == (len(groups), max(groups.values(), default=0))
        assert each.num_without_group == sum(r["group"] is None for r in own)
        of_authors = Counter(r["author"] for r in own if r["author"])
        assert each.num_of_largest_author == max(of_authors.values(), default=0)
        assert sum(each.splits.model_dump().values()) == each.num_images
        assert each.splits.train == sum(r["split"] == "train" for r in own)
        assert each.splits.unknown == sum(r["split"] not in (None, "train", "test") for r in own)


@given(rows)
def test_slices_and_sizes_agree_with_counting_row_by_row(listed: list[Row]) -> None:
    s = counted(*listed)
    for figures in s.slices:
        values = Counter(each["view"] for each in listed if each["view"])
        assert {each.value: each.num_images for each in figures.values} == values
        assert all(sum(each.num_by_label) == each.num_images for each in figures.values)
        assert figures.num_missing == sum(each["view"] is None for each in listed)
    shorter = sorted(min(int(r["width"]), int(r["height"])) for r in listed if r["width"] and r["height"])
    assert s.sizes.num_measured == len(shorter) == sum(each.num_images for each in s.sizes.bins)
    assert s.sizes.num_small == sum(side < 224 for side in shorter)
    for each in s.sizes.bins:
        assert each.num_images == sum(each.from_px <= side < (each.below_px or 10**9) for side in shorter)
    if shorter and s.sizes.shorter_side:
        assert s.sizes.shorter_side.minimum == shorter[0]
        assert s.sizes.shorter_side.median in shorter
    else:
        assert s.sizes.shorter_side is None


def test_an_empty_manifest_has_zeros_and_says_so() -> None:
    s = counted()
    assert (s.num_images, s.labels, s.sizes.width, s.ages.years) == (0, (), None, ())
    assert list(findings(s)) == ["The manifest has no rows."]


def test_classes_stand_in_the_order_of_the_taxonomy_then_labels_outside_it_then_none() -> None:
    s = counted(row(None), row("zebra"), row("t-90"), row("tor-m1"), row("apple"), row("zebra"))
    assert [each.label for each in s.labels] == ["tor-m1", "t-90", "zebra", "apple", None]
    assert [each.label for each in s.outside_taxonomy] == ["zebra", "apple"]
    assert s.unlabelled is not None
    assert s.unlabelled.num_images == 1


def test_classes_without_images_are_listed_with_their_family() -> None:
    s = counted(row("tor-m1"))
    family = next(each for each in s.families if each.family == TAXONOMY.family_id("tor-m1"))
    assert "tor-m2" in family.classes_without_images
    assert "tor-m1" not in family.classes_without_images
    assert len(TAXONOMY.class_ids) == 1 + sum(len(each.classes_without_images) for each in s.families)


def test_years_come_from_the_date_and_only_without_one_from_the_time_of_fetching() -> None:
    s = counted(
        row(date="1999", retrieved_at="2026-01-01T10:00:00Z"),
        row(date="1999-05-03"),
        row(retrieved_at="2026-01-01T10:00:00Z"),
        row(date="about 1990", retrieved_at="2025-02-02"),
        row(date="0200-01-01"),
        row(),
    )
    years = [(each.year, each.num_by_date, each.num_by_retrieval) for each in s.ages.years]
    assert years == [(1999, 2, 0), (2025, 0, 1), (2026, 0, 1)]
    figures = (s.ages.num_dated, s.ages.num_by_retrieval, s.ages.num_without_year, s.ages.num_unreadable_dates)
    assert figures == (2, 2, 2, 2)


def test_quantiles_are_nearest_ranks() -> None:
    s = counted(*(row(width=side, height=10_000) for side in range(100, 201)))
    assert s.sizes.width is not None
    assert list(s.sizes.width.model_dump().values()) == [100, 105, 125, 150, 175, 195, 200]
    assert s.sizes.megapixels is not None
    assert s.sizes.megapixels.maximum == 2.0
    assert s.sizes.num_small == 101


def test_a_refused_licence_has_its_reason_and_is_counted() -> None:
    s = counted(row(licence="CC0-1.0"), row(licence="CC-BY-NC-4.0"), row(), row())
    refused = {each.licence: each.refusal for each in s.licences if each.refusal}
    assert set(refused) == {"CC-BY-NC-4.0", None}
    assert "NC" in str(refused["CC-BY-NC-4.0"])
    assert s.num_images_refused == 3
    assert data_set_statistics(manifest(row()), TAXONOMY, LicencePolicy.ANY).num_images_refused == 0


def test_an_author_who_made_more_than_half_of_a_class_dominates_it() -> None:
    s = counted(*[row(author="A")] * 3, row(author="B"), *[row("shilka", author=name) for name in "AB"], row("t-90"))
    assert [each.label for each in s.dominated] == ["tor-m1"]
    assert any("tor-m1 (75 % by A)" in each for each in findings(s))


def test_a_column_with_too_many_values_is_estimated_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_VALUES_COUNTED", 100)
    s = counted(*(row(description=f"text {number}") for number in range(400)))
    assert s.slices[0].is_estimate
    assert s.slices[0].values == ()
    assert s.slices[0].num_values == pytest.approx(400, rel=0.1)


def test_only_the_most_frequent_values_are_listed_and_the_others_counted() -> None:
    rows_of_slices = [row(view=f"v{number}") for number in range(30) for _ in range(number + 1)]
    figures = data_set_statistics(manifest(*rows_of_slices), TAXONOMY, LicencePolicy.OPEN, max_slice_values=2).slices[0]
    assert [(each.value, each.num_images) for each in figures.values] == [("v29", 30), ("v28", 29)]
    assert (figures.num_values, figures.num_in_other_values) == (30, 465 - 59)


def test_labels_of_a_slice_are_told_from_the_largest_on() -> None:
    s = counted(row("tor-m1", view="x"), *[row("shilka", view="x")] * 2, row(None, view="x"))
    assert largest_labels(s.slices[0].values[0], s.labels) == "shilka 2, tor-m1 1, no label 1"
    assert largest_labels(s.slices[0].values[0], s.labels, most=1) == "shilka 2, 2 others"


def test_a_slice_may_have_the_name_of_a_figure() -> None:
    assert [each.column for each in counted(row(value="1", num_images="2", len="3")).slices] == [
        "value",
        "num_images",
        "len",
    ]


def test_classes_missing_from_a_split_are_told() -> None:
    told = "\n".join(findings(counted(row(split="train"), row("shilka", split="test"), row("t-90", split="tset"))))
    assert "Nothing in split 'test' of tor-m1." in told
    assert "Nothing in split 'train' of shilka, but in 'test'." in told
    assert "'tset'" in told


def test_gaps_are_counted_in_every_column() -> None:
    gaps = {each.column: each.num_missing for each in counted(row(view="x"), row()).columns}
    assert (gaps["label"], gaps["view"], gaps["author"]) == (0, 1, 2)


def test_a_hundred_thousand_rows_are_counted_without_a_loop_over_rows() -> None:
    table = pl.concat([manifest(row(author="A", group="g"), row("shilka", split="test")).table] * 50_000)
    s = data_set_statistics(Manifest(Path("m.parquet"), table), TAXONOMY, LicencePolicy.OPEN)
    assert {each.label: each.num_images for each in s.labels} == {"tor-m1": 50_000, "shilka": 50_000}


def stats(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_vision("data", "stats", *arguments)


def test_the_command_prints_tables_and_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    save_manifest(manifest_from_rows(path, [row(split="train", author="\x1b[31mRed[bold]"), row(None)]), path)
    done = stats(path, "-o", tmp_path / "stats.json")
    assert done.returncode == 0, done.stderr
    assert "tor-m1" in done.stdout
    assert "no images of" in done.stdout
    assert "\x1b" not in done.stdout
    assert "[bold]" in done.stdout
    written = DataSetStatistics.model_validate_json((tmp_path / "stats.json").read_text(encoding="utf-8"))
    assert written.num_images == 2
    assert json.loads((tmp_path / "stats.json").read_text(encoding="utf-8"))["labels"][1]["label"] is None


def test_the_command_takes_an_empty_manifest_and_names_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file_name,label\n", encoding="utf-8")
    done = stats(tmp_path / "m.csv")
    assert (done.returncode, "The manifest has no rows." in done.stdout) == (0, True)
    missing = stats(tmp_path / "n.csv")
    assert missing.returncode == 3
    assert "n.csv: no such file" in missing.stderr


def test_options_of_the_page_without_a_page_are_refused(tmp_path: Path) -> None:
    done = stats(tmp_path / "m.csv", "--seed", "3")
    assert done.returncode == 2
    assert "--page DIR" in done.stderr


def test_groups_that_stand_in_several_splits_are_told() -> None:
    told = counted(row(group="g", split="train"), row(group="g", split="test"), row(group="h", split="test"))
    assert told.num_divided_groups == 1
    assert any("1 group stands in several splits" in sentence for sentence in findings(told))
    assert not any("several splits" in sentence for sentence in findings(counted(row(group="g", split="test"))))
