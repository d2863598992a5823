"""`vision data import`: class folders, tables and boxes of others as a data set with a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import TaxonomyOption, printable, progress_bar, say, spinner
from vision.errors import UsageError

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from vision.data.importing.importing import ImportedDataSet
    from vision.data.importing.pictures import ImportOptions, PictureTask
    from vision.data.importing.source import ImportSource, LeftOut, SourceFormat

_MOST_REASONS_TOLD = 20


def data_import(
    source_path: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder, or the file that describes it: CSV, JSON or data.yaml.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new data set.")],
    form: Annotated[
        str | None, typer.Option("--format", help="folders, csv, huggingface, coco or yolo. Default: found out.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="A label's class: --label 'Tor M1=tor-m1'. May be repeated.")
    ] = None,
    labels_path: Annotated[Path | None, typer.Option("--labels", help="CSV with the columns label and class.")] = None,
    skip_unknown_labels: Annotated[
        bool, typer.Option("--skip-unknown-labels", help="Leave out what has a label that is no class.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Their column is ours: --column photo=file_name; --column x= leaves x out."),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of pictures that state none.")] = "",
    licence_overrides: Annotated[
        bool,
        typer.Option("--licence-overrides", help="--licence holds for files, too, that say all rights are reserved."),
    ] = False,
    author: Annotated[str, typer.Option("--author", help="Of pictures that state none.")] = "",
    source_url: Annotated[str, typer.Option("--source-url", help="Page of pictures that state none.")] = "",
    crop: Annotated[
        bool | None,
        typer.Option("--crop/--whole", help="A picture per box, or whole pictures. Default: crop where several boxes."),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0, max=2, help="Share of a box that a crop shows around it.")
    ] = 0.1,
    boxes_before_rotation: Annotated[
        bool, typer.Option("--boxes-before-rotation", help="Boxes count pixels before EXIF orientation.")
    ] = False,
    group_by_folder: Annotated[
        bool, typer.Option("--group-by-folder", help="Pictures of one folder stay in one split.")
    ] = False,
    group_by_name: Annotated[
        str, typer.Option("--group-by-name", help="Regular expression; what it finds in a name is the group.")
    ] = "",
    link: Annotated[bool, typer.Option("--link/--copy", help="Hard links instead of copies.")] = False,
    taxonomy_path: TaxonomyOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, open no picture.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that is there, whole.")] = False,
) -> None:
    """Make a data set of class folders, a table, or boxes of COCO or YOLO: manifest.csv, images/, left_out.csv.

    One row per picture or box comes out, or a line in left_out.csv with the reason. Author, licence, title and source
    come from the table, else from the picture's own metadata (XMP, IPTC, EXIF, JPEG comment), else from the options.

    vision data import photos -o data --label 'Tor M1=tor-m1' (photos/Tor M1/a.jpg, or photos/train/Tor M1/a.jpg)

    vision data import list.csv -o data --column photo=file_name --column photographer=group --licence CC-BY-4.0

    vision data import folder_with_metadata_csv -o data --label 0=tor-m1 --label 1=osa-akm (Hugging Face)

    vision data import annotations.json -o data --labels classes.csv --margin 0.2 (COCO)

    vision data import data.yaml -o data --skip-unknown-labels --dry-run (YOLO)

    Exit code 1 if pictures or boxes are broken or missing; they stand in left_out.csv.
    """
    from vision.data.importing.columns import parse_column_options
    from vision.data.importing.importing import MANIFEST_NAME, import_data_set, open_source, plan_pictures
    from vision.data.importing.labels import check_no_unknown_labels, map_labels, parse_label_options, with_classes
    from vision.data.importing.whole_folder import check_new_folder
    from vision.taxonomy import load_taxonomy

    options = _options(crop, margin, boxes_before_rotation, link, group_by_folder, group_by_name)
    options = _with_stated(
        options, licence=licence, licence_overrides=licence_overrides, author=author, source_url=source_url
    )
    given_labels = parse_label_options(labels or [], labels_path)
    given_columns = parse_column_options(columns or [])
    chosen = _format(form)
    _check_places(source_path, output)
    check_new_folder(output, overwrite=overwrite, mark=MANIFEST_NAME)
    taxonomy = load_taxonomy(taxonomy_path)
    with spinner("reading the source"):
        source = open_source(source_path, chosen, given_columns)
        say(f"{source_path}: read as {source.format.value}, {len(source.entries)} labelled pictures or boxes")
        mapping = map_labels(source, taxonomy, given_labels)
        if not skip_unknown_labels:
            check_no_unknown_labels(mapping, taxonomy)
        with_classes(source, mapping)
        tasks = plan_pictures(source, options.crop)
    if dry_run:
        _tell_plan(source, tasks, output)
        return
    with progress_bar("importing pictures", len(tasks)) as advance:
        done = import_data_set(source, tasks, output, options, on_progress=lambda: advance(1))
    _tell_result(done)
    if any(out.is_fault for out in done.left_out):
        raise typer.Exit(1)


def _options(
    crop: bool | None,
    margin: float,
    boxes_before_rotation: bool,
    link: bool,
    group_by_folder: bool,
    group_by_name: str,
) -> ImportOptions:
    from vision.data.importing.pictures import ImportOptions

    if group_by_folder and group_by_name:
        raise UsageError("--group-by-folder and --group-by-name do not go together; keep one of them")
    return ImportOptions(
        crop=crop,
        margin=margin,
        boxes_count_stored_pixels=boxes_before_rotation,
        link=link,
        group_by_folder=group_by_folder,
        group_by_name=_pattern(group_by_name) if group_by_name else None,
    )


def _pattern(text: str) -> re.Pattern[str]:
    import re

    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"--group-by-name '{text}': no regular expression ({error}); such as '^[a-z]+'") from error


def _with_stated(
    options: ImportOptions, *, licence: str, licence_overrides: bool, author: str, source_url: str
) -> ImportOptions:
    """The options with what the user says of all pictures; a licence that will be refused is told at once."""
    from dataclasses import replace

    from vision.data.importing.pictures import tidy_licence, versions_hint
    from vision.data.licences import LicencePolicy, licence_refusal

    if licence_overrides and not licence.strip():
        raise UsageError("--licence-overrides says for which files --licence holds; give --licence too")
    stated = {"licence": tidy_licence(licence.strip()), "author": author.strip(), "source_url": source_url.strip()}
    stated = {column: text for column, text in stated.items() if text}
    if "licence" in stated and (refusal := licence_refusal(stated["licence"], LicencePolicy.OPEN)):
        refusal = versions_hint(licence) or refusal
        say(f"warning: --licence '{licence}': {refusal}; `vision data check` will refuse these pictures")
    return replace(options, stated=stated, licence_overrides=licence_overrides)


def _format(name: str | None) -> SourceFormat | None:
    from vision.data.importing.source import SourceFormat
    from vision.errors import nearest_name_hint

    if name is None:
        return None
    try:
        return SourceFormat(name)
    except ValueError:
        known = ", ".join(SourceFormat)
        raise UsageError(
            f"--format '{name}': no format{nearest_name_hint(name, SourceFormat)}; there are {known}"
        ) from None


def _check_places(source_path: Path, output: Path) -> None:
    """Make sure that neither the source lies in the new folder nor the new folder in a source that is searched."""
    source, target = source_path.resolve(), output.resolve()
    if source == target or source.is_relative_to(target):
        raise UsageError(f"{output}: SOURCE lies in it; choose another folder with -o")
    if source_path.is_dir() and target.is_relative_to(source):
        raise UsageError(f"{output}: lies in SOURCE, which is searched for pictures; choose a folder beside it with -o")


def _tell_plan(source: ImportSource, tasks: Sequence[PictureTask], output: Path) -> None:
    from collections import Counter

    from vision.data.importing.importing import check_rows_come_out

    for note in source.notes:
        say(note)
    counts = Counter((e.label, e.values.get("split", "")) for task in tasks for e in task.entries)
    _print_counts(counts)
    missing = [task.path for task in tasks if not Path(task.path).is_file()]
    for path in missing[:_MOST_REASONS_TOLD]:
        say(f"{path}: no such file")
    _tell_left_out(source.left_out)
    check_rows_come_out(sum(counts.values()), source.left_out, source.root)
    print(
        f"{output}: would hold {sum(counts.values())} rows from {len(tasks)} pictures; {len(missing)} files are "
        f"missing, {len(source.left_out)} pictures or boxes would be left out; nothing is written"
    )


def _tell_result(done: ImportedDataSet) -> None:
    from collections import Counter

    from vision.data.importing.importing import LEFT_OUT_NAME

    table = done.manifest.table
    for note in done.notes:
        say(note)
    _tell_left_out(done.left_out)
    _print_counts(Counter((label, split or "") for label, split in table.select("label", "split").iter_rows()))
    licences = Counter(licence or "no licence stated" for licence in table["licence"])
    print(
        "licences: " + (", ".join(f"{printable(name)} {count}" for name, count in licences.most_common(20)) or "none")
    )
    if done.reserved:
        say(
            f"warning: {len(done.reserved)} files say that rights are reserved or that permission is needed, and did "
            "not get the licence of --licence; if it holds for them all the same, import with --licence-overrides:"
        )
        for line in done.reserved[:_MOST_REASONS_TOLD]:
            say(f"  {line}")
        if len(done.reserved) > _MOST_REASONS_TOLD:
            say(f"  ... and {len(done.reserved) - _MOST_REASONS_TOLD} more, without a licence in the manifest")
    if missing := table["licence"].null_count():
        say(
            f"warning: {missing} pictures have no licence: `vision data check` will refuse them; "
            "give --licence, or a column licence"
        )
    if repeated := len(table) - table["sha256"].n_unique():
        say(f"warning: {repeated} files are byte for byte equal to another; see `vision data duplicates`")
    left_out_path = done.manifest.folder / LEFT_OUT_NAME
    print(f"{done.manifest.path}: {len(table)} rows; {len(done.left_out)} left out, see {left_out_path}")


def _tell_left_out(left_out: Sequence[LeftOut]) -> None:
    """How often each reason was given, with the first place and its words: numbers and names differ from box to box."""
    import re
    from collections import Counter

    kinds = [re.sub(r"'[^']*'|\d+(\.\d+)?|\(.*\)", "", out.reason) for out in left_out]
    first = dict(zip(reversed(kinds), reversed(left_out), strict=True))
    for kind, count in Counter(kinds).most_common(_MOST_REASONS_TOLD):
        example = first[kind]
        how_often = f"{count} x, such as " if count > 1 else ""
        name = Path(example.picture).name
        picture = f"{name}: " if name and name not in example.place else ""
        say(f"left out: {how_often}{example.place}: {picture}{example.reason}")


def _print_counts(counts: dict[tuple[str, str], int]) -> None:
    """A line per class, a column per split."""
    splits = sorted({split for _, split in counts})
    if counts:
        print(f"{'class':<24}" + "".join(f"{split or 'no split':>13}" for split in splits))
    for label in sorted({label for label, _ in counts}):
        print(f"{label:<24}" + "".join(f"{counts.get((label, split), 0):>13}" for split in splits))
