"""YAML files that people write: read with line numbers, checked against a model, all faults reported at once.

PyYAML alone keeps the last of two equal keys without a word; here a repeated key is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from vision.errors import VisionError, nearest_name_hint

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


# ValueError: an impossible date or number. RecursionError: an alias that holds itself.
YAML_FAULTS = (yaml.YAMLError, ValueError, RecursionError)


class SettingsFile:
    """The content of a YAML file, and the line on which each value stands.

    Attributes:
        path: The file.
        content: Plain dicts, lists, texts and numbers.
        lines: Line number, counted from 1, of every location in `content`.
        overridden: Locations whose value does not come from the file, and where it comes from.
    """

    def __init__(self, path: Path, error_type: type[VisionError]) -> None:
        self.path = path
        self.error_type = error_type
        self.lines: dict[Location, int] = {}
        self.overridden: dict[Location, str] = {}
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise error_type(f"{path}: cannot read the file ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            raise error_type(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8 text") from error
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            if root is not None:
                self._note_lines(root, ())
            self.content: Any = loader.construct_document(root) if root is not None else {}
        except YAML_FAULTS as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise error_type(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error

    def place(self, location: Location) -> str:
        """`file:line` of the innermost known part of `location`, or what it was overridden with."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.overridden:
                return self.overridden[location[:length]]
            if location[:length] in self.lines:
                return f"{self.path}:{self.lines[location[:length]]}"
        return str(self.path)

    def _note_lines(self, node: yaml.Node, location: Location) -> None:
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                key_location = (*location, str(key_node.value))
                if key_location in self.lines:
                    raise self.error_type(
                        f"{self.path}:{key_node.start_mark.line + 1}: key '{key_node.value}' stands here and on line "
                        f"{self.lines[key_location]}; keep one of them"
                    )
                self.lines[key_location] = key_node.start_mark.line + 1
                self._note_lines(value_node, key_location)
        elif isinstance(node, yaml.SequenceNode):
            for index, item_node in enumerate(node.value):
                self._note_lines(item_node, (*location, index))


def parse_settings(model: type[ModelT], settings: SettingsFile) -> ModelT:
    """The file's content as a `model`.

    Raises:
        VisionError: Of the file's error type, with one line for each fault.
    """
    try:
        return model.model_validate(settings.content)
    except ValidationError as error:
        raise settings.error_type("\n".join(describe_faults(error, model, settings))) from error


def describe_faults(error: ValidationError, model: type[BaseModel], settings: SettingsFile) -> list[str]:
    """One line for each fault: place, key, what is wrong, value found, nearest known key."""
    faults = []
    for fault in error.errors():
        location: Location = fault["loc"]
        key = ".".join(str(part) for part in location)
        if fault["type"] == "extra_forbidden":
            known = _known_keys(model, location[:-1])
            hint = nearest_name_hint(str(location[-1]), known) or f"; known keys: {', '.join(sorted(known))}"
            faults.append(f"{settings.place(location)}: unknown key '{key}'{hint}")
        elif fault["type"] == "missing":
            faults.append(f"{settings.place(location)}: key '{key}' is missing")
        else:
            message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            shown = "" if isinstance(fault["input"], dict | list) else f", not {fault['input']!r}"
            faults.append(f"{settings.place(location)}: {key or 'file'}: {message}{shown}")
    return faults


def _known_keys(model: type[BaseModel], location: Location) -> set[str]:
    """Field names of the model that stands at `location` inside `model`."""
    models = [model]
    for part in location:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        if fields:  # else an index of a list or a key of a mapping, whose models the field has named already
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every pydantic model that a type annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
