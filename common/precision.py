"""The precision in which a network trains: numbers of 16 bits where the processor computes faster with them."""

import contextlib
import os
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

TRACE_STEPS = 20  # a run's first steps are in fp32, for their losses are kept with its result and repeated elsewhere
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose(device: torch.device, data: str = "") -> str:
    """Return "bf16", "fp16" or "fp32": what trains fastest on `device`; the variable PRECISION overrides it.

    MNIST stays in fp32: in 16 bits our network of session 7 loses accuracy for little time (S7_mnist/README.md).

    bf16 has the range of fp32 and eight bits of its 24 for the digits; a processor needs instructions for it, a GPU is
    of Ampere or newer. fp16, for older GPUs, has more digits and so little range that small gradients vanish unless the
    loss is scaled up. Raises ValueError for a PRECISION that isn't known.

    Processors with AMX are meant, and AMD's with AVX512_BF16. On one of Intel's that has the latter alone (to a virtual
    machine AMX may be hidden) our networks of sessions 8 and 9 take an eighth to a quarter longer in bf16.
    """
    if chosen := os.environ.get("PRECISION"):
        if chosen not in DTYPES:
            raise ValueError(f"unknown PRECISION={chosen}; known: {', '.join(DTYPES)}")
        return chosen
    if data == "mnist":
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    info = Path("/proc/cpuinfo")
    found = set(re.findall(r"\b(?:amx_bf16|avx512_bf16|AuthenticAMD)\b", info.read_text())) if info.exists() else set()
    fast = "amx_bf16" in found or {"avx512_bf16", "AuthenticAMD"} <= found
    return "bf16" if fast and device.type == "cpu" else "fp32"


class Precision:
    """Mixed precision: weights and optimizer in fp32, and from step `fp32_steps` on layers in that of `name`.

    After Micikevicius et al., "Mixed Precision Training", 2018, as torch's autocast and GradScaler do it. In a training
    step `autocast()` goes around the forward pass, `scale(loss)` before `backward()`, and `step(optimizer)` is the
    optimizer's step.
    """

    def __init__(self, name: str = "fp32", device_type: str = "cpu", fp32_steps: int = TRACE_STEPS):
        self.name, self.device_type, self.fp32_steps = name, device_type, fp32_steps
        self.steps = 0
        self.scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.name == "fp32" or self.steps < self.fp32_steps:
            return contextlib.nullcontext()
        context = contextlib.ExitStack()
        context.enter_context(torch.autocast(self.device_type, DTYPES[self.name]))
        if self.device_type == "cpu":
            context.enter_context(KeepSlowLayers())
        return context

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return self.scaler.scale(loss)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()
        self.steps += 1

    def state_dict(self) -> dict:
        return {"steps": self.steps, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        self.scaler.load_state_dict(state["scaler"])


class KeepSlowLayers(TorchFunctionMode):
    """Keeps in fp32 what bf16 slows down on a CPU: depthwise convolutions with a stride or a dilation.

    oneDNN has no bf16 code for their backward pass: with a stride it takes ten times as long as in fp32.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.conv2d or not is_slow(*args, **kwargs):
            return function(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            images, *others = args
            return function(images.float(), *others, **kwargs)


def is_slow(images, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    """Whether a call of F.conv2d is a grouped convolution with a stride or a dilation."""
    return groups > 1 and any(step not in (1, (1, 1)) for step in (stride, dilation))
