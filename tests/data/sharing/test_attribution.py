from pathlib import Path

import polars as pl
from command_line import run_vision

from vision.data.manifest import manifest_from_rows, save_manifest
from vision.data.sharing.attribution import attribution_line, render_attribution


def table(*rows: dict[str, str | int | None]) -> pl.DataFrame:
    return manifest_from_rows(Path("m.csv"), rows).table


FULL = {
    "file_name": "a.jpg",
    "label": "tor-m1",
    "title": "Tor at a show",
    "author": "A. Person",
    "licence": "CC-BY-SA-4.0",
    "licence_url": "https://creativecommons.org/licenses/by-sa/4.0/",
    "source_url": "https://example.org/tor",
    "changes": "cropped",
}


def test_a_row_names_file_work_author_licence_and_changes() -> None:
    page = render_attribution(table(FULL), heading="Pictures")
    assert page.splitlines()[-1] == (
        "| a.jpg | [Tor at a show](<https://example.org/tor>) | A. Person "
        "| [CC-BY-SA-4.0](<https://creativecommons.org/licenses/by-sa/4.0/>) | cropped |"
    )


def test_the_page_has_heading_count_and_licences_counted() -> None:
    page = render_attribution(table(FULL, FULL, {"file_name": "b.jpg", "label": "x"}), heading="Pictures of the set")
    assert page.startswith("# Pictures of the set\n\n3 pictures.\n")
    assert "- CC-BY-SA-4.0: 2\n- licence not stated: 1\n" in page


def test_share_alike_is_explained_only_where_it_occurs() -> None:
    assert "share-alike" in render_attribution(table(FULL), heading="P")
    assert "share-alike" not in render_attribution(table({**FULL, "licence": "CC-BY-4.0"}), heading="P")


def test_missing_author_and_licence_are_said_to_be_missing() -> None:
    page = render_attribution(table({"file_name": "b.jpg", "label": "x"}), heading="P")
    assert page.splitlines()[-1] == "| b.jpg | b.jpg | not stated | not stated |  |"


def test_markdown_and_line_breaks_in_a_value_are_shown_as_they_are() -> None:
    row = {**FULL, "author": "A|B\n<b>*_`[x](y)", "source_url": None}
    line = render_attribution(table(row), heading="P").splitlines()[-1]
    assert r"| A\|B \<b\>\*\_\`\[x\](y) |" in line


def test_an_address_that_is_no_web_address_becomes_no_link() -> None:
    for url in ("javascript:alert(1)", "https://example.org/a>b", "https://example.org/a b", "ftp://example.org"):
        assert "](" not in render_attribution(table({**FULL, "source_url": url, "licence_url": None}), heading="P")


def test_the_page_is_the_same_for_the_same_table() -> None:
    rows = [{**FULL, "licence": f"CC-BY-{number}.0", "file_name": f"{number}.jpg"} for number in (4, 1, 3, 2)]
    pages = {render_attribution(table(*rows), heading="P") for _ in range(5)}
    assert len(pages) == 1
    assert [line for line in pages.pop().splitlines() if line.startswith("- CC")] == [
        f"- CC-BY-{number}.0: 1" for number in (1, 2, 3, 4)
    ]


def test_a_line_names_title_author_licence_and_source() -> None:
    expected = '"Tor at a show" by A. Person (CC-BY-SA-4.0), https://example.org/tor'
    assert attribution_line({key: str(value) for key, value in FULL.items()}) == expected


def test_a_line_of_a_bare_row_says_what_is_not_stated() -> None:
    assert attribution_line({"file_name": "a.jpg"}) == '"a.jpg" by author not stated (licence not stated)'


def test_the_command_writes_the_page_beside_the_manifest(tmp_path: Path) -> None:
    manifest = manifest_from_rows(tmp_path / "m.csv", [FULL])
    save_manifest(manifest, manifest.path)
    done = run_vision("data", "attribution", manifest.path)
    assert done.returncode == 0, done.stderr
    assert "Tor at a show" in (tmp_path / "ATTRIBUTION.md").read_text()
