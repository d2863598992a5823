"""Networks and parts of them as ONNX graphs: on a processor onnxruntime runs them several times as fast as eager torch.

N images, S input side in px.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from vision.files import whole_file

MADE_BY = tuple(version(name) for name in ("torch", "timm", "onnx", "onnxscript", "onnxruntime"))
"""What decides, beside weights and settings, which numbers a graph makes of a picture."""


def export_module(module: nn.Module, path: Path, *, input_px: int, output_names: Sequence[str]) -> None:
    """Write any module that reads pictures (N, 3, S, S), named `images`, as `export_onnx` does."""
    # Two pictures: a batch of one would be fixed in the graph.
    example = torch.zeros(2, 3, input_px, input_px)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=list(output_names),
            dynamic_shapes=({0: torch.export.Dim("N")},),
            optimize=True,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    _strip_build_traces(path)


def kept_session(
    module: nn.Module, path: Path, *, input_px: int, output_names: Sequence[str]
) -> onnxruntime.InferenceSession:
    """The module in onnxruntime on all cores; its graph is exported once, which takes seconds, and kept.

    Args:
        module: Reads pictures (N, 3, S, S).
        path: Where the graph is kept; its name must tell all that decides its content, `MADE_BY` too.
        input_px: S.
        output_names: Of the module's outputs.
    """
    if path.exists():
        try:
            return _session(path)
        except Exception as error:
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            path.unlink()  # damaged: made anew
    with whole_file(path) as temporary:
        export_module(module, temporary, input_px=input_px, output_names=output_names)
    return _session(path)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: the graph's optimiser warns of what nobody can mend
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _strip_build_traces(path: Path) -> None:
    """Remove what the exporter notes about the machine and the source code, so that equal models are equal files."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    model.doc_string = ""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    _name_in_order(model.graph)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _name_in_order(graph: onnx.GraphProto) -> None:
    """Number nodes and values between them by place: the exporter's numbers go on from what it exported before."""
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # a graph within a graph may use its names
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name.startswith("val_") and name not in kept:
                names.setdefault(name, f"val_{len(names)}")
    for number, node in enumerate(graph.node):
        node.name = f"node_{number}"
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    graph.value_info.sort(key=lambda value: value.name)
    graph.initializer.sort(key=lambda value: value.name)
