"""`vision data review` and `vision data apply-review`: going through pictures, and a manifest of what came of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import (
    ManifestArgument,
    TaxonomyOption,
    need_data_extra,
    printable,
    progress_bar,
    refuse_existing,
    refuse_overwriting_input,
    say,
    spinner,
)
from vision.errors import OutputError, UsageError

if TYPE_CHECKING:
    from vision.data.manifest import Manifest
    from vision.data.reviewing.applying import AppliedReview
    from vision.data.reviewing.carrying import CarriedReview
    from vision.predictions import Prediction
    from vision.taxonomy import Taxonomy
    from vision.web.review_order import QueuedPicture
    from vision.web.review_session import ReviewSession

EXIT_SOME_NOT_APPLIED = 1
MOST_NAMED = 20

DecisionsOption = Annotated[
    Path | None,
    typer.Option("--decisions", metavar="FILE", help="Where decisions stand. Default: review.jsonl beside MANIFEST."),
]


def data_review(
    manifest_path: ManifestArgument,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A bundle; pictures that it finds odd come first.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="The same, from what `vision classify -o` wrote before.")
    ] = None,
    decisions: DecisionsOption = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only pictures with this label. May be repeated.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Begin at the start, and stop at decided pictures too.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Go through a data set's pictures with the keyboard: keep, reject, not this class, interior, model, wreck.

    Each decision is added to review.jsonl beside MANIFEST before the page says so; end with Ctrl-C (exit code 0), and
    the next review goes on there. `vision data apply-review` then writes the new manifest. The page is served to this
    machine alone. Keys: ? on the page.

    Example: vision data review fetched/manifest.csv --model runs/photos/bundle
    """
    need_data_extra()
    from vision.data.manifest import load_manifest
    from vision.data.reviewing.decisions import load_review, open_review_log
    from vision.taxonomy import load_taxonomy
    from vision.web.review_order import rows_of_classes
    from vision.web.review_session import ReviewSession

    if model is not None and predictions is not None:
        raise UsageError("--model and --predictions both say what is odd; give one of them")
    taxonomy = load_taxonomy(taxonomy_path)
    manifest = load_manifest(manifest_path)
    rows = rows_of_classes(manifest, classes or [])
    if not rows:
        raise UsageError(f"{manifest_path}: no picture to review; the manifest has no rows")
    path = _decisions_path(manifest, decisions)
    refuse_overwriting_input(path, manifest_path)
    with open_review_log(path) as log:
        review = load_review(path)
        _tell_torn(review.torn)
        queue = _queue(manifest, rows, model, predictions, taxonomy)
        with progress_bar("reading decided pictures", None) as advance:
            session = ReviewSession(
                manifest, queue, taxonomy, log, review.lines, again=again, on_progress=lambda: advance(1)
            )
        if session.changed:
            say(f"warning: {len(session.changed)} decided pictures have changed since and are asked again:")
            _name(session.changed)
        _serve(session, port, open_browser=not no_browser)
    _print_summary(session, path, manifest_path)


def data_apply_review(
    manifest_path: ManifestArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")],
    decisions: DecisionsOption = None,
    keep_wrecks: Annotated[bool, typer.Option("--keep-wrecks", help="Wrecks stay.")] = False,
    keep_interiors: Annotated[bool, typer.Option("--keep-interiors", help="Interiors and details stay.")] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Models and toys stay.")] = False,
    only_decided: Annotated[
        bool, typer.Option("--only-decided", help="Drop pictures that nobody has decided about.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make OUTPUT anew, whatever stands there, splits and groups included.")
    ] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Write the manifest that a review leaves: rejected pictures, interiors, models and wrecks out, labels put right.

    What is left out goes to a table beside OUTPUT, its name with -dropped.csv, with the reason. Pictures whose file or
    label has changed since they were decided about stay as they are, are named, and make the exit code 1.

    Run it again when there are more pictures or decisions: splits, groups and further columns that OUTPUT was given
    since, and labels that were changed in it, are carried over.

    Example: vision data apply-review fetched/manifest.csv -o fetched/reviewed.csv
    """
    from vision.data.manifest import Manifest, load_manifest, save_manifest
    from vision.data.manifest_files import ENDINGS
    from vision.data.reviewing.applying import apply_review, dropped_path, seen_from
    from vision.data.reviewing.carrying import carry_over, earlier_output, is_table_of_dropped
    from vision.data.reviewing.decisions import Verdict, load_review
    from vision.files import whole_file
    from vision.taxonomy import load_taxonomy

    taxonomy = load_taxonomy(taxonomy_path)
    manifest = load_manifest(manifest_path)
    target, decided_path = dropped_path(output), _decisions_path(manifest, decisions)
    if output.suffix not in ENDINGS:  # before the dropped pictures are written
        raise OutputError(f"{output}: a manifest ends in {', '.join(ENDINGS)}")
    for path in (output, target):
        refuse_overwriting_input(path, manifest_path, decided_path)
    earlier = None if overwrite else earlier_output(output, manifest)
    if earlier is None and not (overwrite or (not output.exists() and is_table_of_dropped(target))):
        for path in (output, target):
            refuse_existing(path, overwrite=False)
    review = load_review(decided_path)
    _tell_torn(review.torn)
    choices = {Verdict.WRECK: keep_wrecks, Verdict.INTERIOR: keep_interiors, Verdict.MODEL: keep_models}
    with progress_bar("reading decided pictures", None) as advance:
        applied = apply_review(
            manifest,
            review.lines,
            taxonomy,
            keep=[verdict for verdict, is_kept in choices.items() if is_kept],
            only_decided=only_decided,
            on_progress=lambda: advance(1),
        )
    carried = None if earlier is None else carry_over(applied, earlier, manifest, review.lines)
    applied = applied if carried is None else carried.applied
    kept = seen_from(applied.kept, manifest.folder, output.parent)
    dropped = seen_from(applied.dropped, manifest.folder, output.parent)
    # The dropped rows first: whatever happens between the two, no row is in neither.
    with whole_file(target) as temporary:
        dropped.write_csv(temporary)
    save_manifest(Manifest(output, kept), output)
    _print_applied(applied, output, target)
    if carried is not None:
        _tell_carried(carried, output, manifest_path)
    if applied.not_applied:
        raise typer.Exit(EXIT_SOME_NOT_APPLIED)


def _decisions_path(manifest: Manifest, given: Path | None) -> Path:
    from vision.data.reviewing.decisions import DECISIONS_FILE

    return given or manifest.folder / DECISIONS_FILE


def _queue(
    manifest: Manifest, rows: list[int], model: Path | None, predictions: Path | None, taxonomy: Taxonomy
) -> list[QueuedPicture]:
    from vision.predictions import load_predictions, read_rows
    from vision.web.review_order import num_odd, queue_oddest_first, queue_without_model

    if model is not None:
        answers: Iterable[Prediction] = _classified(manifest, rows, model)
    elif predictions is not None:
        answers = read_rows(load_predictions(predictions))
    else:
        return queue_without_model(rows)
    queue, num_judged = queue_oddest_first(manifest, rows, answers, taxonomy)
    if num_judged == 0:
        if predictions is not None:
            raise UsageError(
                f"{predictions}: no row names a picture of {manifest.path}; were other pictures classified?"
            )
        raise UsageError(
            f"{manifest.path}: no picture is the file that its sha256 says, so the model's answers fit none; "
            "`vision data check` names the rows: get the files that were meant, or empty the cells and use check --fix"
        )
    say(f"{num_odd(queue)} of {len(queue)} pictures are odd to the model and come first; {num_judged} were judged")
    return queue


def _classified(manifest: Manifest, rows: list[int], model: Path) -> list[Prediction]:
    from vision.bundle import load_bundle
    from vision.classify.engine import Engine
    from vision.data.manifest import parse_box

    bundle = load_bundle(model)
    engine = Engine(bundle, top_k=len(bundle.info.classes))
    table = manifest.table[rows]
    pictures = (
        (name, manifest.image_path(name), parse_box(box) if box else None)
        for name, box in table.select("file_name", "box").iter_rows()
    )
    found = []
    with progress_bar("classifying", len(rows)) as advance:
        for answer in engine.stream(pictures):
            found.append(answer)
            advance(1)
    return found


def _serve(session: ReviewSession, port: int, *, open_browser: bool) -> None:
    """Serve the page until Ctrl-C, which is how a review ends."""
    with spinner("starting"):
        from vision.web.review import HOST, build_review_app, new_token, open_listener, serve

        token = new_token()
        listener = open_listener(port)
    address = f"http://{HOST}:{listener.getsockname()[1]}/{token}/"
    say(f"review: {address}")
    say("Ctrl-C ends it; every decision is on the disk by then")
    if open_browser:
        _open_browser(address)
    try:
        serve(build_review_app(session, token), listener)
    except KeyboardInterrupt:
        return
    finally:
        listener.close()


def _open_browser(address: str) -> None:
    import threading
    import webbrowser

    # In a thread: some browsers of the terminal return only when they are closed.
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _print_summary(session: ReviewSession, path: Path, manifest_path: Path) -> None:
    from vision.web.review_session import CODES, is_waiting

    counts = session.num_by_code()
    num_waiting = sum(count for code, count in counts.items() if is_waiting(code))
    told = [f"{counts[code]} {verdict}" for verdict, code in CODES.items() if counts[code] and code != "."]
    print(
        f"{path}: {session.num_pictures - num_waiting} of {session.num_pictures} decided: {', '.join(told) or 'none'}"
    )
    is_beside = path.resolve() == _decisions_path(session.manifest, None).resolve()
    say(f"next: the same command to go on; {apply_command(manifest_path, None if is_beside else path)}")


def apply_command(manifest_path: Path, decisions: Path | None) -> str:
    """The command that applies a review, to be copied; the new manifest lies beside the old one."""
    output = manifest_path.with_name(f"reviewed{manifest_path.suffix}")
    command = ["vision", "data", "apply-review", str(manifest_path), "-o", str(output)]
    return shlex.join(command + (["--decisions", str(decisions)] if decisions else []))


def _print_applied(applied: AppliedReview, output: Path, dropped_path: Path) -> None:
    for decision, count in applied.num_by_decision.items():
        if count:
            print(f"{count:8} {decision}")
    print(f"{output}: {len(applied.kept)} pictures, {applied.num_relabelled} with another label than before")
    print(f"{dropped_path}: {len(applied.dropped)} pictures left out")
    if applied.num_elsewhere:
        say(f"{applied.num_elsewhere} decisions are about pictures that are not in this manifest")
    if applied.not_applied:
        say(f"{len(applied.not_applied)} decisions were not applied:")
        _name(applied.not_applied)


def _tell_carried(carried: CarriedReview, output: Path, manifest_path: Path) -> None:
    say(f"{carried.num_carried} pictures stood there before; splits, groups and columns that they had are carried over")
    if carried.divided_groups:
        say(
            f"{len(carried.divided_groups)} groups there stood in several splits, as where a new picture is a copy of "
            f"two old ones; their pictures have the groups of {manifest_path} again:"
        )
        _name(carried.divided_groups)
    if carried.labels_kept:
        say(f"{len(carried.labels_kept)} labels were changed in {output} itself and stay:")
        _name(carried.labels_kept)
    if carried.gone:
        say(f"warning: {len(carried.gone)} rows that stood there are not in {manifest_path}, and are gone:")
        _name(carried.gone)


def _tell_torn(places: Iterable[str]) -> None:
    for place in places:
        say(f"warning: {place}: a line that is no JSON, as a crash leaves it; ignored")


def _name(lines: Iterable[str]) -> None:
    listed = list(lines)
    for line in listed[:MOST_NAMED]:
        say(printable(f"  {line}"))
    if len(listed) > MOST_NAMED:
        say(f"  ... and {len(listed) - MOST_NAMED} more")
