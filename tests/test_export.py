"""Exported networks: the same classes as PyTorch's, nothing in the file but the network, and 8 bits."""

import json

import onnx
import pytest
import torch
from click.testing import CliRunner

from common.data import Dataset, find
from common.files import ROOT
from common.models import s7, s8
from tools import export
from tools.__main__ import course
from tools.notebooks import CourseError

torch.manual_seed(0)
IMAGES = torch.randint(256, (64, 1, 28, 28), dtype=torch.uint8)
DIGITS = Dataset("mnist", IMAGES, torch.arange(64) % 10, tuple("0123456789"))


@pytest.fixture(scope="module")
def network():
    return export.FromPixels(s7.one_block(11), "mnist").eval()


def test_a_file_computes_what_the_network_does_whatever_the_size_of_the_batch(network, tmp_path):
    export.write_onnx(network, IMAGES[:2] / 255, tmp_path / "n.onnx")
    with torch.no_grad():
        expected = network(IMAGES / 255)
    torch.testing.assert_close(export.run(tmp_path / "n.onnx", DIGITS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["gn", "ln"])
def test_norms_of_one_image_are_exported_too(norm, tmp_path):
    network = export.FromPixels(s8.plain(norm), "cifar10").eval()
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    export.write_onnx(network, images[:2] / 255, tmp_path / "n.onnx")
    found = export.run(tmp_path / "n.onnx", Dataset("cifar10", images, torch.zeros(4, dtype=int), tuple("0123456789")))
    with torch.no_grad():
        torch.testing.assert_close(found, network(images / 255), rtol=1e-4, atol=1e-4)


def test_a_file_holds_the_weights_once_and_no_traces_of_pytorch(network, tmp_path):
    path = tmp_path / "n.onnx"
    export.write_onnx(network, IMAGES[:2] / 255, path)
    model = onnx.load(path)
    values = sum(parameter.numel() for parameter in (*network.parameters(), *network.buffers()))
    assert 4 * values * 0.9 < path.stat().st_size < 4 * values + 12_000  # the block is used eight times, stored once
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_eight_bits_are_nearly_right(network, tmp_path):
    path = tmp_path / "n.onnx"
    export.write_onnx(network, IMAGES[:2] / 255, path)
    small = export.quantize(path, DIGITS)
    full, quantized = export.run(path, DIGITS), export.run(small, DIGITS)
    assert 0 < (full - quantized).abs().max() < 0.2 * full.abs().max()
    weights = [tensor for tensor in onnx.load(small).graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert len(weights) >= 4  # of the first convolution, the block's two, and the last layer


@pytest.mark.parametrize("name", export.NETWORKS)
def test_the_published_table_is_of_the_published_weights(name):
    measured = json.loads((ROOT / export.NETWORKS[name][0].split("/")[0] / "results" / "export.json").read_text())
    assert measured["weights"][name] == export.published(name)["weights_sha256"], "run: python -m tools export"


def test_a_network_that_is_not_known():
    with pytest.raises(CourseError, match="s9_ours"):
        export.export("s9")
    assert "which network" in CliRunner().invoke(course, ["export", "--int8"]).output


@pytest.mark.slow
def test_an_export_that_differs_from_pytorch_is_refused(monkeypatch, tmp_path):
    if find("mnist") is None:
        pytest.skip("mnist isn't here: set DATA_DIR; EXPORT NOT TESTED")
    made = export.export("s7_smallest", folder=tmp_path)
    assert made.differ == 0 and made.furthest < 1e-4 and made.accuracy > 99.3
    monkeypatch.setattr(export, "run", lambda path, dataset: torch.eye(10)[dataset.labels])
    with pytest.raises(CourseError, match="another class"):
        export.export("s7_smallest", folder=tmp_path)
