"""An evaluation in one screen of Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vision.evaluate.evaluation import NO_ANSWER, UNKNOWN, ConfusedPair, Evaluation
from vision.evaluate.gates import GateResult, failed_first, limit_words
from vision.evaluate.junit import visible_text
from vision.evaluate.parts import FigureWithInterval
from vision.taxonomy import Taxonomy

SUMMARY_FILE = "summary.md"
_MOST_PAIRS = 5
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&|~#:@!$]|(?<=www)\.")


def evaluation_markdown(evaluation: Evaluation, taxonomy: Taxonomy, gates: Sequence[GateResult] = ()) -> str:
    """The evaluation as Markdown in GitHub's flavour: gates, headline figures, worst confusions, what is missing.

    Args:
        evaluation: The figures.
        taxonomy: It tells wrong answers from coarse ones, and names classes.
        gates: What became of the gates, if it was held to any.
    """
    parts = [
        f"## {markdown_text(evaluation.title)}",
        _counts(evaluation),
        _gates_part(gates),
        _table(("figure", "value", "95 % interval"), _headline(evaluation)),
        _promises_part(evaluation),
        _novel_part(evaluation),
        _confusions_part(evaluation, taxonomy),
        _missing_part(evaluation),
        " ".join(markdown_text(note) for note in evaluation.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line: in a heading, a paragraph or a cell of a table.

    Markup becomes character references. GitHub makes links of @name and #1 after it has resolved those, so that an
    empty comment stands behind these two signs.
    """
    return _MARKUP.sub(_reference, visible_text(text))


def _reference(found: re.Match[str]) -> str:
    sign = found[0]
    return f"&#{ord(sign)};{'<!-- -->' if sign in '@#' else ''}"


def _counts(evaluation: Evaluation) -> str:
    known = [f"{evaluation.num_images} pictures in {evaluation.num_groups} groups"]
    if evaluation.num_errors:
        known.append(f"**{evaluation.num_errors} could not be read**")
    if evaluation.num_trained_on:
        known.append(f"**{evaluation.num_trained_on} were trained on: the figures flatter the model**")
    if evaluation.model:
        known.append(f"model <code>{markdown_text(evaluation.model[:16])}</code>")
    return "; ".join(known) + "."


def _gates_part(gates: Sequence[GateResult]) -> str:
    if not gates:
        return ""
    num_failed = sum(not gate.passed for gate in gates)
    verdict = f"{num_failed} of {len(gates)} gates failed" if num_failed else f"all {len(gates)} gates passed"
    rows = [
        (
            "passed" if gate.passed else "**failed**",
            markdown_text(gate.name),
            markdown_text(limit_words(gate)),
            markdown_text(gate.words),
        )
        for gate in failed_first(gates)
    ]
    return f"### Gates: {verdict}\n\n{_table(('', 'gate', 'limit', 'finding'), rows)}"


def _headline(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    figures: list[tuple[str, FigureWithInterval | None]] = []
    if sum(novel.num_images for novel in evaluation.novel) < evaluation.num_images:  # else no class can be right
        figures += [
            ("accuracy: the right class was named", evaluation.accuracy),
            ("macro recall", evaluation.macro_recall),
            ("the most probable class is right, named or not", evaluation.most_probable),
        ]
    if evaluation.answers is not None:
        figures.append(("of the answers at class, family or role are right", evaluation.answers.right))
    if evaluation.costs is not None:
        figures.append(("mean cost of an answer", evaluation.costs.realised))
    calibration = evaluation.calibration
    if calibration is not None:
        figures.append(("calibration error of the most probable class", calibration.after.calibration_error))
        if calibration.answers is not None:
            figures.append(("calibration error of the answers", calibration.answers.calibration_error))
    return [(name, *_cells(figure)) for name, figure in figures if figure is not None]


def _cells(figure: FigureWithInterval) -> tuple[str, str]:
    value = "no images" if figure.value is None else f"{figure.value:.3f}"
    return value, "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"


def _promises_part(evaluation: Evaluation) -> str:
    promises = evaluation.promises
    if promises is None:
        return ""
    shares = [
        ("answers that are right", "at least", promises.right),
        ("label sets that hold the truth", "at least", promises.coverage),
        ("called unknown for novelty", "at most", promises.flagged),
    ]
    rows = [
        (name, "" if kept.promised is None else f"{bound} {kept.promised:.3f}", *_cells(kept.found))
        for name, bound, kept in shares
        if kept is not None
    ]
    if promises.set_size is not None:
        rows.append(("classes in a label set", "", *_cells(promises.set_size)))
    head = f"### Promises, on {promises.num_images} pictures of known classes"
    return f"{head}\n\n{_table(('what', 'promised', 'found', '95 % interval'), rows)}"


def _novel_part(evaluation: Evaluation) -> str:
    rows = [
        (
            f"<code>{markdown_text(novel.class_id)}</code>",
            str(novel.num_images),
            f"{novel.unknown:.1%}",
            f"{novel.right_above:.1%}",
            f"{novel.wrong_class:.1%}",
            f"{novel.confident_wrong_class:.1%}",
        )
        for novel in evaluation.novel
    ]
    head = ("class", "pictures", "unknown", "right family or role", "wrong name", "so with 90 % or more")
    if not rows:
        return ""
    return "\n\n".join(["### Classes that the model never saw", _table(head, rows), *_scores(evaluation)])


def _scores(evaluation: Evaluation) -> list[str]:
    """How well each score tells novel from known pictures, if there are both."""
    novelty = evaluation.novelty
    if novelty is None or novelty.auroc.value is None:
        return []
    rows = [("the bundle's score", *_cells(novelty.auroc), f"{novelty.known_flagged_at_95.value or 0:.3f}")]
    rows += [
        (name, *_cells(other.auroc), f"{other.known_flagged_at_95.value or 0:.3f}")
        for name, other in novelty.others.items()
    ]
    return [_table(("novelty by", "AUROC", "95 % interval", "known flagged with 95 % of the novel"), rows)]


def _confusions_part(evaluation: Evaluation, taxonomy: Taxonomy) -> str:
    pairs = [pair for pair in evaluation.confused_pairs if is_wrong_name(pair, taxonomy)]
    rows = [
        (
            f"<code>{markdown_text(pair.true_id)}</code>",
            f"<code>{markdown_text(pair.answer_id)}</code>",
            f"{pair.num_images} ({pair.share_of_true:.0%})",
            markdown_text(pair.cues[0]) if pair.cues else "",
        )
        for pair in pairs[:_MOST_PAIRS]
    ]
    if not rows:
        return "No picture was given a wrong class, family or role."
    heading = "### Most frequent confusions" + (f", {len(rows)} of {len(pairs)}" if len(pairs) > len(rows) else "")
    return f"{heading}\n\n{_table(('true', 'answer', 'pictures', 'cue to check'), rows)}"


def is_wrong_name(pair: ConfusedPair, taxonomy: Taxonomy) -> bool:
    """Whether the answer names something else; `unknown` and the right family or role do not."""
    right = {taxonomy.family_id(pair.true_id), taxonomy.role_id(pair.true_id)}
    return pair.answer_id not in {UNKNOWN, NO_ANSWER, *right}


def _missing_part(evaluation: Evaluation) -> str:
    missing = [figures.class_id for figures in evaluation.classes if figures.num_images == 0]
    names = ", ".join(f"<code>{markdown_text(class_id)}</code>" for class_id in missing)
    return f"Classes without images, of which nothing is known: {names}." if missing else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's flavour; its cells are escaped already."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
