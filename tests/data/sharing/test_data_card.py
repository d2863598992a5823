from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import yaml
from command_line import run_vision

from vision.data.manifest import Manifest, manifest_from_rows, save_manifest
from vision.data.sharing.data_card import (
    OVERWRITTEN_BY_FETCH,
    class_figures,
    fetched_lines,
    front_matter,
    left_out_lines,
    render_data_card,
    renewed_card,
    stale_keys,
)
from vision.data.sharing.data_set_facts import DataSetFacts, check_facts, citation, latest_date, stated_facts
from vision.data.sharing.licence_duties import summarise_duties
from vision.errors import OutputError, UsageError
from vision.taxonomy import Taxonomy, load_taxonomy

FACTS = DataSetFacts("Two vehicles", "Drawn for a test.", creators=("A. Person",), date_published="2026-01-02")


@cache
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def manifest(folder: Path = Path(), num: int = 8, **changed: str | int | None) -> Manifest:
    rows: list[dict[str, str | int | None]] = [
        {
            "file_name": f"images/{n}.png",
            "label": "buk" if n % 2 else "shilka",
            "split": "train" if n < 6 else "test",
            "group": f"g{n}",
            "author": "One | Two" if n % 2 else f"Author {n}",
            "licence": "CC-BY-SA-4.0" if n else "CC-BY-1.0",
            "source_url": "https://commons.wikimedia.org/wiki/File:X",
            "retrieved_at": f"2026-03-0{n % 8 + 1}T10:00:00Z",
            "view": "side",
        }
        | changed
        for n in range(num)
    ]
    return manifest_from_rows(folder / "manifest.csv", rows)


def card(of: Manifest | None = None) -> str:
    return render_data_card(of or manifest(), taxonomy(), FACTS)


def test_the_card_counts_pictures_groups_and_authors_of_every_class_and_split() -> None:
    lines = card().splitlines()
    assert "8 pictures of 2 classes, in 8 groups" in card()
    assert "| class | name | pictures | train | test | groups | authors |" in lines
    assert any(line.startswith("| shilka | Shilka | 4 | 3 | 1 | 4 | 4 |") for line in lines)
    assert any(line.startswith("| buk | ") and line.endswith("| 4 | 3 | 1 | 4 | 1 |") for line in lines)


def test_pictures_without_a_group_are_groups_of_their_own() -> None:
    figures = class_figures(manifest(group=None).table, taxonomy())
    assert [(each.class_id, each.num_groups) for each in figures] == [("shilka", 4), ("buk", 4)]


def test_limits_name_scarce_groups_and_a_dominant_author() -> None:
    text = card()
    assert "Fewer than 5 groups, too few to judge by: shilka (4), buk (4)." in text
    assert r"100% of buk is by one author, One \| Two" in text
    assert "of shilka is by one author" not in text


def test_missing_groups_splits_and_licences_are_limits() -> None:
    text = card(manifest(group=None, split=None, licence=None))
    assert "8 of 8 pictures have no group" in text
    assert "It has no splits" in text
    assert "8 pictures have no licence that is known here" in text


def test_licences_stand_with_duties_and_the_place_that_says_so() -> None:
    text = card()
    assert "- give an edited copy the same licence, or one that it allows: 7" in text
    assert "| CC-BY-SA-4.0 | 7 | sections 3(a) and 3(b): https://creativecommons.org" in text
    assert "no legal advice" in text


def test_the_front_matter_is_what_hugging_face_reads() -> None:
    values = yaml.safe_load(card().split("---\n")[1])
    assert values["license"] == ["cc-by-sa-4.0", "other"]  # Hugging Face has no name for CC-BY-1.0
    assert values["license_link"] == "ATTRIBUTION.md"
    assert (values["task_categories"], values["size_categories"]) == (["image-classification"], ["n<1K"])


def test_sizes_beyond_a_thousand_have_their_category() -> None:
    summary = summarise_duties(manifest(num=1000).table)
    assert yaml.safe_load(front_matter("x", summary).strip("-\n"))["size_categories"] == ["1K<n<10K"]


def test_the_card_tells_from_which_queries_pictures_were_fetched(tmp_path: Path) -> None:
    def line(path: str, query: str, at: str) -> str:
        return json.dumps({"path": path, "query": query, "at": at, "picture": {"source": "commons"}}) + "\n"

    there = [line("images/1.png", "category Buk", "2026-03-01T10:00:00Z"), line("", "left out", "2026-01-01")]
    again = line("images/1.png", "search buk", "2026-03-02T10:00:00Z")
    (tmp_path / "fetched.jsonl").write_text("".join([*there, again]) + '{"path": "images/2.p')
    assert fetched_lines(manifest(tmp_path)) == ["- commons search buk: 1", "- between 2026-03-02 and 2026-03-02"]
    assert fetched_lines(manifest(tmp_path / "elsewhere")) == []


def test_text_around_the_figures_is_kept_when_they_are_renewed(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card().replace("Drawn for a test.", "Mine.") + "\n## Notes\n\nKeep me.\n")
    renewed = renewed_card(path, card(manifest(num=6)), overwrite=False)
    assert "6 pictures of 2 classes" in renewed
    assert "8 pictures of 2 classes" not in renewed
    assert "Mine." in renewed
    assert renewed.endswith("Keep me.\n")


def test_an_edit_among_the_figures_is_never_lost_silently(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card().replace("8 pictures of", "eight pictures of"))
    with pytest.raises(OutputError, match=r"README\.md: what `vision data card` wrote was edited"):
        renewed_card(path, card(), overwrite=False)
    assert renewed_card(path, card(), overwrite=True) == card()


def test_a_card_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# My data\n")
    with pytest.raises(OutputError, match="not a card of `vision data card`; use --overwrite"):
        renewed_card(path, card(), overwrite=False)


def test_a_card_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(OutputError, match=r"README\.md: cannot be read as UTF-8"):
        renewed_card(path, card(), overwrite=False)


def test_a_card_that_fetching_wrote_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# x\n\n8 pictures, {OVERWRITTEN_BY_FETCH}.\n")
    assert renewed_card(path, card(), overwrite=False) == card()


def test_the_card_tells_what_fetching_left_out_and_a_review_dropped(tmp_path: Path) -> None:
    columns = "class_id,kind,licence,licence_stated"
    rows = "buk,licence,CC-BY-NC-2.0,CC BY-NC 2.0\nshilka,licence,unknown,Public domain\nbuk,too small,CC0-1.0,CC0"
    (tmp_path / "left_out.csv").write_text(f"{columns}\n{rows}\n")
    (tmp_path / "m-dropped.csv").write_text("file_name,label,dropped_because,review_note\na.jpg,buk,wreck,\n")
    of = manifest(tmp_path)
    text = card(Manifest(tmp_path / "m.csv", of.table))
    assert "| licence | 2 | buk 1, shilka 1 |" in text
    assert 'Licences that kept files out: CC-BY-NC-2.0 1, "Public domain" 1.' in text
    assert "A review dropped 1 pictures, named in `m-dropped.csv`: wreck 1." in text


@pytest.mark.parametrize("content", ["", "picture,place,label,reason\n", "\0"])
def test_a_table_that_says_nothing_of_what_was_left_out_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "left_out.csv").write_text(content)
    assert left_out_lines(Manifest(tmp_path / "m.csv", manifest().table)) == []


def test_front_matter_that_no_longer_fits_is_told(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card())
    assert stale_keys(path, card()) == []
    assert stale_keys(path, card(manifest(licence="CC0-1.0"))) == ["license"]
    path.write_text("---\n: [\n---\n")
    assert stale_keys(path, card()) == ["license", "size_categories"]


def test_the_card_is_the_same_for_the_same_data() -> None:
    assert card() == card()


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (DataSetFacts("x", "y", version="1"), "--version '1'"),
        (DataSetFacts("x", "y", date_published="2026-02-30"), "--date '2026-02-30'"),
        (DataSetFacts("x", "y", url="file:///home"), "--url 'file:///home'"),
        (DataSetFacts("x", "y", url="http://localhost:8000/x"), "--url 'http://localhost"),
    ],
)
def test_facts_that_cannot_be_published_are_refused(facts: DataSetFacts, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_facts(facts)


def test_the_date_is_the_latest_day_that_a_picture_was_retrieved() -> None:
    assert latest_date(manifest().table) == "2026-03-08"
    assert latest_date(manifest(retrieved_at="last week").table) == ""


def test_a_citation_has_what_is_known() -> None:
    assert citation(FACTS) == (
        "@misc{two-vehicles, title = {Two vehicles}, author = {{A. Person}}, year = {2026}, version = {1.0.0}}"
    )
    assert "author" not in citation(DataSetFacts("***", "y"))


def test_the_command_writes_a_card_beside_the_manifest(tmp_path: Path) -> None:
    there = manifest(tmp_path)
    save_manifest(there, there.path)
    done = run_vision("data", "card", there.path, "--name", "Mine")
    assert done.returncode == 0, done.stderr
    assert "# Mine\n" in (tmp_path / "README.md").read_text()
    again = run_vision("data", "card", there.path)
    assert "figures renewed, the rest kept" in again.stdout
    assert "# Mine\n" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text(f"# x\n\n8 pictures, {OVERWRITTEN_BY_FETCH}.\n")
    anew = run_vision("data", "card", there.path)
    assert "written in the place of the card of `vision data fetch`" in anew.stdout


def test_suspicious_labels_of_a_run_without_folds_tell_how_to_get_them(tmp_path: Path) -> None:
    done = run_vision("data", "suspicious", tmp_path / "no.parquet", "--manifest", tmp_path / "m.csv")
    assert (done.returncode, "--set train.folds=5" in done.stderr) == (2, True)


def test_a_renewed_card_says_nothing_of_the_counts_before(tmp_path: Path) -> None:
    def of(num: int) -> str:
        data = manifest(num=num)
        facts = stated_facts(data, name="x", description=None, version="1.0.0", url="", creators=None, date="")
        return render_data_card(data, taxonomy(), facts)

    (tmp_path / "README.md").write_text(of(8))
    assert renewed_card(tmp_path / "README.md", of(6), overwrite=False) == of(6)


def test_groups_in_several_splits_are_a_limit() -> None:
    assert "4 groups stand in several splits" not in card()
    rows = manifest(group="one")
    assert "1 group stands in several splits, with pictures of one vehicle or event on both sides" in card(rows)
