"""Write the JSON schemas of evaluation.json, comparison.json and gates.json to docs/.

python scripts/write_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path

from vision.evaluate.comparison import Comparison
from vision.evaluate.evaluation import Evaluation
from vision.evaluate.gates import GateReport

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """One file a model."""
    for stem, model in {"evaluation": Evaluation, "comparison": Comparison, "gates": GateReport}.items():
        text = json.dumps(model.model_json_schema(), indent=1, ensure_ascii=False)
        (DOCS / f"{stem}.schema.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
