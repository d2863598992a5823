"""Graphs: the same network is the same file, whatever a process exported before."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import nn

from vision.train.graphs import export_module


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) -> (N, 2)."""
        return torch.relu(self.second(torch.relu(self.first(images) * 2) + 1)).mean((2, 3))


def test_a_graph_does_not_depend_on_what_was_exported_before(tmp_path: Path) -> None:
    network = _Scaled().eval()
    export_module(network, tmp_path / "first.onnx", input_px=16, output_names=["out"])
    export_module(nn.Sequential(network, nn.Linear(2, 3)), tmp_path / "other.onnx", input_px=16, output_names=["out"])
    export_module(network, tmp_path / "again.onnx", input_px=16, output_names=["out"])
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    graph = onnx.load(str(tmp_path / "first.onnx"))
    onnx.checker.check_model(graph)
    assert [node.name for node in graph.graph.node] == [f"node_{n}" for n in range(len(graph.graph.node))]
