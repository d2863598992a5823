"""Every kind of problem, with place, column, value and remedy; pictures and manifests are made here."""

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import run_vision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vision.data.check import (
    FileFacts,
    check_labelled_table,
    check_table,
    find_file_problems,
    find_manifest_problems,
    read_file_facts,
    with_file_facts,
)
from vision.data.licences import LicencePolicy
from vision.data.manifest import (
    MOST_LISTED_ROWS,
    Manifest,
    load_manifest,
    manifest_from_rows,
    parse_box,
    save_manifest,
)
from vision.errors import LicenceError, ManifestError
from vision.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "version": 1,
        "roles": [{"id": "missile", "name": "Missile"}],
        "families": [{"id": "tor-family", "role": "missile", "name": "Tor"}],
        "classes": [
            {"id": "tor-m1", "family": "tor-family", "names": ["Tor-M1"]},
            {"id": "tor-m2", "family": "tor-family", "names": ["Tor-M2"]},
            {"id": "tor", "family": "tor-family", "names": ["Tor"], "covers": ["tor-m1", "tor-m2"]},
        ],
    }
)
Row = dict[str, str | int | None]


def row(name: str, **changes: str | int | None) -> Row:
    return {"file_name": name, "label": "tor-m1", "split": "train", "licence": "CC-BY-4.0", **changes}


def manifest_of(tmp_path: Path, *rows: Row) -> Manifest:
    """A manifest as it is read from a file, so that its places are lines of that file."""
    manifest = manifest_from_rows(tmp_path / "m.csv", rows)
    save_manifest(manifest, manifest.path)
    return load_manifest(manifest.path)


def table_problems(manifest: Manifest, policy: LicencePolicy = LicencePolicy.OPEN, **options: Any) -> list[str]:
    problems = find_manifest_problems(manifest, TAXONOMY, policy, **{"min_images": 1, **options})
    return [str(problem).replace(f"{manifest.folder}/", "") for problem in problems]


def file_problems(manifest: Manifest) -> list[str]:
    problems = find_file_problems(manifest, read_file_facts(manifest))
    return [str(problem).replace(f"{manifest.folder}/", "") for problem in problems]


def draw(tmp_path: Path, name: str, shade: int = 0, size: tuple[int, int] = (30, 20)) -> str:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_clean_data_set_has_no_problem(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "images/a.png", 1)
    draw(tmp_path, "images/b.png", 2)
    manifest = manifest_of(
        tmp_path,
        row("images/a.png", sha256=sha256, width=30, height=20, box="0 0 30 20", group="g1"),
        row("images/b.png", split="test", group="g2"),
    )
    assert table_problems(manifest) == []
    assert file_problems(manifest) == []


def test_empty_cells_that_every_row_needs_are_told(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", label=None), row("", label="tor-m1"))
    assert table_problems(manifest) == [
        "m.csv:4: file_name: is empty; every row needs one",
        "m.csv:3: label: is empty; every row needs one",
    ]


def test_a_row_with_an_unknown_label_names_line_value_and_nearest_class(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", label="tor-n1"))
    assert table_problems(manifest) == ["m.csv:3: label 'tor-n1': not a class of the taxonomy, did you mean 'tor-m1'?"]


def test_an_unknown_label_near_no_class_names_where_the_classes_stand(tmp_path: Path) -> None:
    (problem,) = table_problems(manifest_of(tmp_path, row("a.png", label="zebra")))
    assert problem.startswith("m.csv:2: label 'zebra': not a class of the taxonomy; see `vision taxonomy`")


def test_an_unknown_split_names_the_nearest_and_all_splits(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", split="trian"))
    assert table_problems(manifest) == [
        "m.csv:3: split 'trian': not a split, did you mean 'train'?; splits are train, calibration, test, novel, "
        "or empty"
    ]


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "x/../../a.png", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"]
)
def test_a_path_that_leaves_the_folder_is_told_with_the_remedy(tmp_path: Path, name: str) -> None:
    assert table_problems(manifest_of(tmp_path, row(name))) == [
        f"m.csv:2: file_name '{name}': leaves the manifest's folder; put the picture beneath it and write the path "
        "relative to it"
    ]


@pytest.mark.parametrize("name", ["a..b.png", "..a.png", "x/y.png", "./a.png"])
def test_dots_in_a_name_are_no_way_out(tmp_path: Path, name: str) -> None:
    assert table_problems(manifest_of(tmp_path, row(name))) == []


def test_a_repeated_row_names_both_lines(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png"), row("a.png"), row("a.png"))
    assert table_problems(manifest) == [
        f"m.csv:{line}: file_name 'a.png': stands already at m.csv:2; keep one of the rows" for line in (4, 5)
    ]


@pytest.mark.parametrize("box", ["1 2 3", "1,2,3,4", "0 0 0 5", "0 0 5 -1", "nan 0 5 5"])
def test_a_wrong_box_is_told_with_the_right_form(tmp_path: Path, box: str) -> None:
    (problem,) = table_problems(manifest_of(tmp_path, row("a.png", box=box)))
    assert problem.startswith(f"m.csv:2: box '{box}': not 'x y width height' in px (")


def test_a_refused_licence_is_told_and_marked_as_one(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", licence="CC-BY-NC-4.0"), row("c.png", licence=None))
    problems = find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in problems] == [
        "m.csv:3: licence 'CC-BY-NC-4.0': no commercial use (NC); the policy 'open' does not allow it",
        "m.csv:4: licence: licence is missing; state its SPDX id or leave the picture out",
    ]
    assert all(problem.is_licence for problem in problems)


def test_the_policy_any_refuses_no_licence(tmp_path: Path) -> None:
    assert table_problems(manifest_of(tmp_path, row("a.png", licence=None)), LicencePolicy.ANY) == []


def test_a_group_in_two_splits_is_told_once(tmp_path: Path) -> None:
    manifest = manifest_of(
        tmp_path, row("a.png", group="g"), row("b.png", group="g", split="test"), row("c.png", group="h", split=None)
    )
    assert table_problems(manifest) == [
        "m.csv:2: group 'g': is divided between test and train; a group stays in one split, or the test figure is "
        "flattered"
    ]


def test_a_group_partly_without_split_is_divided(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png", group="g"), row("b.png", group="g", split=None))
    (problem,) = table_problems(manifest)
    assert "m.csv:2: group 'g': is divided between (no split) and train" in problem


def test_a_class_with_too_few_pictures_to_train_on_is_told_with_counts(tmp_path: Path) -> None:
    rows = [row("a.png"), row("b.png", split=None), row("c.png", split="test"), row("d.png", split="calibration")]
    assert table_problems(manifest_of(tmp_path, *rows), min_images=3) == [
        "m.csv: label 'tor-m1': has 2 pictures to train on, needs 3; add some, drop the class, or lower the minimum"
    ]
    assert table_problems(manifest_of(tmp_path, *rows), min_images=2) == []


def test_a_class_that_only_the_test_split_has_is_told(tmp_path: Path) -> None:
    (problem,) = table_problems(manifest_of(tmp_path, row("a.png"), row("b.png", label="tor-m2", split="test")))
    assert problem.startswith("m.csv: label 'tor-m2': has 0 pictures to train on, needs 1")


def test_a_class_of_the_novel_split_needs_no_picture_to_train_on(tmp_path: Path) -> None:
    assert table_problems(manifest_of(tmp_path, row("a.png"), row("b.png", label="tor-m2", split="novel"))) == []


def test_a_class_beside_a_class_that_it_covers_is_a_warning(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", label="tor"))
    (problem,) = find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert problem.is_warning
    assert (
        str(problem)
        .replace(f"{tmp_path}/", "")
        .startswith("m.csv: label 'tor': stands for tor-m1, tor-m2, and tor-m1 is there too; relabel one side")
    )


def test_all_problems_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    manifest = manifest_of(
        tmp_path,
        row("a.png", label=None),
        row("b.png", label="tor-n1", split="tst", group="g"),
        row("../c.png", licence="MIT", group="g", box="1 2"),
        row("d.png", label="tor"),
        row("d.png"),
    )
    kinds = [problem.kind for problem in find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=2)]
    assert kinds == [
        "empty value",
        "unknown label",
        "unknown split",
        "path leaves folder",
        "repeated row",
        "wrong box",
        "licence",
        "divided group",
        "small class",
        "small class",
        "overlapping classes",
    ]


def test_check_table_raises_with_every_fault_but_no_warning(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png", licence="MIT"), row("b.png", label="tor", split="tst"), row("c.png"))
    with pytest.raises(ManifestError) as caught:
        check_table(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=0)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["split 'tst'", "licence 'MIT'"]


def test_check_table_raises_a_licence_error_when_only_licences_are_at_fault(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png", licence="MIT"), row("b.png"))
    with pytest.raises(LicenceError, match=r"m\.csv:2: licence 'MIT': .*the policy 'open' does not allow it"):
        check_table(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)


def test_check_table_returns_warnings_when_nothing_worse_is_wrong(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png", label="tor"))
    warnings = check_table(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert [problem.kind for problem in warnings] == ["overlapping classes"]


def test_a_manifest_to_judge_by_need_not_have_licences_or_many_pictures(tmp_path: Path) -> None:
    check_labelled_table(manifest_of(tmp_path, row("a.png", licence="CC-BY-NC-4.0")), TAXONOMY)


def test_a_manifest_to_judge_by_is_refused_with_all_its_faults(tmp_path: Path) -> None:
    rows = [row("../a.png"), row("b.png", label="zebra"), row("c.png", box="1 2 3"), row("d.png", split="tset")]
    with pytest.raises(ManifestError) as caught:
        check_labelled_table(manifest_of(tmp_path, *rows), TAXONOMY)
    assert len(str(caught.value).splitlines()) == 4


def test_a_novel_class_that_is_also_trained_on_is_a_problem(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("a.png", split="train"), row("b.png", split="novel"))
    problems = find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert [problem.kind for problem in problems] == ["novel class in training"]
    assert problems[0].place.endswith(":3")


def test_facts_are_digest_and_upright_size_in_row_order(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    sha256 = draw(tmp_path, "a.png")
    turned, straight = read_file_facts(manifest_of(tmp_path, row("turned.jpg"), row("a.png")))
    assert (turned.width, turned.height, turned.fault) == (20, 30, "")
    assert straight == FileFacts(sha256, 30, 20, "")


def test_more_rows_than_one_batch_keep_their_order_and_report_progress(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    rows = [row("a.png" if number % 50 == 0 else f"{number}.png") for number in range(300)]
    seen: list[None] = []
    facts = read_file_facts(manifest_of(tmp_path, *rows), on_progress=lambda: seen.append(None))
    assert [number for number, fact in enumerate(facts) if not fact.fault] == [0, 50, 100, 150, 200, 250]
    assert len(seen) == 300


def test_unusable_files_are_told_with_their_fault(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    manifest = manifest_of(tmp_path, *[row(name) for name in ("gone.png", "empty.png", "text.png", "folder.png", "")])
    problems = file_problems(manifest)
    assert problems[0] == "m.csv:2: file_name 'gone.png': no such file"
    assert problems[1] == "m.csv:3: file_name 'empty.png': the file is empty (0 bytes)"
    assert problems[2].startswith("m.csv:4: file_name 'text.png': not a picture in a format that is read (")
    assert problems[3] == "m.csv:5: file_name 'folder.png': a folder"
    assert problems[4] == "m.csv:6: file_name: is empty; every row needs one"


def test_a_link_that_leads_outside_the_folder_is_told(tmp_path: Path) -> None:
    draw(tmp_path, "outside/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").symlink_to(tmp_path / "outside" / "a.png")
    assert file_problems(manifest_of(tmp_path / "set", row("a.png"))) == [
        "m.csv:2: file_name 'a.png': leads outside the manifest's folder; copy the file beneath it"
    ]


def test_a_loop_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    (problem,) = file_problems(manifest_of(tmp_path, row("a.png")))
    assert problem.startswith("m.csv:2: file_name 'a.png': ")


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5000 + ".png"], ids=["nul", "too long"])
def test_an_impossible_file_name_is_told(tmp_path: Path, name: str) -> None:
    manifest = manifest_from_rows(tmp_path / "m.jsonl", [row(name)])
    (fact,) = read_file_facts(manifest)
    assert fact.fault


def test_another_digest_is_told_with_the_files_own(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png", sha256="0" * 64))) == [
        f"m.csv:2: sha256 '{'0' * 64}': the file's digest is {sha256}; get the file that was meant, or empty the cell "
        "and use --fix"
    ]


def test_a_digest_may_be_written_in_upper_case(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png", sha256=sha256.upper()))) == []


def test_another_size_is_told_for_each_side(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png", width=20, height=30))) == [
        "m.csv:2: width '20': the upright picture has 30 px",
        "m.csv:2: height '30': the upright picture has 20 px",
    ]


@pytest.mark.parametrize("box", ["0 0 31 20", "0 0 30 21", "-1 0 5 5", "0 -0.5 5 5"])
def test_a_box_that_reaches_outside_is_told_with_the_pictures_size(tmp_path: Path, box: str) -> None:
    draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png", box=box))) == [
        f"m.csv:2: box '{box}': reaches outside the picture of 30 x 20 px"
    ]


def test_a_box_that_is_none_is_left_to_the_rules_of_the_table(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png", box="1 2"))) == []


def test_equal_pictures_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path, name)
    assert file_problems(manifest_of(tmp_path, row("a.png"), row("b.png", split="test"))) == [
        "m.csv:3: file_name 'b.png': the same picture stands at m.csv:2 in split 'train', here 'test': a leak; keep one"
    ]


def test_equal_pictures_with_two_labels_are_a_contradiction(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path, name)
    assert file_problems(manifest_of(tmp_path, row("a.png"), row("b.png", label="tor-m2", split="test"))) == [
        "m.csv:3: file_name 'b.png': the same picture stands at m.csv:2 labelled 'tor-m1', here 'tor-m2'; one of them "
        "is wrong"
    ]


def test_equal_pictures_of_one_label_and_split_are_a_warning(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path, name)
    manifest = manifest_of(tmp_path, row("a.png"), row("b.png"))
    (problem,) = find_file_problems(manifest, read_file_facts(manifest))
    assert problem.is_warning
    assert problem.message == f"the same picture stands at {tmp_path}/m.csv:2; keep one, it counts twice"


def test_one_file_in_two_rows_is_left_to_the_rules_of_the_table(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    assert file_problems(manifest_of(tmp_path, row("a.png"), row("a.png", split="test"))) == []


def test_unusable_files_are_not_equal_to_each_other(tmp_path: Path) -> None:
    problems = file_problems(manifest_of(tmp_path, row("a.png"), row("b.png", split="test")))
    assert [problem.rsplit(": ", 1)[1] for problem in problems] == ["no such file"] * 2


def test_filling_in_gives_the_missing_facts(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "a.png")
    manifest = manifest_of(tmp_path, row("a.png"))
    filled = with_file_facts(manifest, read_file_facts(manifest)).table
    assert filled.select("sha256", "width", "height").rows() == [(sha256, 30, 20)]


def test_filling_in_never_overwrites_a_cell_even_a_wrong_one(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "a.png")
    draw(tmp_path, "b.png", 9)
    manifest = manifest_of(tmp_path, row("a.png", width=7), row("b.png", sha256="f" * 64, height=8))
    filled = with_file_facts(manifest, read_file_facts(manifest)).table
    assert filled.select("sha256", "width", "height").rows() == [(sha256, 7, 20), ("f" * 64, 30, 8)]


def test_filling_in_leaves_the_cells_of_unusable_files_empty(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, row("gone.png"))
    filled = with_file_facts(manifest, read_file_facts(manifest)).table
    assert filled.select("sha256", "width", "height").rows() == [(None, None, None)]


def test_filling_in_changes_no_other_column_and_not_the_first_manifest(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    manifest = manifest_of(tmp_path, row("a.png", title="T", view="front"))
    filled = with_file_facts(manifest, read_file_facts(manifest))
    others = [name for name in manifest.table.columns if name not in ("sha256", "width", "height")]
    assert filled.table.columns == manifest.table.columns
    assert filled.table.select(others).equals(manifest.table.select(others))
    assert manifest.table["sha256"].to_list() == [None]


def test_a_filled_in_manifest_has_no_file_problem_after_saving(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    manifest = manifest_of(tmp_path, row("a.png"))
    save_manifest(with_file_facts(manifest, read_file_facts(manifest)), manifest.path)
    assert file_problems(load_manifest(manifest.path)) == []


NUMBERS = st.sampled_from(
    ["0", "1", "-1", "+2", "3.5", ".5", "0.0", "00.10", "1e3", "nan", "inf", "1_0", "", "9" * 400]
)


@given(st.lists(NUMBERS, min_size=3, max_size=5), st.sampled_from([" ", "  ", "\t", ",", "\u2003"]))
def test_the_rule_about_boxes_refuses_what_cannot_be_parsed_and_nothing_else(numbers: list[str], space: str) -> None:
    box = space.join(numbers)
    try:
        parse_box(box)
        expected = []
    except ValueError:
        expected = ["wrong box"] if box else []
    manifest = manifest_from_rows(Path("m.csv"), [row("a.png", box=box)])
    problems = find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert [problem.kind for problem in problems] == expected


def wrong_in_every_row(num_rows: int) -> Manifest:
    """A table of which every row breaks every rule that a row can break, but for empty values."""
    number = pl.int_range(num_rows, eager=True)
    table = manifest_from_rows(Path("m.parquet"), [row("", title="x")] * num_rows).table.with_columns(
        file_name=pl.format("../{}.png", number // 2),
        label=pl.format("zebra-{}", number),
        split=pl.when(number % 2 == 0).then(pl.lit("trian")).otherwise(pl.lit("tset")),
        group=pl.format("g{}", number // 2),
        licence=pl.lit("CC-BY-NC-4.0"),
        box=pl.lit("1 2 3"),
    )
    return Manifest(Path("m.parquet"), table)


def test_of_a_table_that_is_wrong_throughout_each_rule_lists_some_rows_and_counts_all() -> None:
    num_rows = 2 * MOST_LISTED_ROWS + 200
    problems = find_manifest_problems(wrong_in_every_row(num_rows), TAXONOMY, LicencePolicy.OPEN)
    counts: dict[str, int] = {}
    for problem in problems:
        counts[problem.kind] = counts.get(problem.kind, 0) + problem.num_rows
    every_second = {"repeated row", "divided group"}
    kinds = {"unknown label", "unknown split", "path leaves folder", "wrong box", "licence", "small class"}
    assert counts == dict.fromkeys(kinds, num_rows) | dict.fromkeys(every_second, num_rows // 2)
    assert len(problems) == len(counts) * (MOST_LISTED_ROWS + 1)
    assert (
        str(problems[MOST_LISTED_ROWS])
        == f"m.parquet: label: {num_rows - MOST_LISTED_ROWS:,} more rows have the same fault"
    )


def test_a_novel_class_in_training_counts_every_row_of_it() -> None:
    rows = [row(f"{number}.png", split="novel") for number in range(MOST_LISTED_ROWS + 5)]
    manifest = manifest_from_rows(Path("m.parquet"), [*rows, row("x.png")])
    problems = find_manifest_problems(manifest, TAXONOMY, LicencePolicy.OPEN, min_images=1)
    assert sum(problem.num_rows for problem in problems) == MOST_LISTED_ROWS + 5
    assert {problem.kind for problem in problems} == {"novel class in training"}


def test_the_command_counts_rows_that_it_does_not_list(tmp_path: Path) -> None:
    manifest = wrong_in_every_row(2 * MOST_LISTED_ROWS)
    save_manifest(manifest, tmp_path / "m.parquet")
    done = run_vision("data", "check", tmp_path / "m.parquet", "--skip-files")
    assert done.returncode == 3
    assert done.stdout.count("not 'x y width height'") == 50
    assert f"... and {2 * MOST_LISTED_ROWS - 50} more of kind 'wrong box'" in done.stdout
    assert f"{2 * MOST_LISTED_ROWS} wrong box" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("other", ["./a.png", ".//a.png", "././a.png"])
def test_one_file_under_two_spellings_is_a_repeated_row(tmp_path: Path, other: str) -> None:
    manifest = manifest_of(tmp_path, row("a.png"), row(other, split="test"))
    assert table_problems(manifest) == [
        f"m.csv:3: file_name '{other}': stands already at m.csv:2 as 'a.png'; keep one of the rows"
    ]
    assert len(table_problems(manifest_of(tmp_path, row("x/a.png"), row("x/./a.png"), row("x//a.png")))) == 2


def test_equal_digests_in_two_splits_are_a_leak_without_opening_a_file(tmp_path: Path) -> None:
    rows = [row("a.png", sha256="AB" * 32), row("b.png", sha256="ab" * 32, split="test"), row("c.png", split="test")]
    (problem,) = table_problems(manifest_of(tmp_path, *rows))
    assert problem.startswith("m.csv:3: sha256 'abab")
    assert "the same file stands at m.csv:2 in split 'train', here in 'test': a leak" in problem
    assert table_problems(manifest_of(tmp_path, rows[0], {**rows[1], "split": "train"})) == []


def test_a_leak_that_the_digests_tell_is_not_told_again_by_the_files(tmp_path: Path) -> None:
    sha256 = draw(tmp_path, "a.png", 1)
    draw(tmp_path, "b.png", 1)
    rows = [row("a.png", sha256=sha256), row("b.png", sha256=sha256, split="test")]
    assert file_problems(manifest_of(tmp_path, *rows)) == []
    assert len(file_problems(manifest_of(tmp_path, rows[0], {**rows[1], "sha256": None}))) == 1


@pytest.mark.parametrize("column", ["group", "file_name", "label", "split"])
def test_a_value_that_ends_in_a_blank_is_told(tmp_path: Path, column: str) -> None:
    rows = [row("a.png", group="ev0"), row("b.png", group="ev0")]
    told = table_problems(manifest_of(tmp_path, rows[0], {**rows[1], column: f"{rows[1][column]} "}))
    assert f"m.csv:3: {column} '{rows[1][column]} ': begins or ends with a blank" in told[0]


def test_a_manifest_without_rows_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file_name,label\n")
    assert table_problems(load_manifest(tmp_path / "m.csv")) == ["m.csv: has no rows; add a line for each picture"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_fix_keeps_order_types_and_empty_columns(tmp_path: Path, ending: str) -> None:
    sha256 = draw(tmp_path, "a.png", 1)
    path = tmp_path / f"m.{ending}"
    before = pl.DataFrame(
        {"empty": [None], "night": [True], "angle": [2.50], "label": ["tor-m1"], "file_name": ["a.png"]},
        schema_overrides={"empty": pl.String},
    )
    {"csv": before.write_csv, "parquet": before.write_parquet, "jsonl": before.write_ndjson}[ending](path)
    assert "filled in 3 cells" in run_vision("data", "check", path, "--fix").stderr
    after = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[ending](path)
    assert after.select(before.columns).equals(before)
    assert [name for name in after.columns if name in before.columns] == before.columns
    assert after.select("sha256", "width", "height").row(0) == (sha256, 30, 20)


def test_fix_writes_nothing_where_a_column_is_at_fault(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", 1)
    text = "file_name,label,width\na.png,tor-m1,wide\n"
    (tmp_path / "m.csv").write_text(text)
    assert "nothing filled in" in run_vision("data", "check", tmp_path / "m.csv", "--fix").stderr
    assert (tmp_path / "m.csv").read_text() == text
