from pathlib import Path

import pytest

from vision.config import load_config
from vision.data.licences import LicencePolicy
from vision.errors import ConfigError

REPOSITORY = Path(__file__).parents[1]
SMALLEST = "name: run\ndata:\n  manifest: manifest.csv\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_file_has_every_default(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST))
    assert config.data.licence_policy is LicencePolicy.OPEN
    assert config.backbone.weights == "bundled"
    assert config.train.folds == 0


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_of_the_repository_loads(path: Path) -> None:
    assert load_config(path).name == path.stem


def test_the_repository_has_configurations() -> None:
    assert list((REPOSITORY / "configs").glob("*.yaml"))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = SMALLEST.replace("manifest.csv", "../data/m.csv") + "taxonomy: t.yaml\nbackbone: {weights: w.safetensors}\n"
    config = load_config(written(tmp_path, text))
    assert config.data.manifest == tmp_path.parent / "data" / "m.csv"
    assert config.taxonomy == tmp_path / "t.yaml"
    assert config.backbone.weights == str(tmp_path / "w.safetensors")


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST.replace("manifest.csv", "/data/m.csv")))
    assert config.data.manifest == Path("/data/m.csv")


@pytest.mark.parametrize("weights", ["bundled", "hub", "none"])
def test_words_for_weights_are_no_paths(tmp_path: Path, weights: str) -> None:
    config = load_config(written(tmp_path, SMALLEST + f"backbone:\n  weights: {weights}\n"))
    assert config.backbone.weights == weights


def test_a_single_value_may_stand_for_a_list_of_one(tmp_path: Path) -> None:
    text = SMALLEST + "backbone: {name: resnet18}\nfeatures: {input_px: 224, layers: final, pooling: avg}\n"
    config = load_config(written(tmp_path, text))
    assert config.backbone.name == ("resnet18",)
    assert (config.features.input_px, config.features.layers, config.features.pooling) == ((224,), ("final",), ("avg",))


def test_an_unknown_key_is_told_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST + "train:\n  fold: 5\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:5: unknown key 'train\.fold', did you mean 'folds'\?"):
        load_config(path)


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a/b\ndata:\n  manifst: m.csv\nseed: -1\ntrain:\n  folds: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    for expected in (
        "run.yaml:1: name: must be letters, digits",
        "run.yaml:3: unknown key 'data.manifst', did you mean 'manifest'?",
        "run.yaml:2: key 'data.manifest' is missing",
        "run.yaml:4: seed: Input should be greater than or equal to 0, not -1",
        "run.yaml:6: train.folds: needs at least 2 folds, or 0 for none, not 1",
    ):
        assert expected in message


def test_a_wrong_choice_names_value_and_choices(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST + "features:\n  layers: [stage, stages]\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:5: features\.layers\.1: .*'two_stages'.*, not 'stages'"):
        load_config(path)


def test_a_wrong_licence_policy_names_the_right_ones(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST + "  licence_policy: all\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:4: data\.licence_policy: .*'open' or 'any', not 'all'"):
        load_config(path)


@pytest.mark.parametrize("strengths", ["[]", "[0]", "[1, -1]", "[.nan]", "[.inf]"])
def test_strengths_that_no_classifier_can_be_fitted_with_are_refused(tmp_path: Path, strengths: str) -> None:
    path = written(tmp_path, SMALLEST + f"train:\n  strengths: {strengths}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:5: train\.strengths"):
        load_config(path)


def test_an_override_replaces_the_files_value(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST + "train:\n  folds: 0\n")
    config = load_config(path, ["train.folds=5", "features.input_px=[224, 300]", "features.flip=false"])
    assert config.train.folds == 5
    assert config.features.input_px == (224, 300)
    assert config.features.flip is False


def test_an_override_may_hold_an_equals_sign(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST), ["data.manifest=a=b.csv"])
    assert config.data.manifest == tmp_path / "a=b.csv"


def test_an_unknown_override_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.fold', did you mean 'folds'\?"):
        load_config(written(tmp_path, SMALLEST), ["train.fold=5"])


def test_a_budget_is_a_number_and_a_unit(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST)
    assert load_config(path, ["train.budget=1.5h"]).train.budget_s == 5400
    with pytest.raises(
        ConfigError, match=r"train\.budget: needs a number and one of s, m, h: 90s, 10m or 2h, not '10min'"
    ):
        load_config(path, ["train.budget=10min"])


@pytest.mark.parametrize("override", ["train.folds", "=5", "train.=5", ".folds=5"])
def test_an_override_without_key_or_value_is_told_with_an_example(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=rf"--set {override}: expected KEY=VALUE, such as train\.folds=5"):
        load_config(written(tmp_path, SMALLEST), [override])


@pytest.mark.parametrize("value", ["[1", "2024-99-99"])
def test_an_override_that_is_no_yaml_is_told(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"--set seed=.*: the value is not valid YAML"):
        load_config(written(tmp_path, SMALLEST), [f"seed={value}"])


def test_an_override_beneath_a_value_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set name\.first=a: 'name' has a value of its own"):
        load_config(written(tmp_path, SMALLEST), ["name.first=a"])


def test_a_file_without_keys_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: expected keys and values, found list"):
        load_config(written(tmp_path, "- a\n"))


def test_the_resolved_settings_give_the_same_settings_again(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST), ["train.folds=5"])
    assert load_config(written(tmp_path, config.as_yaml())) == config


def test_settings_are_frozen(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
