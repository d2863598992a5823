"""Wall time of one photograph from a cold start: `vision classify` against `import torch` and a script with timm.

    python scripts/benchmark_classify.py runs/photos/bundle photo.jpg --runs 5

Every run is a process of its own; the three are run in turn, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMM_SCRIPT = """\
import sys
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config

bundle, photo, backbone, num_classes = sys.argv[1:5]
model = timm.create_model(backbone, num_classes=int(num_classes))
tensors = load_file(bundle + "/weights.safetensors")
weights = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
model.load_state_dict(weights, strict=False)
model.eval()
transform = create_transform(**resolve_data_config(model=model))
with torch.inference_mode():
    image = transform(Image.open(photo).convert("RGB"))[None]
    probabilities = model(image).softmax(dim=1)[0]
for probability, index in zip(*probabilities.topk(min(5, int(num_classes)))):
    print(int(index), float(probability))
"""


def main() -> None:
    """Print the times of all runs, their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    info = json.loads((arguments.bundle / "bundle.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "classify_with_timm.py"
        script.write_text(TIMM_SCRIPT)
        backbone, num_classes = info["embedding"]["backbone"], str(len(info["classes"]))
        vision = [str(Path(sys.executable).parent / "vision"), "classify", "-m", str(arguments.bundle)]
        commands = {
            "vision classify": [*vision, str(arguments.photo)],
            "python -c 'import torch'": [sys.executable, "-c", "import torch"],
            "20 lines of timm and torch": [
                sys.executable, str(script), str(arguments.bundle), str(arguments.photo), backbone, num_classes,
            ],
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.runs):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                times[name].append(time.perf_counter() - start)
    ours = statistics.median(times["vision classify"])
    for name, values in times.items():
        median = statistics.median(values)
        shown = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:<28} median {median:.2f} s ({median / ours:.1f} x vision)   {shown}")


if __name__ == "__main__":
    main()
