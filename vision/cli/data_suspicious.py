"""`vision data suspicious`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision.cli.terminal import TaxonomyOption, printable, progress_bar, refuse_overwriting_input, say


def data_suspicious(
    predictions_path: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Predictions of pictures while they were held out: out_of_fold/ of a run."
        ),
    ],
    manifest_path: Annotated[
        Path, typer.Option("--manifest", help="The data set whose labels are doubted, and where its pictures lie.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The list to write, .csv.")] = Path("suspicious.csv"),
    page_dir: Annotated[
        Path | None, typer.Option("--page", metavar="DIR", help="Also write a page with the pictures to this folder.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=2000, help="Labels that the page shows.")] = 100,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """List labels that may be wrong, by confident learning, most suspicious first; change none of them.

    Writes a table of file, label given and suggested, how far the model believes either, group and source page.

    Example: vision data suspicious runs/photos/out_of_fold/predictions.parquet --manifest data/manifest.csv --page odd
    """
    from vision.data.check import check_labelled_table
    from vision.data.manifest import load_manifest
    from vision.errors import InputPathError, OutputError
    from vision.evaluate.report.suspicious import GENERATOR, write_suspicious_page
    from vision.evaluate.suspicious_listing import (
        count_trained_on,
        listed_labels,
        suspicious_or_refuse,
        with_labels_of_now,
        write_list,
    )
    from vision.pages import check_may_write_page
    from vision.predictions import load_predictions
    from vision.taxonomy import load_taxonomy

    if output.suffix != ".csv":
        raise OutputError(f"{output}: the list ends in .csv; rename it")
    refuse_overwriting_input(output, manifest_path, predictions_path)
    if not predictions_path.exists():
        raise InputPathError(
            f"{predictions_path}: no such file; a run writes out_of_fold/predictions.parquet if its train.folds is "
            "above 0: vision train CONFIG --set train.folds=5"
        )
    if page_dir is not None:
        check_may_write_page(page_dir, GENERATOR)
    taxonomy, manifest = load_taxonomy(taxonomy_path), load_manifest(manifest_path)
    check_labelled_table(manifest, taxonomy)
    table, num_changed = with_labels_of_now(load_predictions(predictions_path), manifest)
    num_trained_on = count_trained_on(table)
    if num_trained_on:
        say(
            f"warning: {num_trained_on} of {len(table)} pictures were trained on, labels and all: the model repeats "
            "wrong labels too, so few are found; use predictions made out of fold (train.folds)"
        )
    if num_changed:
        say(f"note: {num_changed} labels differ from those at the time of the predictions; those of now are judged")
    figures = suspicious_or_refuse(table, predictions_path)
    labels = listed_labels(figures, table, manifest)
    write_list(labels, output)
    print(f"{output}: {len(labels)} of {figures.num_images} labels may be wrong")
    for label in labels[:10]:
        print(printable(f"  {label.file_name}: {label.given}, rather {label.suggested}"))
    if page_dir is not None:
        with progress_bar("pictures", min(most, len(labels))) as advance:
            page = write_suspicious_page(
                labels,
                figures,
                table,
                manifest,
                taxonomy,
                page_dir,
                most=most,
                num_trained_on=num_trained_on,
                on_progress=advance,
            )
        print(f"page: {page}")
