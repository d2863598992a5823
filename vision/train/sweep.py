"""Search over settings: each trial trains, and is judged by its loss on the calibration split, never on test.

The library is optuna; the study is a SQLite file in the run's folder, so a sweep that is interrupted goes on. A trial
that cannot be trained is kept as pruned, with its reason, and counts as tried.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from optuna.trial import TrialState

from vision.config import Config, SweepRange, load_config
from vision.errors import ConfigError, OutputError, TrainingError, VisionError
from vision.files import whole_file
from vision.train.domain import suited_run
from vision.train.feasibility import check_settings
from vision.train.features import FeatureCache
from vision.train.out_of_fold import try_all
from vision.train.probe import fit_probe, nll_at_best_temperature
from vision.train.run import plan_run
from vision.train.run_folder import first_difference, input_digests
from vision.train.training_set import PreparedRun, prepare_run
from vision.train.tuner import Tuner

STUDY_FILE, TABLE_FILE, PLOT_FILE = "study.db", "trials.csv", "trials.png"


def sweep(
    config_path: Path,
    overrides: list[str],
    folder: Path,
    cache_folder: Path,
    *,
    tell: Callable[[str], None],
) -> optuna.Study:
    """Try combinations until the study has as many trials as the configuration says.

    Args:
        config_path: The configuration with its `sweep` section.
        overrides: Settings on top of it, for all trials.
        folder: Where study, table and plot go.
        cache_folder: Features and views.
        tell: Told each trial in words.

    Raises:
        ConfigError: There is nothing to try, a setting is unknown, or there is no calibration split to judge by.
        OutputError: The study in the folder is of another configuration, or of other pictures.
        TrainingError: No trial could be trained.
    """
    config = load_config(config_path, overrides)
    if not config.sweep.parameters:
        raise ConfigError(f"{config_path}: sweep.parameters is empty; name settings and what to try")
    prepared = prepare_run(config)
    if not prepared.calibration.images:
        raise ConfigError(f"{config.data.manifest}: no picture of split 'calibration', which a sweep judges by")
    for name, tried in config.sweep.parameters.items():
        for value in tried.choices or (tried.low, tried.high):  # unknown names and values say so before the first trial
            load_config(config_path, [*overrides, f"{name}={json.dumps(value)}"])
    study = _opened_study(folder / STUDY_FILE, config, prepared)

    def objective(trial: optuna.Trial) -> float:
        values = {name: _suggested(trial, name, tried) for name, tried in config.sweep.parameters.items()}
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        place = f"trial {_num_tried(study) + 1}/{config.sweep.trials}"
        try:
            trial_config = load_config(config_path, [*overrides, *(f"{n}={json.dumps(v)}" for n, v in values.items())])
            loss, accuracy = calibration_loss(trial_config, cache_folder)
        except VisionError as error:
            trial.set_user_attr("reason", str(error))
            tell(f"{place}: not trained ({said}): {error}")
            raise optuna.TrialPruned from error
        trial.set_user_attr("accuracy", accuracy)
        tell(f"{place}: loss {loss:.4f}, {accuracy:.1%} right ({said})")
        return loss

    while (left := config.sweep.trials - _num_tried(study)) > 0:
        study.optimize(objective, n_trials=left)
    _write_table(study, folder / TABLE_FILE)
    if not _trials(study, TrialState.COMPLETE):
        reasons = {trial.user_attrs.get("reason") for trial in _trials(study, TrialState.PRUNED)}
        raise TrainingError(
            f"{folder / STUDY_FILE}: none of {config.sweep.trials} trials could be trained: {_shown(reasons)}; mend "
            "the settings, remove the folder and run again"
        )
    _plot(study, folder / PLOT_FILE)
    return study


def _opened_study(path: Path, config: Config, prepared: PreparedRun) -> optuna.Study:
    """The study in a file, new or gone on with.

    Raises:
        OutputError: It is of other settings or pictures, so that its losses cannot be compared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=config.name, storage=f"sqlite:///{path}", load_if_exists=True)
    # Seeded anew with each start: the same seed would try the same values again.
    study.sampler = optuna.samplers.TPESampler(seed=(config.seed + len(study.trials)) % 2**32)
    fixed = config.model_copy(update={"sweep": config.sweep.model_copy(update={"trials": 1})})
    now = {"settings": fixed.as_yaml(), "pictures": input_digests(prepared, {})}
    if not study.trials:
        for name, value in now.items():
            study.set_user_attr(name, value)
    remedy = "go on with the same, or choose another name, or remove the folder to start anew"
    earlier = study.user_attrs
    if earlier.get("settings") != now["settings"]:
        differing = first_difference(str(earlier.get("settings", "")), fixed.as_yaml())
        raise OutputError(f"{path}: the sweep there is of another configuration ({differing}); {remedy}")
    if earlier.get("pictures") != now["pictures"]:
        raise OutputError(f"{path}: the sweep there is of other pictures, classes or groups; {remedy}")
    return study


def calibration_loss(config: Config, cache_folder: Path) -> tuple[float, float]:
    """Train as configured, without writing a bundle; loss and accuracy on the calibration split.

    The loss is the negative log-likelihood of the truth at the best temperature.

    Raises:
        TrainingError: The loss is no number.
    """
    check_settings(config)
    prepared, _ = suited_run(prepare_run(config), cache_folder)
    config = prepared.config
    plan = plan_run(prepared, cache_folder)
    cache = FeatureCache(cache_folder / "features", plan.backbones)
    images = [*prepared.training.images, *prepared.calibration.images]
    features = cache.features(images, plan.recipes, batch_size=config.train.batch_size)
    count, truth = len(prepared.training.images), prepared.training.class_indices
    of_training = {recipe: rows[:count] for recipe, rows in features.items()}
    num_classes = len(prepared.classes)
    best = try_all(config, of_training, prepared.training, range(count), num_classes, config.seed)[0]
    probe = fit_probe(of_training[best.recipe], truth, num_classes, best.strength)
    asked = prepared.calibration.class_indices
    if config.train.strategy == "probe":
        logits = probe.logits(features[best.recipe][count:])
    else:
        network = Tuner(prepared, plan.backbones, cache_folder).tune(best.recipe, probe)
        logits = network.probe.logits(network.of_calibration)
    loss = nll_at_best_temperature(logits, asked)
    if not math.isfinite(loss):
        raise TrainingError("the calibration loss is not a number; try lower learning rates")
    return loss, float((logits.argmax(axis=1) == asked).mean())


def _trials(study: optuna.Study, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states)


def _num_tried(study: optuna.Study) -> int:
    """Trials that came to an end, not those that were interrupted."""
    return len(_trials(study, TrialState.COMPLETE, TrialState.PRUNED))


def _shown(reasons: Iterable[str | None]) -> str:
    return " | ".join(sorted(reason for reason in reasons if reason))


def _suggested(trial: optuna.Trial, name: str, tried: SweepRange) -> Any:
    if tried.choices is not None:
        return trial.suggest_categorical(name, list(tried.choices))
    low, high = tried.low, tried.high
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=tried.log)
    return trial.suggest_float(name, float(low), float(high), log=tried.log)


def _write_table(study: optuna.Study, path: Path) -> None:
    names = sorted({name for trial in study.trials for name in trial.params})
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["trial", "state", "loss", "accuracy", *names, "reason"])
        for trial in sorted(study.trials, key=lambda trial: (trial.value is None, trial.value)):
            said = trial.user_attrs
            values = [trial.params.get(name) for name in names]
            figures = [trial.value, said.get("accuracy")]
            table.writerow([trial.number, trial.state.name.lower(), *figures, *values, said.get("reason")])


def _plot(study: optuna.Study, path: Path) -> None:
    """Loss over each setting, the best trial marked."""
    done = _trials(study, TrialState.COMPLETE)
    names = sorted({name for trial in done for name in trial.params})
    figure = Figure(figsize=(3.4 * len(names), 3.2), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names), sharey=True)), names, strict=True):
        values = [trial.params[name] for trial in done]
        tried = study.best_trial.distributions[name]
        if any(isinstance(value, str | bool) for value in values):
            values = [str(value) for value in values]
        axes.scatter(values, [trial.value for trial in done], s=18, color="#0072b2")
        best = study.best_params[name]
        axes.scatter([str(best) if isinstance(values[0], str) else best], [study.best_value], s=60, color="#d55e00")
        if getattr(tried, "log", False):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("calibration loss")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
