"""Quality gates: limits that an evaluation is held to, read from a file, judged, and told to people and machines.

A figure that cannot be measured never passes: a class without images fails its floor. `docs/gates.md` shows every gate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

import vision
from vision.data.manifest import groups_of
from vision.errors import ConfigError, PredictionsError, UsageError, nearest_name_hint
from vision.evaluate.calibration_metrics import Bools, group_mean_interval, wilson_interval
from vision.evaluate.comparison import (
    Comparison,
    NamedPredictions,
    PairedRows,
    compare_predictions,
    pair_rows,
    predictions_path,
    significant_loss,
)
from vision.evaluate.evaluation import NO_ANSWER, UNKNOWN, Evaluation, answers_of
from vision.evaluate.junit import Case, junit_xml, visible_text
from vision.evaluate.novel import CONFIDENT
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.files import write_whole_text
from vision.predictions import load_predictions
from vision.settings_file import Location, SettingsFile, parse_settings
from vision.taxonomy import Taxonomy

GATES_FILE = "gates.json"
JUNIT_FILE = "gates.xml"


def _expects(what: str, is_fit: Callable[[Any], bool]) -> BeforeValidator:
    """Refuses a value in words of this file's readers, not of the library that reads it."""

    def checked(value: Any) -> Any:
        if not is_fit(value):
            raise ValueError(f"expected {what}")
        return value

    return BeforeValidator(checked)


def _is_number_up_to(largest: float, value: Any) -> bool:
    # Neither `.nan` nor `.inf`, nor a truth value, which is a number for Python.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= largest


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict | BaseModel)


By = Annotated[Literal["value", "bound"], _expects("value or bound", lambda value: value in ("value", "bound"))]
Share = Annotated[float, _expects("a share in [0, 1]", partial(_is_number_up_to, 1))]
Cost = Annotated[float, _expects("a number from 0", partial(_is_number_up_to, sys.float_info.max))]
NodeName = Annotated[str, _expects("a name, in quotes if need be", lambda value: isinstance(value, str))]
Kind = Literal["recall", "accuracy", "confusion", "calibration_error", "cost", "confident_wrong_novel", "no_loss"]
_ROUNDING = 1e-9  # a mean of shares that is equal to its limit on paper need not be so in binary


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Floor(_Settings):
    """A share that must be reached."""

    min: Share
    """Least share that passes, in [0, 1]."""
    by: By = "value"
    """Hold the figure itself to the limit, or the worse end of its 95 % interval."""


class Ceiling(_Settings):
    """A share that must not be passed."""

    max: Share
    """Greatest share that passes, in [0, 1]."""
    by: By = "value"
    """As in `Floor`."""


class CostCeiling(_Settings):
    """A mean cost that must not be passed."""

    max: Cost
    """Greatest mean cost of a picture that passes, in the taxonomy's unit."""
    by: By = "value"
    """As in `Floor`."""


class ConfusionCeiling(Ceiling):
    """Pictures of one class that got a certain other answer, as a share of the class."""

    true: NodeName
    """The class of the pictures."""
    answer: NodeName
    """Another class, a family, a role, `unknown` or `no answer`."""

    @model_validator(mode="before")
    @classmethod
    def _true_as_key(cls, value: Any) -> Any:
        # In YAML 1.1 a bare `true` is a truth value, also as a key.
        return (
            {"true" if key is True else key: item for key, item in value.items()} if isinstance(value, dict) else value
        )


class NoLoss(_Settings):
    """No loss beyond chance against other predictions of the same pictures: of accuracy, or of a class's recall."""

    baseline: Annotated[Path | None, _expects("a path", lambda value: isinstance(value, str | Path))] = None
    """Predictions, or an evaluation's folder, relative to the gates file; or `--baseline` names them."""


_IsFloor = _expects("limits such as {min: 0.8}", _is_mapping)
_IsCeiling = _expects("limits such as {max: 0.1}", _is_mapping)
_IsPairs = _expects("a list, of items such as {true: tor-m1, answer: tor-m2, max: 0.05}", lambda v: isinstance(v, list))
_IsByClass = _expects("limits by class, such as {tor-m1: {min: 0.8}}", _is_mapping)
_IsPair = _expects("an item such as {true: tor-m1, answer: tor-m2, max: 0.05}", _is_mapping)
_IsNoLoss = _expects("{baseline: old/predictions.parquet}, or {} with --baseline", _is_mapping)


class Gates(BaseModel):
    """The content of a gates file; each gate may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    accuracy: Annotated[Floor | None, _IsFloor] = None
    """Share of all pictures whose class was named."""
    recall: Annotated[dict[NodeName, Annotated[Floor, _IsFloor]], _IsByClass] = {}
    """By class: share of its pictures whose class was named."""
    confusion: Annotated[tuple[Annotated[ConfusionCeiling, _IsPair], ...], _IsPairs] = ()
    """Pairs of a class and a wrong answer."""
    calibration_error: Annotated[Ceiling | None, _IsCeiling] = None
    """Expected calibration error of the most probable class."""
    cost: Annotated[CostCeiling | None, _IsCeiling] = None
    """Mean cost of what was answered, by the taxonomy's costs."""
    confident_wrong_novel: Annotated[Ceiling | None, _IsCeiling] = None
    """Share of the pictures of novel classes that were given a class's name with 90 % or more."""
    no_loss: Annotated[NoLoss | None, _IsNoLoss] = None
    """Comparison with a baseline."""

    @model_validator(mode="after")
    def _some_gate(self) -> Gates:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError(f"has no gate; known gates: {', '.join(type(self).model_fields)}")
        return self


@dataclass(frozen=True)
class GatesFile:
    """Gates and where each stands in its file."""

    gates: Gates
    settings: SettingsFile

    @property
    def baseline(self) -> Path | None:
        """The predictions that `no_loss` compares with."""
        return self.gates.no_loss.baseline if self.gates.no_loss else None


class GateResult(Part):
    """What became of one gate.

    Attributes:
        kind: Its key in the gates file.
        name: What is measured, in words, with the class or pair.
        side: Whether the limit is the least or the greatest figure that passes.
        limit: The limit.
        by: Whether the figure or the worse end of its interval was held to it.
        measured: The figure; nothing where it could not be measured.
        passed: Whether the limit was kept.
        words: The finding, or why there is none.
    """

    kind: Kind
    name: str
    side: Literal["min", "max"]
    limit: float
    by: By
    measured: FigureWithInterval
    passed: bool
    words: str


class GateReport(Part):
    """The content of `gates.json`.

    Attributes:
        schema_version: Of this layout; it grows when a field changes its meaning or goes, not when one is added.
        created_by: Program and version that wrote the file.
        title: Name of the evaluation that was judged.
        passed: Whether all gates were kept.
        results: One for each gate, in the order of the gates file's keys in `docs/gates.md`.
    """

    schema_version: Literal[1] = 1
    created_by: str
    title: str
    passed: bool
    results: tuple[GateResult, ...]


def load_gates(path: Path, *, baseline: Path | None = None) -> GatesFile:
    """The gates in a YAML file.

    Args:
        path: The file.
        baseline: Predictions for `no_loss` instead of those that the file names.

    Raises:
        ConfigError: With every unknown key and wrong value, their lines, and the nearest known names.
        UsageError: A baseline is missing, or given without a gate that would read it.
        PredictionsError: The baseline is a folder without predictions.
    """
    settings = SettingsFile(path, ConfigError)
    if not isinstance(settings.content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(settings.content).__name__}")
    gates = parse_settings(Gates, settings)
    if gates.no_loss is None:
        if baseline is not None:
            raise UsageError(f"--baseline: {path} has no gate 'no_loss' that would read it; add `no_loss: {{}}`")
        return GatesFile(gates, settings)
    named = gates.no_loss.baseline
    given = baseline if baseline is not None or named is None else path.parent / named
    if given is None:
        raise UsageError(f"{settings.place(('no_loss',))}: no_loss names no baseline; add it, or give --baseline")
    found = predictions_path(given) if given.exists() else given  # else the place in the gates file is told
    if not found.is_file():
        place = "--baseline" if baseline is not None else settings.place(("no_loss", "baseline"))
        raise ConfigError(f"{place}: no_loss: no file of predictions at {found}; check the path")
    return GatesFile(gates.model_copy(update={"no_loss": NoLoss(baseline=found)}), settings)


def check_gates(gates_file: GatesFile, taxonomy: Taxonomy, class_ids: Collection[str]) -> None:
    """Make sure that every class that a gate names can have a figure.

    Args:
        gates_file: The gates.
        taxonomy: Where the names of classes, families and roles come from.
        class_ids: Classes of the model and of the pictures.

    Raises:
        ConfigError: With every name that is not there, its line, and the nearest that is.
    """
    problems = [
        f"{gates_file.settings.place(location)}: {fault}"
        for location, fault in _name_faults(gates_file.gates, taxonomy, class_ids)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def check_baseline(gates_file: GatesFile, predictions: Path, pictures: pl.DataFrame, taxonomy: Taxonomy) -> None:
    """Make sure, before anything is written, that the baseline of `no_loss` can be compared with.

    Args:
        gates_file: The gates.
        predictions: The file that is judged, or will be.
        pictures: What is known of its rows beforehand: `file_name`, `true_label`, and `sha256` and `group` if need be.
        taxonomy: It tells levels where the baseline lacks them.

    Raises:
        UsageError: The baseline is the same file: no file has a loss against itself.
        PredictionsError: It is of other pictures, or has other truths.
    """
    baseline = gates_file.baseline
    if baseline is None:
        return
    if baseline.resolve() == predictions.resolve():
        raise UsageError(f"{baseline}: the baseline of no_loss is the file that is judged; keep the baseline elsewhere")
    old = NamedPredictions(load_predictions(baseline, taxonomy), str(baseline), "the baseline")
    try:
        _paired_with_baseline(gates_file, old, pictures)
    except PredictionsError:
        # Digests of a manifest may be those of files as they once were; the pictures are read only later.
        _paired_with_baseline(gates_file, old, pictures.with_columns(sha256=pl.lit("")))


def judge_gates(
    gates_file: GatesFile, evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy
) -> tuple[GateResult, ...]:
    """What became of every gate, in the order of `Gates`.

    Args:
        gates_file: The gates.
        evaluation: Of the table.
        table: Prediction rows with `true_label`.
        taxonomy: As given for the evaluation.

    Raises:
        ConfigError: A gate names a class that has no figures.
    """
    check_gates(gates_file, taxonomy, evaluation.matrix("class").true_ids)
    rows = _Rows.of(table, evaluation)
    gates = gates_file.gates
    results = [_judged(*part) for part in _measured_shares(gates, evaluation, rows)]
    if gates.calibration_error is not None:
        calibration = evaluation.calibration
        figure = _measured(None if calibration is None else calibration.after.calibration_error)
        results.append(_judged("calibration_error", "calibration error", gates.calibration_error, figure))
    if gates.cost is not None:
        figure = _measured(None if evaluation.costs is None else evaluation.costs.realised)
        results.append(_judged("cost", "mean cost of an answer", gates.cost, figure))
    if gates.confident_wrong_novel is not None:
        name = f"novel pictures named with {100 * CONFIDENT:.0f} % or more"
        results.append(
            _judged("confident_wrong_novel", name, gates.confident_wrong_novel, rows.confident_wrong_novel())
        )
    if gates_file.baseline is not None:
        results.append(_no_loss(gates_file, gates_file.baseline, evaluation, table, taxonomy))
    return tuple(results)


def write_gates(results: Sequence[GateResult], folder: Path, *, title: str) -> None:
    """Write `gates.json` and `gates.xml` (JUnit) into a folder; names in it do not change with a limit."""
    report = GateReport(
        created_by=f"vision {vision.__version__}",
        title=visible_text(title),
        passed=all(result.passed for result in results),
        results=tuple(results),
    )
    write_whole_text(folder / GATES_FILE, report.model_dump_json(indent=1) + "\n")
    cases = [
        Case(
            f"vision.gates.{result.kind}",
            result.name + (" by bound" if result.by == "bound" and result.kind != "no_loss" else ""),
            f"{limit_words(result)}: {result.words}",
            _failure(result),
        )
        for result in results
    ]
    write_whole_text(folder / JUNIT_FILE, junit_xml(f"vision gates: {title}", cases))


def remove_gates(folder: Path) -> None:
    """Remove the results of earlier gates, which say nothing of new predictions."""
    for name in (GATES_FILE, JUNIT_FILE):
        (folder / name).unlink(missing_ok=True)


def failed_first(results: Sequence[GateResult]) -> list[GateResult]:
    """The results, those that failed before those that passed, else in their order."""
    return sorted(results, key=lambda result: result.passed)


def gates_table(results: Sequence[GateResult]) -> str:
    """The results as lines for a terminal, failed first, and a last line that counts them."""
    width = max((len(result.name) for result in results), default=0)
    lines = [
        f"{'passed' if result.passed else 'FAILED'}  {result.name:<{width}}  {limit_words(result):<16}  {result.words}"
        for result in failed_first(results)
    ]
    num_failed = sum(not result.passed for result in results)
    return "\n".join([*lines, f"gates: {len(results) - num_failed} passed, {num_failed} failed"])


def limit_words(result: GateResult) -> str:
    """The limit as it is shown: `>= 0.8`, `<= 0.05 by bound`."""
    if result.kind == "no_loss":
        return "no loss"
    sign = ">=" if result.side == "min" else "<="
    return f"{sign} {result.limit:g}{' by bound' if result.by == 'bound' else ''}"


@dataclass(frozen=True)
class _Measured:
    """A figure, or why there is none."""

    figure: FigureWithInterval
    missing: str = ""


_NOTHING = FigureWithInterval(value=None, low=None, high=None)
_Limit = Floor | Ceiling | CostCeiling


def _measured(figure: FigureWithInterval | None) -> _Measured:
    known = figure is not None and figure.value is not None
    return _Measured(figure or _NOTHING, "" if known else "not available: the predictions do not tell it")


@dataclass(frozen=True)
class _Rows:
    """What gates need of the predictions, (N,) each.

    Attributes:
        truth: Classes.
        answer: Ids; `no answer` for pictures that could not be read.
        groups: Names.
        is_novel: Whether the class is one that the model does not know.
        is_sure_name: Whether a class was named with 90 % or more.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """

    truth: np.ndarray[Any, np.dtype[np.object_]]
    answer: np.ndarray[Any, np.dtype[np.object_]]
    groups: np.ndarray[Any, np.dtype[np.object_]]
    is_novel: Bools
    is_sure_name: Bools
    num_replicates: int
    seed: int

    @classmethod
    def of(cls, table: pl.DataFrame, evaluation: Evaluation) -> _Rows:
        is_read = pl.col("status") != "error"
        level = pl.col("level") if "level" in table.columns else pl.lit("class")
        names = table.select(
            novel=~pl.col("true_label").is_in(list(evaluation.known_classes)),
            sure=(is_read & (level == "class") & (pl.col("probability") >= CONFIDENT)).fill_null(False),
        )
        groups = groups_of(table)
        return cls(
            truth=table["true_label"].to_numpy().astype(object),
            answer=answers_of(table).to_numpy().astype(object),
            groups=np.asarray(groups, dtype=object),
            is_novel=names["novel"].to_numpy(),
            is_sure_name=names["sure"].to_numpy(),
            num_replicates=evaluation.num_replicates,
            seed=evaluation.seed,
        )

    def confusion(self, true_id: str, answer_id: str) -> _Measured:
        """Share of a class's pictures with that answer."""
        return self._share(self.answer == answer_id, self.truth == true_id, "no images")

    def confident_wrong_novel(self) -> _Measured:
        """Share of the novel pictures that were named and sure."""
        return self._share(self.is_sure_name, self.is_novel, "no novel pictures")

    def with_honest_interval(self, figure: FigureWithInterval, true_id: str | None, missing: str) -> _Measured:
        """A share from the evaluation; its interval is widened where all groups of its pictures agree."""
        if figure.value is None:
            return _Measured(_NOTHING, missing)
        among = np.ones(len(self.truth), dtype=bool) if true_id is None else self.truth == true_id
        return _Measured(_never_without_width(figure, len(set(self.groups[among]))))

    def _share(self, hits: Bools, among: Bools, missing: str) -> _Measured:
        """With its interval over the groups that have such pictures."""
        if not among.any():
            return _Measured(_NOTHING, missing)
        chosen, groups = hits[among].astype(np.float64), self.groups[among].tolist()
        interval = group_mean_interval(chosen, groups, num_replicates=self.num_replicates, seed=self.seed)
        return _Measured(_never_without_width(FigureWithInterval.of(interval), len(set(groups))))


def _never_without_width(share: FigureWithInterval, num_groups: int) -> FigureWithInterval:
    """The share; where no group differs from the others, with Wilson's interval of so many pictures as groups.

    Resampling equal groups gives the same figure each time: 3 of 3 would be sure to be 100 %. One group shows nothing
    of others, so its share has no interval.
    """
    assert share.value is not None
    if num_groups < 2:
        return FigureWithInterval(value=share.value, low=None, high=None)
    if share.low is not None and share.high is not None and share.high > share.low:
        return share
    low, high = wilson_interval(np.array([share.value]), np.array([num_groups]))
    return FigureWithInterval(value=share.value, low=max(float(low[0]), 0.0), high=min(float(high[0]), 1.0))


def _measured_shares(
    gates: Gates, evaluation: Evaluation, rows: _Rows
) -> Iterator[tuple[Kind, str, _Limit, _Measured]]:
    """The gates on what was answered for known classes: kind, name, limit, figure."""
    if gates.accuracy is not None:
        yield "accuracy", "accuracy", gates.accuracy, rows.with_honest_interval(evaluation.accuracy, None, "no images")
    recalls = {figures.class_id: figures.recall for figures in evaluation.classes}
    for class_id, floor in gates.recall.items():
        measured = rows.with_honest_interval(recalls[class_id], class_id, "no images")
        yield "recall", f"recall of {class_id}", floor, measured
    for pair in gates.confusion:
        measured = rows.confusion(pair.true, pair.answer)
        yield "confusion", f"{pair.true} taken for {pair.answer}", pair, measured


def _judged(kind: Kind, name: str, limit: _Limit, measured: _Measured) -> GateResult:
    side: Literal["min", "max"] = "min" if isinstance(limit, Floor) else "max"
    threshold = limit.min if isinstance(limit, Floor) else limit.max
    figure = measured.figure
    held = figure.value if limit.by == "value" else figure.low if side == "min" else figure.high
    passed, words = False, measured.missing
    if not words and held is None:
        words = f"no interval: all pictures are of one group; the figure is {_shown(figure.value)}"
    elif not words and held is not None:
        passed = held >= threshold - _ROUNDING if side == "min" else held <= threshold + _ROUNDING
        words = _finding(figure, limit.by, held, side, threshold, passed)
    return GateResult(
        kind=kind, name=name, side=side, limit=threshold, by=limit.by, measured=figure, passed=passed, words=words
    )


def _no_loss(
    gates_file: GatesFile, baseline: Path, evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy
) -> GateResult:
    """Whether the predictions are worse than the baseline, picture by picture, beyond chance.

    Of two equal models at most about 5 % fail: 2.5 % by the 95 % interval of the accuracy, which errs to either side,
    and as many by the classes' tests, which are corrected for their number at 5 % to both sides.
    """
    name = visible_text("/".join(baseline.parts[-2:]))
    result = partial(GateResult, kind="no_loss", name=f"accuracy against {name}", side="min", limit=0, by="bound")
    old = NamedPredictions(load_predictions(baseline, taxonomy), str(baseline), "the baseline")
    new = NamedPredictions(table, "the judged predictions", evaluation.title)
    try:
        rows = _paired_with_baseline(gates_file, old, table)
    except PredictionsError as error:  # the other gates are told all the same
        return result(measured=_NOTHING, passed=False, words=visible_text(str(error)))
    comparison = compare_predictions(
        old, new, rows, taxonomy, num_replicates=evaluation.num_replicates, seed=evaluation.seed
    )
    difference = comparison.answer.accuracy.difference
    lost = _lost_classes(comparison)
    return result(
        measured=difference,
        passed=difference.high is not None and not lost and not significant_loss(comparison),
        words=_loss_words(comparison, lost),
    )


def _paired_with_baseline(gates_file: GatesFile, old: NamedPredictions, table: pl.DataFrame) -> PairedRows:
    """The rows of both.

    Raises:
        PredictionsError: They are of different pictures, or contradict each other in truth or groups.
    """
    rows = pair_rows(old, NamedPredictions(table, "the judged predictions", ""), take_common=True)
    if rows.num_only_in_a or rows.num_only_in_b:
        raise PredictionsError(
            f"{gates_file.settings.place(('no_loss',))}: no_loss: {rows.num_only_in_a} of {len(old.table)} pictures of "
            f"{old.source} were not judged, {rows.num_only_in_b} of {len(table)} judged ones are not in it; "
            "give a baseline of the same pictures"
        )
    return rows


def _lost_classes(comparison: Comparison) -> list[str]:
    """Classes whose recall fell beyond chance, and by how much."""
    changes = [(change, change.recall.difference.value or 0) for change in comparison.classes]
    return [f"{change.class_id} {by:+.4f}" for change, by in changes if change.is_significant and by < 0]


def _loss_words(comparison: Comparison, lost: Sequence[str]) -> str:
    difference = comparison.answer.accuracy.difference
    if difference.value is None or difference.low is None or difference.high is None:
        change = "-" if difference.value is None else f"{difference.value:+.4f}"
        return f"no interval: all pictures are of one group; the change is {change} on {comparison.num_images} pictures"
    pictures = f"on {comparison.num_images} pictures in {comparison.num_groups} groups"
    change = f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) {pictures}"
    verdict = "a loss beyond chance" if significant_loss(comparison) else "no loss beyond chance"
    recalls = f"; recall fell beyond chance: {', '.join(lost)}" if lost else ""
    return f"{change}: {verdict}{recalls}"


def _finding(
    figure: FigureWithInterval, by: By, held: float, side: Literal["min", "max"], limit: float, passed: bool
) -> str:
    between = f" ({_shown(figure.low)} to {_shown(figure.high)})" if figure.low is not None else ""
    what = f"{_shown(figure.value)}{between}"
    bound = f", whose bound {_shown(held)}" if by == "bound" else ""
    keeps = {("min", True): "at least", ("min", False): "below", ("max", True): "at most", ("max", False): "above"}
    return f"{what}{bound} is {keeps[side, passed]} {limit:g}"


def _shown(value: Figure) -> str:
    return "-" if value is None else f"{value:.4f}"


def _failure(result: GateResult) -> str:
    """Kind of failure for machines; empty if it passed."""
    if result.passed:
        return ""
    return "not-measured" if result.measured.value is None else "limit-not-kept"


def _name_faults(gates: Gates, taxonomy: Taxonomy, class_ids: Collection[str]) -> Iterator[tuple[Location, str]]:
    """Where a gate names what is not there, and what to say of it."""
    above = {family.id for family in taxonomy.families} | {role.id for role in taxonomy.roles}
    for class_id in gates.recall:
        if class_id not in class_ids:
            yield ("recall", class_id), f"recall: {_not_there(class_id, taxonomy, class_ids)}"
    for index, pair in enumerate(gates.confusion):
        if pair.true not in class_ids:
            yield ("confusion", index, "true"), f"confusion: {_not_there(pair.true, taxonomy, class_ids)}"
        if pair.answer == pair.true:
            yield (
                ("confusion", index, "answer"),
                f"confusion: '{pair.answer}' is right; name a wrong answer, or use recall",
            )
        elif pair.answer not in {*class_ids, *above, UNKNOWN, NO_ANSWER}:
            fault = _not_there(pair.answer, taxonomy, class_ids, {*above, UNKNOWN, NO_ANSWER})
            yield ("confusion", index, "answer"), f"confusion: {fault}"


def _above(class_id: str, taxonomy: Taxonomy) -> set[str]:
    return {taxonomy.family_id(class_id), taxonomy.role_id(class_id)} if class_id in taxonomy.class_ids else set()


def _not_there(class_id: str, taxonomy: Taxonomy, class_ids: Collection[str], others: Collection[str] = ()) -> str:
    shown = visible_text(class_id)
    above = {family.id: "family" for family in taxonomy.families} | {role.id: "role" for role in taxonomy.roles}
    if class_id in above:
        inner = [each for each in sorted(class_ids) if class_id in _above(each, taxonomy)]
        names = f" of it: {', '.join(inner)}" if inner else ""
        return f"'{shown}' is a {above[class_id]}; name a class{names}"
    if class_id in taxonomy.class_ids:
        hint = nearest_name_hint(class_id, class_ids) or f"; there are: {', '.join(sorted(class_ids))}"
        return f"class '{shown}' is neither a class of the model nor of the pictures{hint}"
    hint = nearest_name_hint(class_id, [*class_ids, *taxonomy.class_ids, *others])
    return f"'{shown}' is not in the taxonomy{hint or '; `vision taxonomy` shows what is'}"
