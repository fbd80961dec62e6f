"""The machine that a result comes from."""

import os
import platform
import re
from pathlib import Path

import torch


def machine(device: torch.device) -> dict:
    """What a run's rounding depends on: {device, threads, torch}."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {"device": f"{device.type} ({name})", "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def processor() -> str:
    """Return the CPU's name, family, model and vector instructions: a virtual machine often hides which one it is."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = [re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    name = " ".join(match[1] for match in found if match) or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
