"""`vision data preview`: pictures of a data set, or what a run's augmentation makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import (
    CacheOption,
    OverridesOption,
    need_training_extra,
    printable,
    progress_bar,
    refuse_overwriting_input,
    say,
    spinner,
)
from vision.errors import OutputError, UsageError, nearest_name_hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision.data.manifest import Manifest
    from vision.data.statistics.contact_sheets import ShownPicture, Tile

DEFAULT_PER_CLASS, DEFAULT_ROWS, DEFAULT_VIEWS = 12, 8, 6
MAX_FAULTS_TOLD = 20
EXIT_SOME_IMAGES_FAILED = 1


def data_preview(
    manifest_path: Annotated[
        Path | None, typer.Argument(metavar="MANIFEST", help="A manifest: .csv, .jsonl or .parquet.")
    ] = None,
    config_path: Annotated[
        Path | None, typer.Option("--config", "-c", help="A run's configuration, instead of a manifest.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="One sheet, .jpg or .png; with a manifest also a folder, for a sheet of each class. "
            "Default: the folder sheets; with -c the file sheet.png.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this label of the manifest. May be repeated.")
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option("--per-class", min=1, max=400, help=f"Pictures of each class. Default: {DEFAULT_PER_CLASS}."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Another seed shows other pictures. Default: 0.")
    ] = None,
    overrides: OverridesOption = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=1, max=64, help=f"With -c: pictures, one a row. Default: {DEFAULT_ROWS}."),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", min=1, max=16, help=f"With -c: augmented views beside each. Default: {DEFAULT_VIEWS}."),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Draw contact sheets: some pictures of each class with file name, split, author and licence.

    With -c instead of a manifest: pictures of the run's classes with their augmented views, as the network will see
    them in training; what fine-tuning sets otherwise for pictures far from photographs is told. Exit code 1 if some
    pictures cannot be shown; their tiles say why.

    Examples: vision data preview data/manifest.csv -o sheets --per-class 20

    vision data preview -c configs/demo.yaml --set augment.preset=field -o sheet.png
    """
    for_run = {"--set": overrides, "--rows": rows, "--views": views, "--cache": cache}
    for_manifest = {"--class": classes, "--per-class": per_class, "--seed": seed}
    if manifest_path is not None and config_path is not None:
        raise UsageError(f"{manifest_path} and -c {config_path}: give a manifest or a configuration, not both")
    if manifest_path is not None:
        _refuse_options(for_run, f"go with -c CONFIG, not with the manifest {manifest_path}")
        _preview_manifest(
            manifest_path, output or Path("sheets"), classes or [], per_class or DEFAULT_PER_CLASS, seed or 0
        )
    elif config_path is not None:
        _refuse_options(for_manifest, f"go with a manifest, not with -c {config_path}")
        _preview_run(
            config_path,
            output or Path("sheet.png"),
            overrides or [],
            rows or DEFAULT_ROWS,
            views or DEFAULT_VIEWS,
            cache,
        )
    else:
        raise UsageError("nothing to show; give a manifest, or a run's configuration with -c")


def _refuse_options(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: {why}")


def _preview_run(
    config_path: Path, output: Path, overrides: list[str], rows: int, views: int, cache: Path | None
) -> None:
    need_training_extra()
    refuse_overwriting_input(output, config_path)
    from vision.config import load_config
    from vision.files import default_cache_folder, whole_file
    from vision.train.augmentation import describe
    from vision.train.domain import suited_run
    from vision.train.preview import sheet_of_run
    from vision.train.training_set import prepare_run

    endings = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    if output.suffix.lower() not in endings:
        raise OutputError(f"{output}: a sheet ends in {', '.join(endings)}")
    config = load_config(config_path, overrides)
    with spinner("making views"):
        prepared, findings = suited_run(prepare_run(config), cache or default_cache_folder())
        sheet = sheet_of_run(prepared, rows=rows, views=views)
    with whole_file(output) as temporary:
        sheet.save(temporary, endings[output.suffix.lower()])
    for finding in findings:
        say(finding)
    for line in describe(prepared.config.augment):
        print(line)
    print(f"{output}: {sheet.width} x {sheet.height} px")


def _preview_manifest(manifest_path: Path, output: Path, classes: list[str], per_class: int, seed: int) -> None:
    from vision.data.manifest import load_manifest
    from vision.data.statistics.contact_sheet_drawing import check_contact_sheet
    from vision.data.statistics.contact_sheets import choose_pictures

    refuse_overwriting_input(output, manifest_path)
    is_one_sheet = bool(output.suffix) and not output.is_dir()
    if is_one_sheet:
        check_contact_sheet(output, [])
    manifest = load_manifest(manifest_path)
    _check_classes(manifest, classes)
    chosen = choose_pictures(manifest, per_class=per_class, seed=seed, labels=classes or None)
    if not chosen:
        raise UsageError(f"{manifest_path}: the manifest has no rows; there is nothing to show")
    if is_one_sheet:
        check_contact_sheet(output, [len(pictures) for pictures in chosen.values()])
        faults = _write_one_sheet(manifest, chosen, output)
    else:
        faults = _write_sheets(manifest, chosen, output)
    tell_faults(faults)


def _check_classes(manifest: Manifest, classes: Sequence[str]) -> None:
    present = set(manifest.table["label"].unique().drop_nulls()) if classes else set()
    for class_id in classes:
        if class_id not in present:
            hint = nearest_name_hint(class_id, present) or "; `vision data stats` lists what there is"
            raise UsageError(f"--class {class_id}: {manifest.path} has no picture with this label{hint}")


def _write_one_sheet(
    manifest: Manifest, chosen: Mapping[str | None, Sequence[ShownPicture]], output: Path
) -> list[Tile]:
    """Write one sheet with a section for each label; the tiles that have a fault."""
    from vision.data.statistics.contact_sheet_drawing import save_contact_sheet
    from vision.data.statistics.contact_sheets import make_tiles
    from vision.data.statistics.findings import pictures

    num_pictures = sum(map(len, chosen.values()))
    with progress_bar("reading pictures", num_pictures) as advance:
        tiles = {label: make_tiles(manifest, shown, on_progress=lambda: advance(1)) for label, shown in chosen.items()}
    headings = _headings(manifest, list(chosen))
    sheet = save_contact_sheet({headings[label]: tiles[label] for label in chosen}, output)
    classes = f"{len(chosen)} class{'' if len(chosen) == 1 else 'es'}"
    print(f"{output}: {pictures(num_pictures)} of {classes}, {sheet.width} x {sheet.height} px")
    return [tile for of_label in tiles.values() for tile in of_label if tile.fault]


def _write_sheets(manifest: Manifest, chosen: Mapping[str | None, Sequence[ShownPicture]], folder: Path) -> list[Tile]:
    """Write a sheet for each label; the tiles that have a fault."""
    from vision.data.statistics.contact_sheet_drawing import save_contact_sheet, sheet_file_names
    from vision.data.statistics.contact_sheets import make_tiles
    from vision.data.statistics.findings import pictures

    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file, not a folder; choose another with --output")
    headings = _headings(manifest, list(chosen))
    faults: list[Tile] = []
    with progress_bar("drawing sheets", len(chosen)) as advance:
        for name, (label, shown) in zip(sheet_file_names(list(chosen)), chosen.items(), strict=True):
            tiles = make_tiles(manifest, shown)
            save_contact_sheet({headings[label]: tiles}, folder / name)
            faults += [tile for tile in tiles if tile.fault]
            print(printable(f"{folder / name}: {pictures(len(shown))}"))
            advance(1)
    return faults


def _headings(manifest: Manifest, labels: Sequence[str | None]) -> dict[str | None, str]:
    """`label: 1,234 pictures` of every label; each is another, as labels are."""
    counts = dict(manifest.table["label"].value_counts().iter_rows())
    return {
        label: f"{'without a label' if label is None else repr(label)[1:-1]}: {counts[label]:,} in all"
        for label in labels
    }


def tell_faults(faults: Sequence[Tile]) -> None:
    """Tell which pictures cannot be shown, and exit with 1 if there are any."""
    for tile in faults[:MAX_FAULTS_TOLD]:
        say(f"cannot be shown: {tile.picture.file_name or 'a row'}: {tile.fault}")
    if len(faults) > MAX_FAULTS_TOLD:
        say(f"... and {len(faults) - MAX_FAULTS_TOLD} more")
    if faults:
        raise typer.Exit(EXIT_SOME_IMAGES_FAILED)
