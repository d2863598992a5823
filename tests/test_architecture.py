"""Imports run one way, and classifying never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vision"

# Later rooms may import earlier ones, never the other way.
ORDER = [
    ["errors"],
    ["files"],
    ["pages"],
    ["settings_file"],
    ["taxonomy"],
    ["data"],
    ["config"],
    ["predictions"],
    ["bundle"],
    ["classify"],
    ["evaluate"],
    ["train"],
    ["web"],
    ["console", "doctor"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        rooms |= {name.split(".")[1] for name in names if name.startswith("vision.")}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    if relative.name == "__init__.py" and len(relative.parts) == 1:
        assert imported_rooms(path) == set()
        return
    room = relative.parts[0].removesuffix(".py")
    for imported in imported_rooms(path) - {room}:
        assert RANK[imported] < RANK[room], f"{relative} imports vision.{imported}"


@pytest.mark.parametrize(
    "statement",
    [
        "import vision",
        "import vision.cli",
        "import vision.classify.engine, vision.classify.writing, vision.console",
        "import vision.evaluate.run, vision.evaluate.report.render",
        "import vision.data.check, vision.data.demo, vision.doctor",
    ],
)
def test_torch_is_not_loaded_by(statement: str) -> None:
    code = f"{statement}; import sys; print([m for m in ('torch', 'timm', 'sklearn', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_imports_nothing_heavy_before_a_command_needs_it() -> None:
    heavy = ("numpy", "polars", "onnxruntime", "yaml", "PIL")
    code = f"import vision.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
