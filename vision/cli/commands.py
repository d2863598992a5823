"""The commands of `vision`. Heavy imports stand inside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vision import __version__
from vision.cli.data import check_data, data_app
from vision.cli.decisions import (
    ClassConditionalOption,
    ConfidenceOption,
    CostsOption,
    CoverageOption,
    FalseAlarmsOption,
    TargetAccuracyOption,
    UnknownCostOption,
    UnknownShareOption,
    tell_best_effort,
)
from vision.cli.terminal import (
    CacheOption,
    ConfigArgument,
    ModelOption,
    OverridesOption,
    Policy,
    TaxonomyOption,
    need_training_extra,
    printable,
    progress_bar,
    progress_bars,
    say,
    spinner,
)
from vision.errors import InputPathError, ManifestError, OutputError, UsageError, VisionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

    from vision.bundle import Bundle
    from vision.classify.engine import Engine
    from vision.classify.redecide import OtherPromises
    from vision.config import Config
    from vision.data.manifest import Manifest
    from vision.evaluate.confidence import NoveltyFigures
    from vision.evaluate.costs import CostFigures
    from vision.evaluate.evaluation import Evaluation, FigureWithInterval
    from vision.evaluate.gates import GatesFile
    from vision.evaluate.left_out import LeftOut
    from vision.evaluate.promises import PromiseFigures
    from vision.predictions import Prediction
    from vision.taxonomy import Taxonomy

app = typer.Typer(
    name="vision",
    help="Tell look-alike military vehicles apart on photographs, and show which classes are taken for which.",
    epilog="Exit codes: 0 done; 1 done, but some images failed; 2 wrong usage or configuration; 3 data check failed; "
    "4 licence refused; 5 quality gate not met; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")

EXIT_SOME_IMAGES_FAILED = 1
EXIT_GATE_FAILED = 5
EXIT_INTERRUPTED = 130


class OutputFormat(StrEnum):
    """Ways to write predictions."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def main() -> NoReturn:
    """Entry point of `vision`."""
    _run(sys.argv[1:])


def main_classify() -> NoReturn:
    """Entry point of `classify`, the same as `vision classify`."""
    _run(["classify", *sys.argv[1:]])


def _run(arguments: list[str]) -> NoReturn:
    import warnings

    from PIL import Image

    # Pillow warns of faults in metadata; whether the picture itself is whole stands in its row.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # `decode_image` has a limit of its own, which large JPEGs that are decoded at reduced size may pass.
    Image.MAX_IMAGE_PIXELS = None
    try:
        app(arguments, prog_name="vision", standalone_mode=True)
    except VisionError as error:
        _fail(error)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has closed it, as `head` does. Nothing more can be told to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def _fail(error: VisionError) -> NoReturn:
    lines = str(error).splitlines()
    shown = lines[:200]
    for line in shown:
        say(f"error: {line}")
    if len(lines) > len(shown):
        say(f"... and {len(lines) - len(shown)} more")
    sys.exit(error.exit_code)


def _show_version(value: bool) -> None:
    if value:
        print(f"vision {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


GateOption = Annotated[
    Path | None,
    typer.Option("--gate", metavar="FILE", help="Limits to hold the figures to; exit code 5 if one is not kept."),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", help="Folder that the file names in the predictions start from; for compare, those of A."),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="PREDICTIONS", help="For the gate no_loss, instead of those its file names."),
]


@app.command()
def train(
    config_path: ConfigArgument,
    runs_dir: Annotated[Path, typer.Option("--runs", help="Where the run's folder goes.")] = Path("runs"),
    overrides: OverridesOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check data, licences and weights, estimate time and memory, train nothing."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run's folder first.")] = False,
    cache: CacheOption = None,
) -> None:
    """Train a classifier from a configuration and write its bundle, predictions and report to runs/NAME.

    Example: vision train configs/photos.yaml --set seed=1 --set name=photos-1
    """
    from vision.config import load_config

    config = load_config(config_path, overrides or [])
    run_dir = runs_dir / config.name
    try:
        _train(config, run_dir, cache, dry_run=dry_run, resume=resume, overwrite=overwrite)
    except KeyboardInterrupt:  # told here: typer turns it into an exit with 130 without a word
        checkpoint = run_dir / "checkpoint.pt"
        kept = f"the last finished epoch is kept in {checkpoint}" if checkpoint.exists() else "the cache keeps the rest"
        say("interrupted" if dry_run else f"interrupted; {kept}; the same command with --resume goes on")
        raise


@app.command()
def sweep(
    config_path: ConfigArgument,
    runs_dir: Annotated[Path, typer.Option("--runs", help="Where the sweep's folder goes.")] = Path("runs"),
    overrides: OverridesOption = None,
    cache: CacheOption = None,
) -> None:
    """Search over settings: trains once a trial and compares the losses on the calibration split.

    What to try stands under `sweep:` in the configuration. Run it again to go on with a sweep that was interrupted.

    Example: vision sweep configs/sweep.yaml
    """
    need_training_extra("optuna")
    from vision.config import load_config
    from vision.train.features import default_cache_folder
    from vision.train.sweep import PLOT_FILE, TABLE_FILE
    from vision.train.sweep import sweep as run_sweep

    folder = runs_dir / f"{load_config(config_path, overrides or []).name}-sweep"
    study = run_sweep(config_path, overrides or [], folder, cache or default_cache_folder(), tell=say)
    best = ", ".join(f"{name}={value}" for name, value in study.best_params.items())
    print(f"best loss {study.best_value:.4f}: {best}")
    print(f"table: {folder / TABLE_FILE}\nplot:  {folder / PLOT_FILE}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where everything goes; an earlier demo is removed.")] = Path(
        "runs/demo"
    ),
    overrides: OverridesOption = None,
) -> None:
    """Check, train, evaluate and classify rendered look-alikes that come along: the whole way in a few minutes.

    It ends with the vehicle of an incident, of which no training picture tells. Needs no network. Quicker, with a
    weaker model: vision demo --set train.strategy=probe
    """
    need_training_extra()
    import json
    import shutil

    from vision.bundle import load_bundle
    from vision.config import load_config
    from vision.data.demo import demo_config_path, demo_data_folder, demo_pictures
    from vision.data.manifest import load_manifest
    from vision.errors import OutputError
    from vision.predictions import PREDICTIONS_FILE, load_predictions

    marker = out / "this-is-a-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise OutputError(f"{out}: not empty and not an earlier demo; choose another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    marker.touch()
    manifest_path = demo_data_folder() / "manifest.csv"
    say(f"1/4 checking the data set {demo_data_folder()}")
    check_data(manifest_path, None, Policy.OPEN, fix=False, min_images=5, skip_files=False)
    say("2/4 training, and evaluating on the test split")
    config = load_config(demo_config_path(), [f"data.manifest={json.dumps(str(manifest_path))}", *(overrides or [])])
    _train(config, out / "run", out / "cache", dry_run=False, resume=False, overwrite=False)
    bundle_dir = out / "run" / "bundle"
    say("3/4 evaluating on the class that no training picture shows")
    manifest = load_manifest(manifest_path)
    known = load_predictions(out / "run" / "evaluation" / PREDICTIONS_FILE)  # so that it is not classified again
    _evaluate_bundle(load_bundle(bundle_dir), manifest, "novel", out / "novel", None, known=known)
    say("4/4 classifying three pictures")
    for what, picture in demo_pictures(manifest).items():
        print(f"\n{what}")
        _classify([str(picture)], bundle_dir, OutputFormat.TABLE, None, recursive=False, top_k=4)
    print("\nOpen in a browser")
    print(f"  which classes are taken for which:    {out / 'run' / 'evaluation' / 'report' / 'index.html'}")
    print(f"  what the vehicle of the incident is:  {out / 'novel' / 'report' / 'index.html'}")
    print(f"Classify a picture\n  vision classify --model {bundle_dir} PICTURE")


@app.command()
def classify(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, patterns in quotes, @LIST.TXT with a path per line, or - for paths on stdin.",
        ),
    ],
    model: ModelOption,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", "-f", help="Default: a table on a terminal, else JSON lines; with -o by its ending."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, whole or not at all.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into folders to their ends.")] = False,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", min=1, help="How many classes the table shows, 5 by default; files list all."),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="FOLDER",
            help="Write each picture there with what spoke for the answer in orange, against it in blue.",
        ),
    ] = None,
    target_accuracy: TargetAccuracyOption = None,
    confidence: ConfidenceOption = None,
    false_alarms: FalseAlarmsOption = None,
    unknown_share: UnknownShareOption = None,
    coverage: CoverageOption = None,
    class_conditional: ClassConditionalOption = None,
    costs: CostsOption = None,
    unknown_cost: UnknownCostOption = None,
) -> None:
    """Say what is on photographs: the class, how sure, what else it may be, and which cue to check.

    One row per picture, in the order given; a picture that cannot be read gets a row with its error (exit code 1).

    Examples: vision classify -m runs/photos/bundle photo.jpg

    vision classify -m runs/photos/bundle -r folder -o predictions.jsonl
    """
    from vision.classify.redecide import OtherPromises

    others = OtherPromises(
        target_accuracy=target_accuracy,
        confidence=confidence,
        false_alarms=false_alarms,
        unknown_share=unknown_share,
        coverage=coverage,
        class_conditional=class_conditional,
        costs=None if costs is None else costs.value,
        unknown_cost=unknown_cost,
    )
    _classify(
        paths, model, output_format, output, recursive=recursive, top_k=top_k, evidence_dir=evidence, others=others
    )


@app.command()
def evaluate(
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A bundle: the folder that training wrote.")
    ] = None,
    manifest_path: Annotated[Path | None, typer.Option("--manifest", help="The data set with the true labels.")] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split: train, calibration, test or novel. Default: all rows."),
    ] = None,
    novel: Annotated[
        bool,
        typer.Option(
            "--novel",
            help="Classes kept out of training: --split novel, beside known ones of the split test, or calibration.",
        ),
    ] = False,
    left_out: Annotated[
        Path | None,
        typer.Option(
            "--leave-one-out",
            metavar="CONFIG",
            help="Instead of judging a bundle: train a probe without each class of this configuration in turn, and "
            "report what the class is called.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the files go.")] = Path("evaluation"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over an earlier evaluation there.")] = False,
    gate: GateOption = None,
    baseline: BaselineOption = None,
    taxonomy_path: TaxonomyOption = None,
    overrides: OverridesOption = None,
    cache: CacheOption = None,
) -> None:
    """Classify a labelled data set and write predictions, figures and the confusion report.

    Examples: vision evaluate -m runs/photos/bundle --manifest data/manifest.csv --split test -o evaluation

    vision evaluate -m runs/demo/bundle --manifest datasets/lookalikes/manifest.csv --novel -o novel

    vision evaluate --leave-one-out configs/demo.yaml -o left-out
    """
    from vision.evaluate.run import check_may_write

    if left_out is not None:
        _refuse_beside(
            "--leave-one-out",
            {
                "--model": model,
                "--manifest": manifest_path,
                "--novel": novel,
                "--split": split,
                "--taxonomy": taxonomy_path,
                "--gate": gate or baseline,
            },
        )
        check_may_write(out, overwrite=overwrite)
        _evaluate_without_each_class(left_out, overrides or [], out, cache)
        return
    _refuse_beside("--model", {"--set": overrides, "--cache": cache})
    if model is None or manifest_path is None:
        raise UsageError("give --model and --manifest, or --leave-one-out CONFIG")
    if novel and split not in (None, "novel"):
        raise UsageError(f"--novel means --split novel, not '{split}'; give one of them")
    from vision.bundle import load_bundle
    from vision.data.manifest import load_manifest

    gates = _load_gates(gate, baseline)
    bundle = load_bundle(model)
    manifest = load_manifest(manifest_path)
    check_may_write(out, overwrite=overwrite)
    _evaluate_bundle(bundle, manifest, "novel" if novel else split, out, taxonomy_path, gates)


def _refuse_beside(option: str, others: dict[str, object]) -> None:
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(f"{option} does not go with {', '.join(given)}; leave out one or the other")


def _evaluate_without_each_class(config_path: Path, overrides: list[str], out: Path, cache: Path | None) -> None:
    need_training_extra()
    from vision.config import load_config
    from vision.evaluate.left_out import left_out_figures
    from vision.evaluate.report.left_out import write_left_out

    config = load_config(config_path, overrides)
    with spinner("loading torch, checking the data"):
        from vision.train.features import default_cache_folder
        from vision.train.leave_one_out import featured_run, leave_one_out
        from vision.train.training_set import prepare_run

        prepared = prepare_run(config)
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    if config.train.strategy == "finetune":
        say(
            f"{config_path} has train.strategy: finetune; judged here is a probe on the features before tuning, "
            "which is less sure of itself than a tuned network"
        )
    num_pictures = prepared.manifest.table.filter(prepared.manifest.table["label"].is_in(prepared.classes)).height
    with progress_bar("pictures through the network", num_pictures) as advance:
        run = featured_run(prepared, cache or default_cache_folder(), on_progress=advance)
    figures = left_out_figures(
        leave_one_out(run, tell=say), prepared.taxonomy, title=config.name, known_pictures=run.known_pictures
    )
    page = write_left_out(figures, prepared.taxonomy, out)
    _print_left_out(figures)
    print(f"report: {page}")


@app.command()
def report(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="A file that `vision evaluate` or `vision classify -o` wrote, or the folder of an evaluation.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the files go. Default: the folder of the predictions.")
    ] = None,
    manifest_path: Annotated[
        Path | None,
        typer.Option("--manifest", help="Where truth, groups and further columns come from, whatever the rows say."),
    ] = None,
    images: ImagesOption = None,
    earlier_dir: Annotated[
        Path | None,
        typer.Option(
            "--evaluation",
            metavar="FOLDER",
            help="An evaluation of the same pictures, of which is kept what still holds. Default: the one beside.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the report.")] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also print the page to report.pdf, with a browser that is installed.")
    ] = False,
    gate: GateOption = None,
    baseline: BaselineOption = None,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Make figures and the confusion report again from predictions alone; needs no model.

    Examples: vision report runs/photos/out_of_fold

    vision report runs/photos/evaluation/predictions.parquet --pdf

    vision report stricter.parquet --evaluation runs/photos/evaluation -o stricter
    """
    from vision.data.manifest import load_manifest
    from vision.evaluate.carrying import carried
    from vision.evaluate.comparison import predictions_path
    from vision.evaluate.evaluation import DataSource, check_truth, num_other_truths, rows_digest, with_truth
    from vision.evaluate.outputs import (
        PDF_FILE,
        REPORT_PAGE,
        recorded_evaluation,
        recorded_images_dir,
        recorded_settings,
        recorded_taxonomy,
        write_evaluation,
    )
    from vision.predictions import check_ids, load_predictions, printable_name
    from vision.taxonomy import load_taxonomy

    _check_images_dir(images)
    gates = _load_gates(gate, baseline)
    path = predictions_path(predictions)
    folder, beside = out or path.parent, earlier_dir or path.parent
    earlier = recorded_evaluation(beside)
    if earlier_dir is not None and earlier is None:
        raise UsageError(f"--evaluation {earlier_dir}: holds no evaluation that can be read; give another folder")
    recorded = recorded_taxonomy(beside) if taxonomy_path is None else None
    before = load_predictions(path, recorded or load_taxonomy(taxonomy_path))
    images_dir = images or recorded_images_dir(beside)
    table, data = before, None
    judged_by = _taxonomy_that_knows(before, recorded, taxonomy_path)
    if manifest_path is not None:
        manifest = load_manifest(manifest_path)
        judged_by = _taxonomy_that_knows(before, recorded, taxonomy_path, manifest)
        table, data = with_truth(before, manifest), DataSource.of(manifest, None)
        num_others = num_other_truths(before, table)
        if num_others:
            say(f"note: {num_others} of {len(table)} labels differ from those in the predictions; the manifest's count")
        images_dir = images_dir or _common_images_dir(table["file_name"], manifest.folder)
    check_ids(path, table, judged_by)
    check_truth(table)
    _warn_of_repeated_names(table)
    _warn_of_absent_pictures(table["file_name"], images)
    if gates is not None:
        from vision.evaluate.gates import check_baseline, check_gates

        check_baseline(gates, path, table, judged_by)
        check_gates(gates, judged_by, judged_by.class_ids)
    _check_may_report_into(folder, path, rows_digest(table), len(table))
    kept = carried(beside, path, table)
    evaluation = write_evaluation(
        table,
        judged_by,
        folder,
        title=title or (earlier.title if earlier is not None else printable_name(beside.resolve().name)),
        images_dir=images_dir,
        known_classes=kept.known_classes,
        seed=earlier.seed if earlier is not None else 0,
        settings=kept.settings,
        decided_again=not kept.is_same,
        known=kept.known,
        overlays=kept.overlays,
        of_pictures=kept.of_pictures,
        data=data or kept.data,
        notes=kept.notes,
        card=kept.card,
    )
    for what in kept.dropped:
        say(f"left out: {what}")
    if kept.settings is not None and recorded_settings(folder) is None:
        say("left out: what the bundle promises, as these answers follow from other promises than it lists")
    if not kept.known_classes and evaluation.novel:
        names = ", ".join(novel.class_id for novel in evaluation.novel)
        say(f"note: no row lists or answers {names}; their pictures count as of classes that the model does not know")
    _print_evaluation(evaluation, judged_by, folder / REPORT_PAGE)
    keeps_gates = gates is None or _keeps_gates(gates, evaluation, table, judged_by, folder)
    if pdf:  # once the page shows the gates
        from vision.evaluate.report.pdf import print_pdf

        with spinner("printing"):
            print_pdf(folder / REPORT_PAGE, folder / PDF_FILE)
    if not keeps_gates:
        raise typer.Exit(EXIT_GATE_FAILED)


def _taxonomy_that_knows(
    table: pl.DataFrame, recorded: Taxonomy | None, path: Path | None, manifest: Manifest | None = None
) -> Taxonomy:
    """The taxonomy that an evaluation was judged by if it knows all that is asked of it now, else the whole one.

    An evaluation records only the part that its classes need; the manifest's labels are checked against what is taken.
    """
    from vision.data.check import check_labelled_table
    from vision.evaluate.evaluation import classes_of_answers
    from vision.taxonomy import load_taxonomy

    if recorded is None:
        found = load_taxonomy(path)
    else:
        needed = classes_of_answers(table, recorded)
        needed |= set(manifest.table["label"]) if manifest is not None else set()
        whole = load_taxonomy()
        knows_more = len(needed & set(whole.class_ids)) > len(needed & set(recorded.class_ids))
        found = whole if knows_more else recorded
    if manifest is None:
        return found
    try:
        check_labelled_table(manifest, found)
    except ManifestError as error:
        if found is not recorded:
            raise
        remedy = (
            "the evaluation's taxonomy.json has only the classes of its pictures and model; give all with --taxonomy"
        )
        raise ManifestError(f"{error}\n{remedy}") from error
    return found


def _check_images_dir(images: Path | None) -> None:
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: no such folder; give the one that the file names start from")


def _warn_of_absent_pictures(file_names: pl.Series, images: Path | None) -> None:
    if images is not None and not any((images / name).is_file() for name in file_names):
        say(f"warning: {images} has none of the {len(file_names)} pictures, first '{file_names[0]}'; check --images")


def _warn_of_repeated_names(table: pl.DataFrame) -> None:
    """Parts of one picture, told by their boxes, are no repetition."""
    columns = ["file_name", "box"] if "box" in table.columns else ["file_name"]
    num_more = len(table) - table.select(columns).n_unique()
    if num_more:
        first = table.filter(table.select(columns).is_duplicated())["file_name"][0]
        say(f"warning: {num_more} of {len(table)} rows repeat a file name, first '{first}'; each row counts")


def _check_may_report_into(folder: Path, predictions: Path, digest: str, num_images: int) -> None:
    """Refuse to write over the evaluation of other predictions; those of this very file may have got other truths."""
    from vision.evaluate.outputs import EVALUATION_FILE, recorded_evaluation
    from vision.predictions import PREDICTIONS_FILE

    there = recorded_evaluation(folder)
    if there is None and (folder / EVALUATION_FILE).exists():
        raise OutputError(
            f"{folder / EVALUATION_FILE}: cannot be read, damaged or of an earlier version; choose another folder with "
            "--out, with --images and --title if need be"
        )
    is_own = folder.resolve() == predictions.parent.resolve() and predictions.name == PREDICTIONS_FILE
    if there is None or there.rows_digest == digest:
        return
    if not is_own or there.num_images != num_images:
        raise OutputError(f"{folder}: holds an evaluation of other predictions; choose another folder with --out")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="What to compare against: an evaluation's folder, or a file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What to compare: predictions of the same pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the files go.")] = Path("comparison"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over an earlier comparison there.")] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the pictures that both have, instead of refusing different sets.")
    ] = False,
    manifest_path: Annotated[
        Path | None, typer.Option("--manifest", help="Truth for predictions that have none, and where pictures lie.")
    ] = None,
    images: ImagesOption = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Say whether B is better than A on the same pictures, where, and which pictures changed.

    Differences are always B minus A. The page is comparison.html; figures and changed pictures lie beside it.

    Examples: vision compare runs/old/evaluation runs/new/evaluation -o comparison

    vision compare old.parquet new.parquet --manifest data/manifest.csv --common
    """
    import polars as pl

    from vision.data.manifest import load_manifest
    from vision.evaluate.comparison import (
        NamedPredictions,
        changed_pictures,
        compare_predictions,
        needed_classes,
        pair_rows,
        predictions_path,
        safe_for_spreadsheets,
    )
    from vision.evaluate.evaluation import num_other_truths, with_truth
    from vision.evaluate.outputs import recorded_evaluation, recorded_images_dir, recorded_taxonomy
    from vision.evaluate.report.comparison import check_may_compare_into, comparison_lines, write_comparison
    from vision.predictions import check_ids, load_predictions, printable_name
    from vision.taxonomy import load_taxonomy

    check_may_compare_into(out, overwrite=overwrite)
    _check_images_dir(images)
    paths = [predictions_path(given) for given in (a, b)]
    earlier = [recorded_evaluation(path.parent) for path in paths]
    titles = [each.title if each is not None else str(given) for each, given in zip(earlier, (a, b), strict=True)]
    if titles[0] == titles[1]:
        titles = [str(a), str(b)]
    recorded = [recorded_taxonomy(path.parent) if taxonomy_path is None else None for path in paths]
    tables = [
        load_predictions(path, beside or load_taxonomy(taxonomy_path))
        for path, beside in zip(paths, recorded, strict=True)
    ]
    images_dirs = [images or recorded_images_dir(paths[0].parent), recorded_images_dir(paths[1].parent)]
    if manifest_path is not None:
        manifest = load_manifest(manifest_path)
        before, tables = tables, [with_truth(table, manifest) for table in tables]
        num_others = max(num_other_truths(*pair) for pair in zip(before, tables, strict=True))
        if num_others:
            of_all = f"{num_others} of {len(tables[0])}"
            say(f"note: {of_all} labels differ from those in the predictions; the manifest's count")
        images_dirs[0] = images_dirs[0] or _common_images_dir(tables[0]["file_name"], manifest.folder)
    side_a, side_b = (
        NamedPredictions(table, printable_name(str(given)), printable_name(name))
        for table, given, name in zip(tables, (a, b), titles, strict=True)
    )
    _warn_of_absent_pictures(tables[0]["file_name"], images)
    rows = pair_rows(side_a, side_b, take_common=common)
    known = (each for each in recorded if each is not None and needed_classes(rows) <= set(each.class_ids))
    judged_by = next(known, None) or load_taxonomy(taxonomy_path)
    for path, of_side in zip(paths, (rows.a, rows.b), strict=True):
        check_ids(path, of_side.with_columns(top=pl.lit([], dtype=of_side.schema["top"])), judged_by)
    comparison = compare_predictions(side_a, side_b, rows, judged_by, title=title or "")
    page = write_comparison(
        comparison,
        safe_for_spreadsheets(changed_pictures(rows)),
        judged_by,
        out,
        images_dir_a=images_dirs[0],
        images_dir_b=images_dirs[1],
    )
    for line in comparison_lines(comparison):
        print(printable(line))
    print(f"report: {page}")


@app.command("decide")
def decide_command(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Rows that `vision evaluate` or `vision classify -o` wrote."),
    ],
    model: ModelOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The new rows, .parquet or .jsonl.")],
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Take rows by another bundle with the same classes, too.")
    ] = False,
    target_accuracy: TargetAccuracyOption = None,
    confidence: ConfidenceOption = None,
    false_alarms: FalseAlarmsOption = None,
    unknown_share: UnknownShareOption = None,
    coverage: CoverageOption = None,
    class_conditional: ClassConditionalOption = None,
    costs: CostsOption = None,
    unknown_cost: UnknownCostOption = None,
) -> None:
    """Decide again from saved rows, with other promises; no picture is read, no network is run.

    Example: vision decide predictions.parquet -m runs/photos/bundle --target-accuracy 0.98 -o decided.parquet
    """
    from collections import Counter

    from vision.bundle import load_bundle
    from vision.classify.decision import as_percent
    from vision.classify.redecide import OtherPromises, redecided, rules_with
    from vision.predictions import load_predictions, predictions_table, read_rows, save_predictions

    others = OtherPromises(
        target_accuracy=target_accuracy,
        confidence=confidence,
        false_alarms=false_alarms,
        unknown_share=unknown_share,
        coverage=coverage,
        class_conditional=class_conditional,
        costs=None if costs is None else costs.value,
        unknown_cost=unknown_cost,
    )
    bundle = load_bundle(model)
    rules = rules_with(bundle, others)
    table = load_predictions(predictions)
    trained_on = frozenset(bundle.reference.sha256)
    by_model = None if any_model else bundle.digest
    rows = list(redecided(read_rows(table), rules, trained_on=trained_on, model=by_model))
    own = set(predictions_table([]).columns)
    beside = [name for name in table.columns if name not in own]
    save_predictions(rows, output, extra_columns=table.select(beside) if beside else None)
    tell_best_effort(rules)
    counts = Counter(row.level or row.status for row in rows)
    print(f"{output}: {len(rows)} rows: {', '.join(f'{level} {count}' for level, count in counts.most_common())}")
    if rules.roll_up_threshold > 1:
        print("no threshold keeps the promise on the known pictures: no class, family or role is answered")
    else:
        unknown_beyond = as_percent(1 - rules.false_alarms)
        print(
            f"an answer needs {as_percent(rules.roll_up_threshold)}; unknown beyond {unknown_beyond} of known pictures"
        )
    if rules.promise is not None and rules.promise.is_promised:
        print(rules.promise)


@app.command()
def taxonomy(
    class_id: Annotated[
        str | None, typer.Argument(metavar="CLASS", help="Show this class with its cues and look-alikes.")
    ] = None,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Show the tree of roles, families and classes, or one class with its cues and look-alikes."""
    from rich.console import Console

    from vision.console import class_page, taxonomy_tree
    from vision.taxonomy import load_taxonomy

    loaded = load_taxonomy(taxonomy_path)
    Console().print(taxonomy_tree(loaded) if class_id is None else class_page(loaded, class_id))


@app.command()
def doctor(
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Also try to load this bundle.")] = None,
) -> None:
    """Show versions, cores, devices, which extras are there, and whether a bundle loads."""
    from vision.doctor import examine

    healthy = True
    for check in examine(model):
        mark = "ok  " if check.is_fine else "MISS" if check.is_optional else "FAIL"
        print(f"{mark}  {check.name:<34} {check.finding}")
        healthy = healthy and (check.is_fine or check.is_optional)
    raise typer.Exit(0 if healthy else 2)


def _train(config: Config, run_dir: Path, cache: Path | None, *, dry_run: bool, resume: bool, overwrite: bool) -> None:
    need_training_extra()
    from vision.console import describe_plan
    from vision.data.manifest import load_manifest
    from vision.train.run_folder import (
        OUT_OF_FOLD_FILE,
        check_run_folder,
        finished_bundle,
        input_digests,
        is_first_process,
        is_taken,
        open_run_folder,
    )

    is_first = is_first_process()
    tell = say if is_first else lambda text: None
    is_looked_at = dry_run and not (resume or overwrite) and is_taken(run_dir)
    if is_first and not is_looked_at and not (resume and config.train.strategy == "finetune"):  # may yet change
        check_run_folder(run_dir, config, resume=resume, overwrite=overwrite)
    with spinner("loading torch, checking the data"):
        from vision.train.domain import suited_run
        from vision.train.feasibility import check_settings
        from vision.train.features import default_cache_folder
        from vision.train.run import plan_run, train_run
        from vision.train.training_set import prepare_run

        prepared = prepare_run(config, decode=dry_run)
        check_settings(config)
        cache_folder = cache or default_cache_folder()
        prepared, findings = suited_run(prepared, cache_folder, dry_run=dry_run)
        plan = plan_run(prepared, cache_folder, with_schedule=dry_run)
    for warning in [*prepared.warnings, *findings, *plan.warnings]:
        tell(f"warning: {warning}")
    for line in describe_plan(prepared, plan):
        tell(line)
    if dry_run:
        if is_looked_at:
            tell(f"{run_dir}: not empty; the run will need --resume or --overwrite, or another name")
        tell("dry run: everything is in order, nothing was trained")
        return
    if not is_first and config.train.strategy == "probe":
        return  # one process fits it
    if is_first:
        inputs = input_digests(prepared, {name: each.weights.sha256 for name, each in plan.backbones.items()})
        open_run_folder(run_dir, prepared.config, resume=resume, overwrite=overwrite, inputs=inputs)
    bundle = finished_bundle(run_dir) if resume else None
    if bundle is not None:
        tell(f"{run_dir}: this run is finished, nothing is left to train; --overwrite starts it anew")
    else:
        num_views = len(prepared.training.images) + len(prepared.calibration.images)
        bars = ("pictures through the network", plan.num_images_to_see), ("pictures with views", num_views)
        with progress_bars(*bars) as (on_progress, on_views):
            bundle = train_run(
                prepared, plan, run_dir, cache_folder, tell=tell, on_progress=on_progress, on_views=on_views
            ).bundle
    if not is_first:
        return
    print(f"bundle: {bundle.folder} ({bundle.digest[:16]})")
    if config.train.folds:
        _report_out_of_fold(run_dir / OUT_OF_FOLD_FILE, bundle, config)
    manifest = load_manifest(config.data.manifest)
    if (manifest.table["split"] == "test").any():
        _evaluate_bundle(bundle, manifest, "test", run_dir / "evaluation", config.taxonomy)


def _report_out_of_fold(predictions: Path, bundle: Bundle, config: Config) -> None:
    from vision.data.manifest import load_manifest
    from vision.evaluate.out_of_fold import evaluate_out_of_fold
    from vision.evaluate.outputs import REPORT_PAGE
    from vision.taxonomy import load_taxonomy

    taxonomy = load_taxonomy(config.taxonomy)
    with spinner("looking at the pictures"):
        evaluation = evaluate_out_of_fold(
            predictions,
            bundle,
            load_manifest(config.data.manifest),
            taxonomy,
            title=f"{config.name}, out of fold",
            seed=config.seed,
        )
    _print_evaluation(evaluation, taxonomy, predictions.parent / REPORT_PAGE)


def _evaluate_bundle(
    bundle: Bundle,
    manifest: Manifest,
    split: str | None,
    out: Path,
    taxonomy_path: Path | None,
    gates: GatesFile | None = None,
    *,
    known: pl.DataFrame | None = None,
) -> None:
    from vision.data.check import check_labelled_table
    from vision.data.manifest import truth_columns
    from vision.evaluate.gates import check_baseline, check_gates
    from vision.evaluate.outputs import REPORT_PAGE
    from vision.evaluate.run import NOVEL, evaluate_bundle, known_rows, rows_of_split, taxonomy_for
    from vision.predictions import PREDICTIONS_FILE, load_predictions

    judged_by = taxonomy_for(bundle, taxonomy_path)
    rows = rows_of_split(manifest, split)
    if gates is not None:  # before the pictures are classified, which takes a while
        check_labelled_table(manifest, judged_by)
        check_gates(gates, judged_by, {*bundle.info.classes, *rows["label"]})
        pictures = truth_columns(rows).with_columns(rows["file_name"], rows["sha256"].fill_null(""))
        check_baseline(gates, out / PREDICTIONS_FILE, pictures, judged_by)
    num_beside = len(known_rows(manifest, bundle)) if split == NOVEL and known is None else 0
    with progress_bar("classifying", len(rows) + num_beside) as advance:
        evaluation = evaluate_bundle(bundle, manifest, judged_by, out, split=split, known=known, on_progress=advance)
    if split == NOVEL and (evaluation.novelty is None or evaluation.novelty.auroc.value is None):
        say(
            f"warning: {manifest.path} has no known class in the splits test and calibration, so nothing tells how "
            "well novelty tells novel from known pictures"
        )
    _print_evaluation(evaluation, judged_by, out / REPORT_PAGE)
    if gates is not None:
        table = load_predictions(out / PREDICTIONS_FILE)
        if not _keeps_gates(gates, evaluation, table, judged_by, out):
            raise typer.Exit(EXIT_GATE_FAILED)
    if evaluation.num_errors:
        raise typer.Exit(EXIT_SOME_IMAGES_FAILED)


def _load_gates(path: Path | None, baseline: Path | None) -> GatesFile | None:
    if path is None:
        if baseline is not None:
            raise UsageError("--baseline is for the gate no_loss; give --gate FILE too")
        return None
    from vision.evaluate.gates import load_gates

    return load_gates(path, baseline=baseline)


def _keeps_gates(
    gates: GatesFile, evaluation: Evaluation, table: pl.DataFrame, judged_by: Taxonomy, folder: Path
) -> bool:
    """Judge, write and print the gates; whether all are kept."""
    from vision.evaluate.gates import gates_table, judge_gates, write_gates
    from vision.evaluate.outputs import REPORT_PAGE
    from vision.evaluate.report.render import show_gates
    from vision.evaluate.summary import SUMMARY_FILE, evaluation_markdown
    from vision.files import write_whole_text

    results = judge_gates(gates, evaluation, table, judged_by)
    write_gates(results, folder, title=evaluation.title)
    write_whole_text(folder / SUMMARY_FILE, evaluation_markdown(evaluation, judged_by, results))
    show_gates(folder / REPORT_PAGE, results)
    print(printable(gates_table(results)))
    return all(result.passed for result in results)


def _classify(
    paths: list[str],
    model: Path,
    output_format: OutputFormat | None,
    output: Path | None,
    *,
    recursive: bool,
    top_k: int | None = None,
    evidence_dir: Path | None = None,
    others: OtherPromises | None = None,
) -> None:
    from vision.bundle import load_bundle
    from vision.classify.engine import Engine
    from vision.classify.inputs import check_inputs, expand_inputs
    from vision.classify.redecide import OtherPromises, rules_with

    output_format = output_format or _default_format(output)
    if top_k is not None and output_format is not OutputFormat.TABLE:
        say(f"--top-k is for the table; {output_format.value} lists all classes")
    check_inputs(paths, recursive=recursive)
    bundle = load_bundle(model)
    asks_otherwise = others not in (None, OtherPromises())
    engine = Engine(bundle, rules=rules_with(bundle, others) if asks_otherwise else None)
    tell_best_effort(engine.rules)
    pictures = ((str(path), path, None) for path in expand_inputs(paths, recursive=recursive, stdin=sys.stdin.buffer))
    rows = engine.stream(pictures)
    if evidence_dir is not None:
        from vision.evaluate.report.evidence import with_evidence_pictures

        rows = with_evidence_pictures(engine, rows, evidence_dir)
    num_rows = num_errors = 0
    with _written_rows(rows, output_format, output, engine, top_k) as written:
        for row in written:
            num_rows += 1
            num_errors += row.status == "error"
    if num_rows == 0:
        raise InputPathError("no picture to classify: the list of paths is empty")
    if output is not None:
        say(f"{output}: {num_rows} rows, {num_errors} of them errors")
    elif num_errors:
        say(f"{num_errors} of {num_rows} pictures could not be read; their rows say why")
    if num_errors:
        raise typer.Exit(EXIT_SOME_IMAGES_FAILED)


@contextmanager
def _written_rows(
    rows: Iterator[Prediction], output_format: OutputFormat, output: Path | None, engine: Engine, top_k: int | None
) -> Iterator[Iterator[Prediction]]:
    """Rows that are written as they are taken: to the terminal, or whole to a file."""
    if output_format is OutputFormat.TABLE:
        if output is not None:
            raise OutputError(f"{output}: a table is for the terminal; choose --format json, jsonl or csv")
        from rich.console import Console

        from vision.console import TOP_K, print_predictions

        yield print_predictions(
            rows, engine.bundle.info.taxonomy, Console(highlight=False), top_k=top_k or TOP_K, rules=engine.rules
        )
        return
    from vision.classify.writing import write_csv, write_json, write_json_lines

    writer = {OutputFormat.JSON: write_json, OutputFormat.JSONL: write_json_lines, OutputFormat.CSV: write_csv}[
        output_format
    ]
    if output is None:
        yield writer(rows, sys.stdout)
        sys.stdout.flush()
        return
    from vision.files import whole_file

    with (
        progress_bar("classifying", None) as advance,
        whole_file(output) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):

        def told() -> Iterator[Prediction]:
            for row in writer(rows, stream):
                advance(1)
                yield row

        yield told()


def _default_format(output: Path | None) -> OutputFormat:
    if output is not None:
        by_ending = {f".{choice.value}": choice for choice in OutputFormat if choice is not OutputFormat.TABLE}
        if output.suffix not in by_ending:
            raise OutputError(f"{output}: predictions end in {', '.join(by_ending)}; rename it or give --format")
        return by_ending[output.suffix]
    return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.JSONL


def _common_images_dir(file_names: Iterable[str], manifest_dir: Path) -> Path:
    """The folder that names of pictures start from: the manifest's, or for names given on a command line, this one."""
    names = list(file_names)
    found = sum((manifest_dir / name).is_file() for name in names)
    return manifest_dir if 2 * found > len(names) else Path()


def _shown(figure: FigureWithInterval) -> str:
    if figure.value is None:
        return "-"
    between = f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else ""
    return f"{figure.value:.3f}{between}"


def _print_left_out(figures: LeftOut) -> None:
    print(f"{figures.title}: {len(figures.classes)} classes, each unknown in turn; most dangerous first")
    line = "{:<20} {:>6} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6}  {}"
    shares = ("unknown", "family", "wrong", ">=90 %", "known", "AUROC")
    print(line.format("class", "danger", *shares, "called most often, mean confidence"))
    for row in figures.classes:
        of_class = (row.unknown, row.right_family, row.wrong_class, row.confident_wrong_class, row.known_answered)
        percent = ["-" if share is None else f"{share:.0%}" for share in of_class]
        auroc = row.auroc["ours"]
        called = f"nothing; looks like {row.look_alike}"
        if row.called is not None:
            called = f"{row.called} {row.num_called} of {row.num_images}, {row.called_confidence or 0:.0%}"
        print(
            line.format(row.class_id, f"{row.danger:.2f}", *percent, "-" if auroc is None else f"{auroc:.2f}", called)
        )
    print("danger: mean cost of names with 90 % or more; family: right family; wrong: a class named; known: the price,")
    print("the share of known pictures that still get an answer")
    print(f"mean over classes, 95 % interval over classes and groups; known pictures: {figures.known_pictures}")
    names = ("unknown", "right_family", "confident_wrong_class", "softmax_confident", "known_answered", "known_right")
    for name in (*names, "auroc_ours"):
        print(f"  {_shown(figures.means[name])}  {name.replace('_', ' ')}")
    print(f"  {_shown(figures.gain)}  AUROC above {figures.best_baseline.replace('_', ' ')}, the best baseline")


def _print_evaluation(evaluation: Evaluation, judged_by: Taxonomy, report_path: Path) -> None:
    from vision.evaluate.summary import is_wrong_name

    print(f"{evaluation.title}: {evaluation.num_images} pictures, {evaluation.num_groups} groups")
    if sum(novel.num_images for novel in evaluation.novel) < evaluation.num_images:  # else no class can be right
        print(f"  {_shown(evaluation.accuracy)}  accuracy: the right class was named (95 % interval over groups)")
        print(f"  {_shown(evaluation.macro_recall)}  macro recall")
        if evaluation.most_probable is not None:
            print(f"  {_shown(evaluation.most_probable)}  the most probable class is right, named or not")
        for baseline in evaluation.baselines:
            print(f"  {_shown(baseline.accuracy)}  {baseline.name}")
            ours = evaluation.most_probable or evaluation.accuracy
            if (baseline.accuracy.value or 0) > (ours.value or 0):
                say(
                    f"warning: the {baseline.name} is right more often than the model: a weak recipe for these pictures"
                )
    if evaluation.answers is not None:
        levels = ", ".join(f"{level} {share:.0%}" for level, share in evaluation.answers.by_level.items())
        print(f"answered: {levels}")
        if evaluation.answers.num_answers:
            print(f"  {_shown(evaluation.answers.right)}  of the answers at class, family or role are right")
    if evaluation.calibration is not None:
        calibration = evaluation.calibration
        error, before = calibration.after.calibration_error, calibration.before
        plain = f"; {before.calibration_error.value:.3f} by plain softmax" if before is not None else ""
        print(f"  {_shown(error)}  calibration error of the most probable class{plain}")
        if calibration.answers is not None:
            print(f"  {_shown(calibration.answers.calibration_error)}  calibration error of the answers that are given")
    if evaluation.promises is not None:
        _print_promises(evaluation.promises)
    if evaluation.costs is not None:
        _print_costs(evaluation.costs)
    if evaluation.novelty is not None and evaluation.novelty.auroc.value is not None:
        _print_novelty(evaluation.novelty)
    for novel in evaluation.novel:
        print(f"{novel.class_id}, which the model never saw, {novel.num_images} pictures:")
        print(f"  {novel.unknown:6.1%} called unknown")
        print(f"  {novel.right_above:6.1%} given the right family or role")
        print(f"  {novel.wrong_above:6.1%} given a wrong family or role")
        print(f"  {novel.wrong_class:6.1%} given the name of another class")
        plain = "" if novel.softmax_confident is None else f"; plain softmax {novel.softmax_confident:.1%}"
        print(f"  {novel.confident_wrong_class:6.1%} so with 90 % or more{plain}")
        names = ", ".join(f"{name} {count}" for name, count in novel.most_probable[:5])
        print(f"  most probable class: {names}")
    if evaluation.num_trained_on:
        say(f"warning: {evaluation.num_trained_on} of the pictures were trained on; the figures flatter the model")
    for pair in [pair for pair in evaluation.confused_pairs if is_wrong_name(pair, judged_by)][:5]:
        cue = f"; {pair.cues[0]}" if pair.cues else ""
        print(f"  {pair.true_id} taken for {pair.answer_id}: {pair.num_images} ({pair.share_of_true:.0%}){cue}")
    for note in evaluation.notes:
        say(f"note: {note}")
    print(f"report: {report_path}")


def _print_promises(figures: PromiseFigures) -> None:
    print(f"promises, on {figures.num_images} pictures of known classes:")
    shares = (
        (figures.right, "at least", "of the answers are right"),
        (figures.coverage, "at least", "of the label sets hold the truth"),
        (figures.flagged, "at most", "are called unknown for novelty"),
    )
    for kept, bound, what in shares:
        if kept is not None and kept.found.value is not None:
            promised = "" if kept.promised is None else f"; promised: {bound} {kept.promised:g}"
            print(f"  {_shown(kept.found)}  {what}{promised}")
    if figures.set_size is not None:
        print(f"  {_shown(figures.set_size)}  classes in a label set, mean")


def _print_novelty(novelty: NoveltyFigures) -> None:
    num_known, num_novel = sum(novelty.known), sum(novelty.novel)
    print(f"novelty of {num_novel} novel and {num_known} known pictures: AUROC; known flagged with 95 % of the novel")
    print(f"  {_shown(novelty.auroc)}; {_shown(novelty.known_flagged_at_95)}  by the bundle's score")
    for name, other in novelty.others.items():
        gain = f"; AUROC of the bundle's score less this one {_shown(other.auroc_gain)}"
        print(f"  {_shown(other.auroc)}; {_shown(other.known_flagged_at_95)}  by {name}{gain}")


def _print_costs(costs: CostFigures) -> None:
    low, high = costs.realised.low, costs.realised.high
    interval = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    forced = costs.most_probable
    always = "" if forced is None else f"; {forced.value:.2f} if the most probable class were always named"
    print(f"  {costs.realised.value:6.2f}{interval}  mean cost of a picture by the taxonomy{always}")
    if costs.expected is not None and costs.realised_known is not None:
        known, expected = costs.realised_known.value, costs.expected.value
        print(f"  {known:6.2f}  of it for classes that the model knows, where it expects {expected:.2f}")
