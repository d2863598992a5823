from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from vision.errors import ConfigError, TaxonomyError, VisionError
from vision.settings_file import SettingsFile, parse_settings


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size_px: int


class Car(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None


def settings_of(tmp_path: Path, text: str, error_type: type[VisionError] = ConfigError) -> SettingsFile:
    path = tmp_path / "car.yaml"
    path.write_text(text, encoding="utf-8")
    return SettingsFile(path, error_type)


def faults_of(tmp_path: Path, text: str) -> list[str]:
    settings = settings_of(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        parse_settings(Car, settings)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


def test_content_and_lines_are_read(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "# a comment\nname: T\nwheels:\n  - size_px: 1\n  - size_px: 2\n")
    assert settings.content == {"name": "T", "wheels": [{"size_px": 1}, {"size_px": 2}]}
    assert settings.place(("wheels", 1, "size_px")) == f"{tmp_path}/car.yaml:5"


def test_an_unknown_location_is_placed_at_its_innermost_known_part(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "name: T\nwheels:\n  - size_px: 1\n")
    assert settings.place(("wheels", 0, "colour", "shade")) == f"{tmp_path}/car.yaml:3"


def test_a_right_file_becomes_the_model(tmp_path: Path) -> None:
    car = parse_settings(Car, settings_of(tmp_path, "name: T\nspare: {size_px: 3}\n"))
    assert car == Car(name="T", spare=Wheel(size_px=3))


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, "nam: T\nwheels:\n  - size_px: one\n  - size_px: 2\n    colour: red\n")
    assert sorted(faults) == [
        "car.yaml:1: key 'name' is missing",
        "car.yaml:1: unknown key 'nam', did you mean 'name'?",
        "car.yaml:3: wheels.0.size_px: Input should be a valid integer, unable to parse string as an integer, "
        "not 'one'",
        "car.yaml:5: unknown key 'wheels.1.colour'; known keys: size_px",
    ]


def test_an_unknown_key_of_an_inner_model_is_told_with_that_models_nearest_key(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, "name: T\nspare:\n  size_px: 1\n  size: 2\n")
    assert faults == ["car.yaml:4: unknown key 'spare.size', did you mean 'size_px'?"]


def test_a_repeated_key_is_told_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"car\.yaml:3: key 'name' stands here and on line 1; keep one of them"):
        settings_of(tmp_path, "name: a\nwheels: []\nname: b\n")


def test_a_repeated_inner_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"car\.yaml:4: key 'size_px' stands here and on line 3"):
        settings_of(tmp_path, "name: a\nspare:\n  size_px: 1\n  size_px: 2\n")


def test_equal_keys_of_two_list_items_are_no_repetition(tmp_path: Path) -> None:
    assert len(parse_settings(Car, settings_of(tmp_path, "name: a\nwheels: [{size_px: 1}, {size_px: 1}]")).wheels) == 2


def test_a_missing_file_is_an_error_of_the_files_type(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match=r"gone\.yaml: cannot read the file \(No such file.*\); check the path"):
        SettingsFile(tmp_path / "gone.yaml", TaxonomyError)


def test_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the file \(Is a directory\)"):
        SettingsFile(tmp_path, ConfigError)


def test_a_file_that_is_not_utf_8_is_told_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "car.yaml").write_bytes("name: Müller".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"car\.yaml: not UTF-8 at byte 7; save the file as UTF-8 text"):
        SettingsFile(tmp_path / "car.yaml", ConfigError)


def test_wrong_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"car\.yaml:2: not valid YAML"):
        settings_of(tmp_path, "name: a\nwheels: ]\n")


def test_an_object_tag_is_refused_instead_of_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"car\.yaml:1: not valid YAML: could not determine a constructor"):
        settings_of(tmp_path, "name: !!python/object/apply:os.getcwd []\n")


@pytest.mark.parametrize(
    "text",
    ["name: a\x00b\n", "name: 2024-99-99\n", "name: 0x_\n", "name: &loop\n  inner: *loop\n"],
    ids=["control character", "impossible date", "impossible number", "reference to itself"],
)
def test_text_that_pyyaml_cannot_turn_into_values_is_told_with_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"car\.yaml.*not valid YAML"):
        settings_of(tmp_path, text)


def test_an_empty_file_lacks_its_required_keys(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "# nothing yet\n") == ["car.yaml: key 'name' is missing"]


def test_a_list_in_place_of_keys_is_told(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, "- name: a\n")
    assert fault.startswith("car.yaml:1: file: Input should be a valid dictionary")
