"""The course's trained networks as ONNX files, which run without PyTorch: python -m tools export s7_ours --int8.

A file takes images (N, C, H, W) with values from 0 to 1, normalizes them itself, and returns logits (N, 10). With
`--int8` weights and activations of its convolutions and linear layers have 8 bits: static quantization, calibrated on
training images.
"""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from common import data, results
from common.data import Dataset, normalize
from common.files import ROOT, write
from common.pretrained import pretrained
from common.tables import markdown
from common.training import predict
from tools.notebooks import CourseError

# What can be exported: the notebook, and its model and norm.
NETWORKS = {
    "s7_ours": ("S7_mnist/3_augmentation", "ours", None),
    "s7_smallest": ("S7_mnist/3_augmentation", "one_block_45", None),
    "s8_ours_bn": ("S8_norms/4_three_norms", "ours", "bn"),
    "s8_ours_gn": ("S8_norms/4_three_norms", "ours", "gn"),
    "s8_ours_ln": ("S8_norms/4_three_norms", "ours", "ln"),
    "s9_ours": ("S9_advanced_conv/4_ours", "ours", None),
}
CALIBRATION = 1000  # training images


class Exported(NamedTuple):
    """A file, and what it does with the test images."""

    path: Path
    kilobytes: float
    accuracy: float  # percent
    differ: int  # test images of which PyTorch's network says another class
    furthest: float  # largest difference of a logit


class FromPixels(nn.Module):
    """A network for images as they come, with values from 0 to 1."""

    def __init__(self, network: nn.Module, name: str):
        super().__init__()
        self.network, self.name = network, name

    def forward(self, images: Tensor) -> Tensor:
        return self.network(normalize(images, self.name))


def export(name: str, int8: bool = False, folder: Path = ROOT / "runs" / "export") -> Exported:
    """Write the network `name` to `folder` and compare the file with PyTorch on all test images.

    Raises CourseError for an unknown name, and where a file with 32 bits says another class than PyTorch for any image,
    or a logit is off by more than 1e-4.
    """
    if name not in NETWORKS:
        raise CourseError(f"no network {name!r}; known: {', '.join(NETWORKS)}")
    network = pretrained(*NETWORKS[name]).to(memory_format=torch.contiguous_format)
    train, test = data.load("mnist" if name.startswith("s7") else "cifar10")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    write_onnx(FromPixels(network, test.name).eval(), test.images[:2] / 255, path)
    if int8:
        path = quantize(path, train)
    logits, expected = run(path, test), predict(network, test)
    differ, furthest = int((logits.argmax(1) != expected.argmax(1)).sum()), (logits - expected).abs().max().item()
    if not int8 and (differ or furthest > 1e-4):
        raise CourseError(f"{path} says another class than PyTorch for {differ} of {len(test.labels):,} test images; "
                          f"one of its logits is {furthest:.1e} away")
    accuracy = 100 * (logits.argmax(1) == test.labels).double().mean().item()
    return Exported(path, path.stat().st_size / 1000, accuracy, differ, furthest)


def write_onnx(network: nn.Module, images: Tensor, path: Path, outputs: tuple[str, ...] = ("logits",)) -> None:
    """Write `network` for batches of any size of images like these; nothing in the file but what it computes.

    `outputs` are the names of what it returns.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it will call otherwise
        torch.onnx.export(network, (images,), path, input_names=["images"], output_names=outputs, opset_version=21,
                          dynamic_shapes=({0: torch.export.Dim("n")},), external_data=False, verbose=False)
    shorten(path)


def shorten(path: Path) -> None:
    """Take from a file what only explains it: half of a small one is names and where in PyTorch a layer stood."""
    import onnx

    model = onnx.load(path)
    graph, names = model.graph, {}
    names |= {value.name: value.name for value in (*graph.input, *graph.output)}
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"{len(names):x}")
    for node in graph.node:
        node.name = ""
        for ends in (node.input, node.output):
            ends[:] = [name and names.setdefault(name, f"{len(names):x}") for name in ends]
    onnx.save(model, path)


def quantize(path: Path, train: Dataset) -> Path:
    """Write the file at `path` again with convolutions and matrix products in 8 bits; return the new file's path."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        batches = iter((train.images[:CALIBRATION] / 255).split(100))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    prepared, made = path.with_suffix(".prepared.onnx"), path.with_name(f"{path.stem}-int8.onnx")
    quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)  # it would copy shared weights
    quantize_static(prepared, made, Images(), per_channel=True, weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8, op_types_to_quantize=["Conv", "Gemm", "MatMul"])
    prepared.unlink()
    shorten(made)
    return made


def run(path: Path, dataset: Dataset) -> Tensor:
    """Return the logits (N, classes) of the file at `path` for every image of `dataset`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.cat([torch.from_numpy(session.run(None, {"images": (images / 255).numpy()})[0])
                      for images in dataset.images.split(500)])


def published(name: str) -> dict:
    """Return the published result whose weights the network `name` has."""
    return results.published_summary(*NETWORKS[name])["results"][0]


def export_all() -> None:
    """Export every network, with 32 bits and with 8, and write a table for each session into results/export.json."""
    rows: dict[str, list[tuple]] = {}
    weights: dict[str, dict[str, str]] = {}
    for name, (notebook, *_) in NETWORKS.items():
        session, result = notebook.split("/")[0], published(name)
        full, small = export(name), export(name, int8=True)
        rows.setdefault(session, []).append((
            f"`{name}`", f"{result['params']:,}", f"{full.kilobytes:.0f} kB", f"{full.accuracy:.2f}",
            f"{full.furthest:.0e}", f"{small.kilobytes:.0f} kB", f"{small.accuracy:.2f}",
            f"{small.accuracy - full.accuracy:+.2f}"))
        weights.setdefault(session, {})[name] = result["weights_sha256"]
        print(*rows[session][-1], sep=" | ", flush=True)
    head = ("network | parameters | file, 32 bits | test accuracy, % | furthest logit from PyTorch's | file, 8 bits "
            "| test accuracy, % | difference, points")
    for session, found in rows.items():
        table = markdown(head, found, "lrrrrrrr")
        write(ROOT / session / "results" / "export.json",
              json.dumps({"weights": weights[session], "table": table}, indent=1) + "\n")
