"""Whether answers keep what they promise: many random divisions of pictures that the model was not fitted on.

    python scripts/measure_honesty.py configs/demo.yaml --set train.strategy=probe --targets 0.95 0.9 0.8
    python scripts/measure_honesty.py configs/demo.yaml --bundle runs/demo/run/bundle

Calibration and test pictures are put together and divided in halves: calibration, novelty's ranks, roll-up threshold
and label sets are fitted on one half and judged on the other. Once by whole groups, as training has to, and once by
single pictures, which the promises are proved for. The answers are those that ship: novelty calls some unknown, and
probabilities allow for classes that the model does not know. What that rests on (the novelty score, how much to allow
for) is chosen on training pictures, once. With --bundle, its graph is asked in place of a probe.

The promise of accuracy is about pictures without number; the half that judges is a sample of them, so a promise that
holds exactly is seen broken now and then, all the more often the fewer answers there are.

N pictures, D features, K classes, V divisions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vision.bundle import BundleInfo, DecisionInfo, KnownPictures, load_bundle
from vision.classify.decision import DecisionRules, calibrated_probabilities, fit_threshold, rules_from
from vision.classify.engine import Engine
from vision.classify.label_sets import LabelSetRule, fit_label_sets
from vision.classify.novelty import NoveltyRanking, known_probability, load_embedding_score
from vision.classify.roll_up import right_answers, rolled_up_answers
from vision.config import Config, load_config
from vision.data.preprocessing import load_network_input
from vision.errors import BundleError, ManifestError, VisionError
from vision.evaluate.calibration_metrics import (
    expected_calibration_error,
    group_bootstrap_intervals,
    reliability_bins,
    risk_coverage,
)
from vision.evaluate.metrics import Interval
from vision.files import whole_file
from vision.taxonomy import Taxonomy
from vision.train.decision_fitting import choose_calibration
from vision.train.features import default_cache_folder
from vision.train.leave_one_out import featured_run, fit_run
from vision.train.training_set import PreparedRun, TrainingSet, prepare_run, test_set

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLUE, ORANGE = "#0072b2", "#d55e00"


@dataclass(frozen=True)
class Pool:
    """Pictures that the model was not fitted on, and what it decides by.

    Attributes:
        logits: (N, K), before calibration.
        novelty: (N,), by the score that was chosen on training pictures.
        class_indices: (N,).
        groups: N names.
        digests: N SHA-256 digests.
        rules: All but the threshold and the label sets, which each division fits.
        coverage: Promised of label sets.
        confidence: Of the promises of accuracy.
    """

    logits: Floats
    novelty: Floats
    class_indices: Ints
    groups: list[str]
    digests: list[str]
    rules: DecisionRules
    coverage: float
    confidence: float


@dataclass(frozen=True)
class Divisions:
    """What V divisions gave for one target of accuracy; (V,) each.

    Attributes:
        is_promised: Whether there were pictures enough to promise the accuracy.
        accuracy: Share of right answers at class, family or role; NaN without answers.
        answered: Share of pictures with such an answer.
        flagged: Share called unknown for novelty.
        coverage: Share of label sets with the truth.
        set_size: Mean classes in a set.
        probabilities: (N, K) calibrated, mean over the divisions in which the picture was judged; 0 if in none.
        allowed: (N, K) the same with the allowance for classes that the model does not know.
    """

    is_promised: NDArray[np.bool_]
    accuracy: Floats
    answered: Floats
    flagged: Floats
    coverage: Floats
    set_size: Floats
    probabilities: Floats
    allowed: Floats

    def share_kept(self, target_accuracy: float) -> tuple[float, int]:
        """Share of the divisions with a promise, and with answers, in which it was kept; and their number."""
        judged = self.is_promised & np.isfinite(self.accuracy)
        return float((self.accuracy[judged] >= target_accuracy).mean()) if judged.any() else np.nan, int(judged.sum())

    def share_broken(self, target_accuracy: float) -> float:
        """Share of all divisions in which accuracy was promised and not kept: what the confidence is about.

        Of the divisions with a promise alone no share is promised: where few have one, luck gave it to most of them.
        """
        return float((self.is_promised & (self.accuracy < target_accuracy)).mean())


Found = dict[float, Divisions]
"""By target of accuracy."""


def main() -> None:
    """Print what was promised, and what was found; draw it, if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--targets", type=float, nargs="+", help="of accuracy; by default the configuration's")
    parser.add_argument("--seeds", type=int, default=1, help="how often the whole is done again with other divisions")
    parser.add_argument("--bundle", type=Path, help="a bundle of this configuration, in place of a probe")
    parser.add_argument("--plot", type=Path, help="PNG of the risk-coverage curve and the accuracies")
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config, arguments.overrides)
        pool = probe_pool(config) if arguments.bundle is None else bundle_pool(config, arguments.bundle)
    except VisionError as error:
        parser.error(str(error))
    targets = arguments.targets or [config.decide.target_accuracy]
    rules = pool.rules
    print(f"{len(pool.groups)} pictures in {len(set(pool.groups))} groups; novelty by {rules.novelty_score}")
    print(f"allowed for unknown classes: {rules.unknown_share:.2f}; novelty exponent {rules.novelty_exponent:.2f}")
    ways = {"groups": pool.groups, "pictures": [str(row) for row in range(len(pool.groups))]}
    for seed in range(arguments.seeds):
        numbers = range(arguments.divisions * seed, arguments.divisions * (seed + 1))
        found = {
            way: divide(pool, targets, [division(names, number) for number in numbers]) for way, names in ways.items()
        }
        print("\n".join(table(pool, found)), flush=True)
    if arguments.plot is not None:
        with whole_file(arguments.plot) as temporary:
            draw(pool, found).savefig(temporary, format="png", dpi=150)


def probe_pool(config: Config) -> Pool:
    """Calibration and test pictures of a configuration, as a probe sees them.

    Raises:
        ManifestError: There are none.
    """
    prepared = prepare_run(config)
    judged = judged_pictures(prepared)
    fitted = fit_run(featured_run(prepared, default_cache_folder()))
    features = np.concatenate(fitted.run.features_of(fitted.recipe)[1:])
    logits = fitted.probe.logits(features)
    novelty = fitted.decision.ranking.mean_scores(logits, fitted.probe.standardised(features))
    return _pool(judged, logits, novelty, fitted.decision.info, prepared.taxonomy, prepared.classes)


def bundle_pool(config: Config, bundle_dir: Path) -> Pool:
    """The same pictures as a bundle's graph sees them.

    Raises:
        BundleError: The bundle is not of this configuration.
        ManifestError: There are no such pictures.
    """
    bundle, prepared = load_bundle(bundle_dir), prepare_run(config)
    info, known = bundle.info, bundle.reference.known
    if info.decision is None or known is None:
        raise BundleError(f"{bundle_dir}: written before bundles kept what decisions follow from; train it again")
    if info.classes != prepared.classes:
        raise BundleError(f"{bundle_dir}: its classes are not those of {config.data.manifest}; give its configuration")
    judged = judged_pictures(prepared)
    trained = set(bundle.reference.sha256) & {image.sha256 for part in judged for image in part.images}
    if trained:
        raise BundleError(f"{bundle_dir}: was trained on {len(trained)} of the pictures that are to judge it")
    logits, embeddings = graph_outputs(Engine(bundle), info, judged)
    scores = [load_embedding_score(arrays) for arrays in bundle.reference.novelty]
    ranking = NoveltyRanking.of(info.decision.novelty_score, scores, known.novelty_scores, known.novelty_folds)
    novelty = ranking.mean_scores(logits, embeddings)
    return _pool(judged, logits, novelty, info.decision, info.taxonomy, info.classes)


def judged_pictures(prepared: PreparedRun) -> tuple[TrainingSet, TrainingSet]:
    """Those of the splits `calibration` and `test`.

    Raises:
        ManifestError: There are fewer than two groups of them.
    """
    judged = prepared.calibration, test_set(prepared)
    if len({group for part in judged for group in part.groups}) < 2:
        raise ManifestError(
            f"{prepared.manifest.path}: the splits calibration and test have fewer than two groups to divide; "
            "`vision data split` makes such splits"
        )
    return judged


def graph_outputs(engine: Engine, info: BundleInfo, parts: Sequence[TrainingSet]) -> tuple[Floats, Floats]:
    """Logits (N, K) and embeddings (N, D) of pictures, one after another."""
    outputs = [
        engine.graph_outputs(load_network_input(image.path, info.preprocessing, box=image.box))
        for part in parts
        for image in part.images
    ]
    logits, embeddings = (np.stack([getattr(each, name) for each in outputs]) for name in ("logits", "embedding"))
    return logits.astype(np.float64), embeddings.astype(np.float64)


def _pool(
    judged: Sequence[TrainingSet],
    logits: Floats,
    novelty: Floats,
    decision: DecisionInfo,
    taxonomy: Taxonomy,
    classes: tuple[str, ...],
) -> Pool:
    return Pool(
        logits,
        novelty,
        np.concatenate([part.class_indices for part in judged]),
        [group for part in judged for group in part.groups],
        [image.sha256 for part in judged for image in part.images],
        replace(rules_from(decision, taxonomy, classes), label_sets=None),
        decision.label_sets.coverage,
        decision.confidence,
    )


def division(groups: Sequence[str], seed: int) -> tuple[Ints, Ints]:
    """Rows to fit on and rows to judge by: half of the groups each."""
    names, positions = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    is_fitted = np.random.default_rng(seed).permutation(len(names)) < len(names) // 2
    return np.flatnonzero(is_fitted[positions]), np.flatnonzero(~is_fitted[positions])


@dataclass(frozen=True)
class Fitted:
    """What one half of a division leaves.

    Attributes:
        known: Its pictures, as a bundle keeps them.
        label_sets: Their rule.
    """

    known: KnownPictures
    label_sets: LabelSetRule


@dataclass(frozen=True)
class Asked:
    """The other half.

    Attributes:
        class_indices: (N,).
        probabilities: (N, K), calibrated.
        ranks: (N,) of novelty among the pictures of the first half.
        is_known: (N,) probability of the class being one of the model's.
        sets: (N, K) label sets.
    """

    class_indices: Ints
    probabilities: Floats
    ranks: Floats
    is_known: Floats
    sets: NDArray[np.bool_]


def divide(pool: Pool, targets: Sequence[float], divisions: Sequence[tuple[Ints, Ints]]) -> Found:
    """Fit and judge in each division, for each target."""
    rows: dict[float, list[list[float]]] = {target: [] for target in targets}
    sums, allowed, counts = np.zeros_like(pool.logits), np.zeros_like(pool.logits), np.zeros(len(pool.logits))
    for first, second in divisions:
        fitted, asked = fit_and_ask(pool, first, second)
        for target in targets:
            rows[target].append(judge(pool, fitted, asked, target))
        sums[second] += asked.probabilities
        allowed[second] += asked.probabilities * asked.is_known[:, None]
        counts[second] += 1
    times = np.maximum(counts, 1)[:, None]
    found = {}
    for target, figures in rows.items():
        promised, accuracy, answered, flagged, coverage, sizes = np.array(figures).T
        of_pictures = sums / times, allowed / times
        found[target] = Divisions(promised > 0, accuracy, answered, flagged, coverage, sizes, *of_pictures)
    return found


def fit_and_ask(pool: Pool, first: Ints, second: Ints) -> tuple[Fitted, Asked]:
    """Calibration, novelty's ranks and label sets from the first rows, and what they say of the second."""
    truth, of_second = pool.class_indices[first], pool.class_indices[second]
    calibration = choose_calibration(pool.logits[first], truth, [pool.groups[row] for row in first]).calibration
    of_fitted, of_asked = (
        calibrated_probabilities(calibration.calibrated_logits(pool.logits[rows]), 1.0) for rows in (first, second)
    )
    ascending = np.sort(pool.novelty[first])
    # As in training: a picture is compared with all others, a further one counts as one more of them.
    ranks = np.searchsorted(ascending, pool.novelty[first], side="left") / len(first)
    further = np.searchsorted(ascending, pool.novelty[second], side="left") / (len(first) + 1)
    folds = np.zeros(len(first), dtype=np.int64)
    rule = fit_label_sets(of_fitted, truth, [pool.digests[row] for row in first], coverage=pool.coverage)
    return (
        Fitted(KnownPictures(of_fitted, truth, ascending, folds, ranks), rule),
        Asked(
            of_second,
            of_asked,
            further,
            known_probability(further, pool.rules.unknown_share, pool.rules.novelty_exponent),
            rule.label_sets(of_asked, [pool.digests[row] for row in second]),
        ),
    )


def judge(pool: Pool, fitted: Fitted, asked: Asked, target: float) -> list[float]:
    """The figures of one division in the order of `Divisions`."""
    tree = pool.rules.tree
    threshold = fit_threshold(fitted.known, pool.rules, target_accuracy=target, confidence=pool.confidence)
    answers = rolled_up_answers(
        asked.probabilities, tree, threshold.value, is_known=asked.is_known, cost_rule=pool.rules.cost_rule
    )
    is_flagged = asked.ranks > 1 - pool.rules.false_alarms
    is_answered = (answers.level_indices < len(tree.levels)) & ~is_flagged
    is_right = right_answers(answers, asked.class_indices, tree)[is_answered]
    covered = asked.sets[np.arange(len(asked.sets)), asked.class_indices]
    return [
        float(threshold.is_promised),
        float(is_right.mean()) if is_answered.any() else np.nan,
        float(is_answered.mean()),
        float(is_flagged.mean()),
        float(covered.mean()),
        float(asked.sets.sum(axis=1).mean()),
    ]


def table(pool: Pool, found: dict[str, Found]) -> list[str]:
    """Lines to print: a column for divisions by groups, one for divisions by pictures."""
    lines = [f"{'':52}" + "".join(f"{'by ' + way:>26}" for way in found)]
    targets = list(next(iter(found.values())))

    def line(what: str, figure: Callable[[Divisions], str], target: float = targets[0]) -> None:
        lines.append(f"{what:52}" + "".join(f"{figure(of_way[target]):>26}" for of_way in found.values()))

    line(f"truth in the label set (promised {pool.coverage:.0%})", lambda d: _spread(d.coverage))
    line("classes in a label set", lambda d: _spread(d.set_size))
    line(f"called unknown for novelty (at most {pool.rules.false_alarms:.0%})", lambda d: _spread(d.flagged))
    for target in targets:
        line(f"divisions that promise an accuracy of {target:.0%}", lambda d: f"{d.is_promised.mean():.3f}", target)
        line(f"... promised and broken (at most {1 - pool.confidence:.0%})", partial(_broken, target=target), target)
        line("... kept, of those with a promise", partial(_kept, target=target), target)
        line("... accuracy of all answers", lambda d: _spread(d.accuracy), target)
        line("... pictures answered", lambda d: _spread(d.answered), target)
    lines.append("mean (2.5 % to 97.5 % of the divisions)")
    of_groups = found["groups"][targets[0]]
    shown = {
        "plain softmax": calibrated_probabilities(pool.logits, 1.0),
        "calibrated, division by groups": of_groups.probabilities,
        "... with the allowance for unknown classes": of_groups.allowed,
    }
    for name, probabilities in shown.items():
        error, area = reliability(probabilities, of_groups.probabilities, pool)
        lines.append(f"{name}: AURC {_interval(area)}, calibration error {_interval(error)}")
    lines.append("most probable class; figure (95 % interval over groups)")
    return lines


def _broken(divisions: Divisions, target: float) -> str:
    return f"{divisions.share_broken(target):.3f}"


def _kept(divisions: Divisions, target: float) -> str:
    share, number = divisions.share_kept(target)
    return f"{share:.3f} of {number}" if number else "nothing to keep"


def reliability(probabilities: Floats, calibrated: Floats, pool: Pool) -> list[Interval]:
    """Expected calibration error and area under the risk-coverage curve, of the pictures that were ever judged.

    Args:
        probabilities: (N, K) to judge.
        calibrated: (N, K) of the divisions, 0 where a picture was in none.
        pool: The pictures.
    """
    judged = np.flatnonzero(calibrated.any(axis=1))
    confidences = probabilities[judged].max(axis=1)
    is_right = probabilities[judged].argmax(axis=1) == pool.class_indices[judged]

    def figures(counts: Ints) -> list[float]:
        bins = reliability_bins(confidences, is_right, counts=counts)
        return [expected_calibration_error(bins), risk_coverage(confidences, is_right, counts=counts).area]

    return group_bootstrap_intervals(figures, [pool.groups[row] for row in judged])


def draw(pool: Pool, found: dict[str, Found]) -> Figure:
    """Risk over coverage of the calibrated probabilities; accuracies of all divisions, for the first target."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    target = next(iter(found["groups"]))
    probabilities = found["groups"][target].probabilities
    judged = probabilities.any(axis=1)
    is_right = probabilities.argmax(axis=1) == pool.class_indices
    curve = risk_coverage(probabilities.max(axis=1)[judged], is_right[judged])
    left.plot(curve.coverage, curve.risk, color=BLUE)
    left.set(xlabel="share of pictures answered, surest first", ylabel="share wrong", xlim=(0, 1), ylim=(0, None))
    accuracies = {way: of_way[target].accuracy for way, of_way in found.items()}
    known = {way: values[np.isfinite(values)] for way, values in accuracies.items()}
    lowest = min(values.min(initial=0.9) for values in known.values())
    edges = np.linspace(np.floor(lowest * 50) / 50, 1, 26)
    for (way, values), colour, line in zip(known.items(), (BLUE, ORANGE), ("-", "--"), strict=True):
        right.hist(values, edges, histtype="step", color=colour, linestyle=line, linewidth=1.8, label=f"by {way}")
    right.axvline(target, color="#666666", linestyle=":", label="promised")
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
