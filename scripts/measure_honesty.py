"""Whether answers keep what they promise: many random divisions of pictures that the model was not fitted on.

    python scripts/measure_honesty.py configs/demo.yaml --set train.strategy=probe
    python scripts/measure_honesty.py configs/demo.yaml --bundle runs/demo/run/bundle \
        --predictions runs/demo/run/evaluation/predictions.parquet

Calibration and test pictures are put together and divided in halves: calibration, roll-up threshold and label sets are
fitted on one half and judged on the other. Once by whole groups, as training has to, and once by single pictures,
which the promises are proved for. Novelty plays no part here. With --bundle and --predictions, the pictures are those
of a trained bundle's calibration and of its predictions for the test split.

The promise of accuracy is about pictures without number; the half that judges is a sample of them, so a promise that
holds exactly is seen broken now and then, all the more often the fewer answers there are.

N pictures, K classes, V divisions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vision.bundle import load_bundle
from vision.classify.decision import calibrated_probabilities
from vision.classify.label_sets import fit_label_sets
from vision.classify.roll_up import ClassTree, build_class_tree, fit_roll_up_threshold, right_answers, rolled_up_answers
from vision.config import Config, DecideSettings, load_config
from vision.data.manifest import group_names
from vision.errors import PredictionsError, VisionError
from vision.evaluate.calibration_metrics import (
    expected_calibration_error,
    group_bootstrap_intervals,
    reliability_bins,
    risk_coverage,
)
from vision.evaluate.metrics import Interval
from vision.files import whole_file
from vision.predictions import load_predictions, read_rows
from vision.train.decision_fitting import choose_calibration
from vision.train.features import default_cache_folder
from vision.train.leave_one_out import featured_run
from vision.train.out_of_fold import try_all
from vision.train.probe import fit_probe
from vision.train.training_set import prepare_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLUE, ORANGE = "#0072b2", "#d55e00"


@dataclass(frozen=True)
class Pool:
    """Pictures that the model was not fitted on.

    Attributes:
        logits: (N, K); of a bundle, logarithms of its probabilities.
        class_indices: (N,).
        groups: N names.
        digests: N SHA-256 digests.
        tree: Over the K classes.
    """

    logits: Floats
    class_indices: Ints
    groups: list[str]
    digests: list[str]
    tree: ClassTree


@dataclass(frozen=True)
class Divisions:
    """What V divisions gave; (V,) each.

    Attributes:
        is_promised: Whether there were pictures enough to promise the accuracy.
        accuracy: Share of right answers at class, family or role; NaN without answers.
        answered: Share of pictures with such an answer.
        coverage: Share of label sets with the truth.
        set_size: Mean classes in a set.
        probabilities: (N, K) calibrated, mean over the divisions in which the picture was judged; 0 if in none.
    """

    is_promised: NDArray[np.bool_]
    accuracy: Floats
    answered: Floats
    coverage: Floats
    set_size: Floats
    probabilities: Floats

    def share_kept(self, target_accuracy: float) -> tuple[float, int]:
        """Share of the divisions with a promise, and with answers, in which it was kept; and their number."""
        judged = self.is_promised & np.isfinite(self.accuracy)
        return float((self.accuracy[judged] >= target_accuracy).mean()) if judged.any() else np.nan, int(judged.sum())


def main() -> None:
    """Print what was promised, and what was found; draw it, if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1, help="how often the whole is done again with other divisions")
    parser.add_argument("--bundle", type=Path, help="a tuned bundle, in place of a probe")
    parser.add_argument("--predictions", type=Path, help="its predictions for the test split, with the truth")
    parser.add_argument("--plot", type=Path, help="PNG of the risk-coverage curve and the accuracies")
    arguments = parser.parse_args()
    if (arguments.bundle is None) != (arguments.predictions is None):
        parser.error("--bundle and --predictions go together")
    try:
        config = load_config(arguments.config, arguments.overrides)
        pool = probe_pool(config)
        if arguments.bundle is not None:
            pool = bundle_pool(config, arguments.bundle, arguments.predictions)
    except VisionError as error:
        parser.error(str(error))
    settings = config.decide
    print(f"{len(pool.groups)} pictures in {len(set(pool.groups))} groups")
    for seed in range(arguments.seeds):
        found = {
            name: divide(
                pool, settings, [division(names, arguments.divisions * seed + v) for v in range(arguments.divisions)]
            )
            for name, names in (("groups", pool.groups), ("pictures", [str(row) for row in range(len(pool.groups))]))
        }
        print("\n".join(table(pool, settings, found)), flush=True)
    if arguments.plot is not None:
        with whole_file(arguments.plot) as temporary:
            draw(pool, settings, found).savefig(temporary, format="png", dpi=150)


def probe_pool(config: Config) -> Pool:
    """Calibration and test pictures of a configuration, with a probe's logits."""
    prepared = prepare_run(config)
    run = featured_run(prepared, default_cache_folder())
    training, num_classes = prepared.training, len(prepared.classes)
    num_training = len(training.images)
    of_training = {recipe: rows[:num_training] for recipe, rows in run.features.items()}
    best = try_all(config, of_training, training, range(num_training), num_classes, config.seed)[0]
    probe = fit_probe(of_training[best.recipe], training.class_indices, num_classes, best.strength)
    judged = (prepared.calibration, run.test)
    return Pool(
        probe.logits(run.features[best.recipe][num_training:]),
        np.concatenate([part.class_indices for part in judged]),
        [group for part in judged for group in part.groups],
        [image.sha256 for part in judged for image in part.images],
        build_class_tree(prepared.taxonomy, prepared.classes),
    )


def bundle_pool(config: Config, bundle_dir: Path, predictions_path: Path) -> Pool:
    """Pictures of a bundle's calibration, and its predictions.

    Raises:
        PredictionsError: The configuration is not the bundle's, or rows lack classes.
    """
    bundle, prepared = load_bundle(bundle_dir), prepare_run(config)
    known, classes = bundle.reference.known, bundle.info.classes
    if known is None or not np.array_equal(known.class_indices, prepared.calibration.class_indices):
        raise PredictionsError(f"{bundle_dir}: was not calibrated on the calibration split of {config.data.manifest}")
    predictions = load_predictions(predictions_path)
    readable = predictions.filter((predictions["status"] == "ok") & predictions["true_label"].is_in(classes))
    rows = [{item.class_id: item.probability for item in row.top} for row in read_rows(readable)]
    if any(set(row) != set(classes) for row in rows):
        raise PredictionsError(f"{predictions_path}: a row does not list the classes of {bundle_dir}")
    of_test = np.array([[row[class_id] for class_id in classes] for row in rows])
    truths = [classes.index(label) for label in readable["true_label"]]
    return Pool(
        np.log(np.maximum(np.concatenate([known.probabilities, of_test]), 1e-12)),
        np.concatenate([known.class_indices, np.array(truths, dtype=np.int64)]),
        [*prepared.calibration.groups, *group_names(readable["group"])],
        [*(image.sha256 for image in prepared.calibration.images), *readable["sha256"]],
        build_class_tree(bundle.info.taxonomy, classes),
    )


def division(groups: Sequence[str], seed: int) -> tuple[Ints, Ints]:
    """Rows to fit on and rows to judge by: half of the groups each."""
    names, positions = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    is_fitted = np.random.default_rng(seed).permutation(len(names)) < len(names) // 2
    return np.flatnonzero(is_fitted[positions]), np.flatnonzero(~is_fitted[positions])


def divide(pool: Pool, settings: DecideSettings, divisions: Sequence[tuple[Ints, Ints]]) -> Divisions:
    """Fit and judge in each division."""
    rows = []
    sums, counts = np.zeros_like(pool.logits), np.zeros(len(pool.logits))
    for fitted, judged in divisions:
        figures, probabilities = judge(pool, settings, fitted, judged)
        rows.append(figures)
        sums[judged] += probabilities
        counts[judged] += 1
    promised, *figures_of = np.array(rows).T
    return Divisions(promised > 0, *figures_of, sums / np.maximum(counts, 1)[:, None])


def judge(pool: Pool, settings: DecideSettings, fitted: Ints, judged: Ints) -> tuple[list[float], Floats]:
    """The figures of one division in the order of `Divisions`, and probabilities of the judged pictures."""
    truth, of_judged = pool.class_indices[fitted], pool.class_indices[judged]
    groups = [pool.groups[row] for row in fitted]
    calibration = choose_calibration(pool.logits[fitted], truth, groups).calibration
    fit, ask = (
        calibrated_probabilities(calibration.calibrated_logits(pool.logits[rows]), 1.0) for rows in (fitted, judged)
    )
    promises = {"target_accuracy": settings.target_accuracy, "confidence": settings.confidence}
    threshold = fit_roll_up_threshold(fit, truth, pool.tree, **promises)
    answers = rolled_up_answers(ask, pool.tree, threshold.value)
    is_answered = answers.level_indices < len(pool.tree.levels)
    is_right = right_answers(answers, of_judged, pool.tree)[is_answered]
    rule = fit_label_sets(fit, truth, [pool.digests[row] for row in fitted], coverage=settings.coverage)
    sets = rule.label_sets(ask, [pool.digests[row] for row in judged])
    accuracy = float(is_right.mean()) if is_answered.any() else np.nan
    covered = sets[np.arange(len(sets)), of_judged]
    sizes = float(sets.sum(axis=1).mean())
    return [float(threshold.is_promised), accuracy, float(is_answered.mean()), float(covered.mean()), sizes], ask


def table(pool: Pool, settings: DecideSettings, found: dict[str, Divisions]) -> list[str]:
    """Lines to print: a column for divisions by groups, one for divisions by pictures."""
    target = settings.target_accuracy
    lines = [f"{'':52}" + "".join(f"{'by ' + name:>26}" for name in found)]

    def line(what: str, figure: Callable[[Divisions], str]) -> None:
        lines.append(f"{what:52}" + "".join(f"{figure(divisions):>26}" for divisions in found.values()))

    line(f"truth in the label set (promised {settings.coverage:.0%})", lambda d: _spread(d.coverage))
    line("classes in a label set", lambda d: _spread(d.set_size))
    line("divisions with an accuracy promised", lambda d: f"{d.is_promised.mean():.3f}")
    line(
        f"... kept (expected {settings.confidence:.0%} or more)", lambda d: "{:.3f} of {}".format(*d.share_kept(target))
    )
    line(f"accuracy of answers (target {target:.0%})", lambda d: _spread(d.accuracy))
    line("pictures answered", lambda d: _spread(d.answered))
    lines.append("mean (2.5 % to 97.5 % of the divisions)")
    before = calibrated_probabilities(pool.logits, 1.0)
    for name, probabilities in {"before": before, "after, division by groups": found["groups"].probabilities}.items():
        error, area = reliability(probabilities, pool)
        lines.append(f"{name}: calibration error {_interval(error)}, area under risk-coverage {_interval(area)}")
    lines.append("figure (95 % interval over groups)")
    return lines


def reliability(probabilities: Floats, pool: Pool) -> list[Interval]:
    """Expected calibration error and area under the risk-coverage curve, of the pictures that were ever judged."""
    judged = np.flatnonzero(probabilities.any(axis=1))
    confidences = probabilities[judged].max(axis=1)
    is_right = probabilities[judged].argmax(axis=1) == pool.class_indices[judged]

    def figures(counts: Ints) -> list[float]:
        bins = reliability_bins(confidences, is_right, counts=counts)
        return [expected_calibration_error(bins), risk_coverage(confidences, is_right, counts=counts).area]

    return group_bootstrap_intervals(figures, [pool.groups[row] for row in judged])


def draw(pool: Pool, settings: DecideSettings, found: dict[str, Divisions]) -> Figure:
    """Risk over coverage of the calibrated probabilities; accuracies of all divisions."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    probabilities = found["groups"].probabilities
    curve = risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == pool.class_indices)
    left.plot(curve.coverage, curve.risk, color=BLUE)
    left.set(xlabel="share of pictures answered, surest first", ylabel="share wrong", xlim=(0, 1), ylim=(0, None))
    known = {name: d.accuracy[np.isfinite(d.accuracy)] for name, d in found.items()}
    lowest = min(values.min(initial=0.9) for values in known.values())
    edges = np.linspace(np.floor(lowest * 50) / 50, 1, 26)
    for (name, values), colour, line in zip(known.items(), (BLUE, ORANGE), ("-", "--"), strict=True):
        right.hist(values, edges, histtype="step", color=colour, linestyle=line, linewidth=1.8, label=f"by {name}")
    right.axvline(settings.target_accuracy, color="#666666", linestyle=":", label="promised")
    right.set(xlabel="accuracy of answers on the other half", ylabel="divisions")
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _spread(values: Floats) -> str:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return "none"
    low, high = np.quantile(known, [0.025, 0.975])
    return f"{known.mean():.3f} ({low:.3f} to {high:.3f})"


def _interval(figure: Interval) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


if __name__ == "__main__":
    main()
