"""Which precision is chosen, and what it does to a training."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from test_training import TEST, TRAIN, network
from torch import nn

from common import checkpoint, precision
from common.precision import TRACE_STEPS, Precision, choose
from common.training import Recipe, fit

CPU = torch.device("cpu")


@pytest.mark.parametrize(("flags", "chosen"), [
    ("vendor_id: AuthenticAMD\nflags: sse avx512f avx512_bf16\n", "bf16"), ("flags: amx_bf16 amx_tile", "bf16"),
    ("vendor_id: GenuineIntel\nflags: avx512f avx512_bf16\n", "fp32"),
    ("vendor_id: AuthenticAMD\nflags: avx512f avx512_vnni\n", "fp32"), (None, "fp32")])
def test_a_cpu_without_fast_instructions_for_16_bits_computes_in_32(flags, chosen, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    if flags:
        info.write_text(flags)
    monkeypatch.delenv("PRECISION", raising=False)
    monkeypatch.setattr(precision, "Path", lambda name: {"/proc/cpuinfo": info}[name])
    assert choose(CPU) == choose(CPU, "cifar10") == chosen and choose(CPU, "mnist") == "fp32"


def test_a_gpu_is_asked_for_its_generation_and_the_reader_has_the_last_word(monkeypatch):
    monkeypatch.delenv("PRECISION", raising=False)
    for generation, chosen in ((8, 0), "bf16"), ((9, 0), "bf16"), ((7, 5), "fp16"):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=generation: found)
        assert choose(torch.device("cuda")) == chosen
    monkeypatch.setenv("PRECISION", "fp32")
    assert choose(torch.device("cuda")) == "fp32"
    monkeypatch.setenv("PRECISION", "fp8")
    with pytest.raises(ValueError, match="unknown PRECISION=fp8; known: fp32, bf16, fp16"):
        choose(CPU)


def test_slow_layers_stay_in_fp32_and_the_others_do_not():
    bf16, images = Precision("bf16", fp32_steps=0), torch.randn(2, 4, 9, 9)
    for options, slow in [({}, False), ({"stride": 2}, False), ({"dilation": 2}, False), ({"groups": 4}, False),
                          ({"groups": 4, "stride": 2}, True), ({"groups": 4, "dilation": 2}, True)]:
        layer = nn.Conv2d(4, 8, 3, **options)
        with bf16.autocast():
            outputs = layer(images)
        assert torch.equal(outputs, layer(images)) if slow else outputs.dtype == torch.bfloat16


def run(monkeypatch, name: str, epochs: int = 6, **options) -> tuple[nn.Module, dict]:
    """Train 36 steps (by way of six epochs) in a precision."""
    monkeypatch.setenv("PRECISION", name)
    recipe = Recipe(epochs, 0.02, batch_size=8, schedule="one_cycle")
    model = network()
    return model, fit(model, TRAIN, TEST, recipe, log=lambda line: None, **options)


def test_the_trace_is_in_fp32_and_what_follows_is_not(monkeypatch):
    (_, exact), (_, rounded) = (run(monkeypatch, name) for name in ("fp32", "bf16"))
    assert len(exact["trace"]) == TRACE_STEPS and exact["trace"] == rounded["trace"]
    assert [history["machine"]["precision"] for history in (exact, rounded)] == ["fp32", "bf16"]
    losses = [[row["train_loss"] for row in history["curve"]] for history in (exact, rounded)]
    assert losses[0][:3] == losses[1][:3] and losses[0][4:] != losses[1][4:]  # the 20th step is in the fourth epoch
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_the_same_seed_gives_the_same_bits_also_when_a_run_goes_on_from_a_checkpoint(name, monkeypatch, tmp_path):
    (model, whole), (_, again) = run(monkeypatch, name), run(monkeypatch, name)
    path, write, written = tmp_path / "run.pt", checkpoint.write, itertools.count(1)

    def write_and_stop(*arguments):
        write(*arguments)
        if next(written) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, name, checkpoint=path)
    resumed_model, resumed = run(monkeypatch, name, checkpoint=path)
    for other in (again, resumed):
        assert other["trace"] == whole["trace"]
        for row, same in zip(other["curve"], whole["curve"], strict=True):
            assert row == {**same, "seconds": row["seconds"]}
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed_model.parameters(), strict=True))


def test_a_step_whose_fp16_gradients_overflow_is_left_out_and_the_scale_halved():
    weight = nn.Parameter(torch.ones(3))
    optimizer, fp16 = torch.optim.SGD([weight], 1.0), Precision("fp16", fp32_steps=0)
    for factor, moved in (1e38, 0.0), (1.0, 1.0):
        optimizer.zero_grad()
        before = weight.detach().clone()
        fp16.scale((factor * weight).sum()).backward()
        fp16.step(optimizer)
        assert torch.allclose(before - weight, torch.full((3,), moved))
    assert fp16.scaler.get_scale() == 2**15


def test_fit_evaluates_training_images_as_it_evaluates_the_tests(monkeypatch):
    model, history = run(monkeypatch, "fp32", epochs=1)
    first = TRAIN[:2]  # a twentieth of 50
    logits = model.eval()((first.images / 255 - 0.1307) / 0.3081)
    assert history["curve"][0]["fit_loss"] == pytest.approx(F.cross_entropy(logits, first.labels).item(), rel=1e-4)
    assert history["curve"][0]["fit_accuracy"] == pytest.approx(
        100 * (logits.argmax(1) == first.labels).double().mean().item())
