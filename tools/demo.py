"""The page on which a reader draws a digit: docs/demo/, with the networks as ONNX files and the runtime beside it."""

import base64
import json
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from common import data, session
from common.anatomy import count_parameters
from common.files import ROOT, write
from common.pretrained import pretrained
from common.results import published_summary
from common.training import predict
from tools.export import NETWORKS, FromPixels, write_onnx
from tools.notebooks import CourseError

SOURCE, BUILT = ROOT / "docs" / "demo", ROOT / "runs" / "extra" / "demo"
SAMPLES = 12
RUNTIME = ROOT / "docs" / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
LADDER = "S7_mnist/3_augmentation"  # the notebook whose networks read digits, down to the smallest
PICTURES = {"s8_ours_bn": "batch norm", "s8_ours_gn": "group norm", "s8_ours_ln": "layer norm", "s9_ours": "session 9"}
# The layers of s7.ours whose maps are shown, by their number.
BLOCKS = {2: "first convolution", 3: "separable, pooled", 4: "block, used four times", 5: "separable, pooled",
          6: "block, used four times"}


class WithMaps(nn.Module):
    """A network in layers that returns its logits, and the maps behind some of its layers."""

    def __init__(self, network: nn.Sequential, layers: list[int]):
        super().__init__()
        self.network, self.layers = network, layers

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for number, layer in enumerate(self.network):
            x = layer(x)
            if number in self.layers:
                maps.append(x)
        return x.flatten(1), *maps


def build(folder: Path) -> None:
    """Make the page in `folder`; raises CourseError where npm has not brought the runtime."""
    if missing := [name for name in RUNTIME_FILES if not (RUNTIME / name).exists()]:
        raise CourseError(f"{RUNTIME} has no {', '.join(missing)}: say `make site`, which brings them")
    (folder / "networks").mkdir(parents=True, exist_ok=True)
    (folder / "ort").mkdir(exist_ok=True)
    for path in (*SOURCE.glob("*.html"), *SOURCE.glob("*.js"), *SOURCE.glob("*.css")):
        shutil.copy(path, folder)
    for name in RUNTIME_FILES:
        shutil.copy(RUNTIME / name, folder / "ort")
    digit, picture = torch.rand(2, 1, 28, 28), torch.rand(2, 3, 32, 32)
    networks = folder / "networks"
    ours = pretrained(LADDER, "ours").to(memory_format=torch.contiguous_format)
    names = ["logits", *(f"block{layer}" for layer in BLOCKS)]
    write_onnx(FromPixels(WithMaps(ours, list(BLOCKS)), "mnist").eval(), digit, networks / "digits.onnx", names)
    ladder = []
    for model in read_ladder():
        network = pretrained(LADDER, model).to(memory_format=torch.contiguous_format)
        write_onnx(FromPixels(network, "mnist").eval(), digit, networks / f"{model}.onnx")
        ladder.append({"file": model, "parameters": f"{count_parameters(network):,}",
                       "accuracy": f"{published_summary(LADDER, model)['mean']:.2f}"})
    for name in PICTURES:
        network = pretrained(*NETWORKS[name]).to(memory_format=torch.contiguous_format)
        write_onnx(FromPixels(network, "cifar10").eval(), picture, networks / f"{name}.onnx")
    about = {"parameters": f"{count_parameters(ours):,}", "ladder": ladder,
             "blocks": [{"name": f"block{layer}", "said": said} for layer, said in BLOCKS.items()],
             "pictures": [{"file": name, "name": said} for name, said in PICTURES.items()],
             **json.loads((SOURCE / "samples.json").read_text())}
    write(folder / "networks.json", json.dumps(about))


def read_ladder() -> list[str]:
    """Return the networks of session 7 within its budget whose weights are kept, the largest first."""
    kept = [name for name, about in session.read("S7_mnist").results(LADDER.split("/")[1]).items() if about.weights]
    sizes = {name: published_summary(LADDER, name)["params"] for name in kept}
    return sorted(sizes, key=lambda name: -sizes[name])


def choose_samples() -> None:
    """Write docs/demo/samples.json: test images of CIFAR-10, half of which some of the networks get wrong."""
    _, test = data.load("cifar10")
    right = []
    for name in PICTURES:
        right.append(predict(pretrained(*NETWORKS[name]), test).argmax(1) == test.labels)
    together = torch.stack(right)
    easy, hard = (mask.nonzero().flatten()[:SAMPLES // 2] for mask in (together.all(0), ~together.all(0)))
    chosen = torch.stack([easy, hard], 1).flatten()
    write(SOURCE / "samples.json", json.dumps({
        "classes": test.classes, "labels": test.labels[chosen].tolist(),
        "samples": base64.b64encode(test.images[chosen].numpy().tobytes()).decode()}) + "\n")
