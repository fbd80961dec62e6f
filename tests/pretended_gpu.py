"""A GPU for machines that have none: its tensors are the CPU's, but say "cuda:0" and refuse to meet the CPU's own."""

import contextlib
import os
import weakref
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

from common.anatomy import tensors

# What a kernel runs to pretend until it ends.
INJECTED = (f"import sys; sys.path.append({os.path.dirname(__file__)!r})\n"
            "import pretended_gpu; pretending = pretended_gpu.pretend(); pretending.__enter__()")
GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
MAY_MIX = ("copy_", "_foreach_copy_", "data", "_has_compatible_shallow_copy_type")  # functions that take both
STATE = torch.tensor([7], dtype=torch.uint8)  # of its random numbers, which are the CPU's
CUDA = {"is_available": lambda: True, "device_count": lambda: 1, "get_device_name": lambda device=None: "pretended",
        "get_device_capability": lambda device=None: (7, 5),
        "get_rng_state": lambda device=None: STATE, "set_rng_state": lambda state, device=None: None,
        "get_rng_state_all": lambda: [STATE], "set_rng_state_all": lambda states: None}


class Generator(torch.Generator):
    """A generator of the CPU that says it is on `device`."""

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls)
        generator.place = GPU if torch.device(device).type == "cuda" else CPU
        return generator

    device = property(lambda self: self.place)

    def clone_state(self) -> "Generator":
        clone = Generator(self.place)
        clone.set_state(self.get_state())
        return clone


class PretendedGPU(TorchFunctionMode):
    """Knows which memory would be the GPU's, and raises what torch would where a function is given both kinds."""

    def __init__(self):
        super().__init__()
        self.memory = weakref.WeakSet()

    def holds(self, tensor: torch.Tensor) -> bool:
        return memory(tensor) in self.memory

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.device, torch._C._nn._parse_to):  # these only speak of a device
            return func(*args, **kwargs)
        name = func.__self__.__name__ if func.__name__ in ("__get__", "__set__") else func.__name__
        given = list(tensors([args[:1] if name == "__deepcopy__" else args, kwargs]))
        on_gpu = any(map(self.holds, given))
        if name in ("device", "is_cuda", "is_cpu"):
            return (GPU if on_gpu else CPU) if name == "device" else on_gpu == (name == "is_cuda")
        if on_gpu and name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        # The GPU's tensors take from the CPU a single number, an index, and what is copied to them. An index in two
        # parts, one of them on the CPU, torch would take too, and copy it at every step: that is a mistake as well.
        indexed = name == "__getitem__" and sum(map(self.holds, given)) == self.holds(args[0])
        if on_gpu and not indexed and name not in MAY_MIX and any(t.dim() and not self.holds(t) for t in given):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got cuda:0 and cpu")
        wanted = [torch.device(value) for value in (*args, *kwargs.values(), name) if is_device(value)]
        to_gpu = wanted[0].type == "cuda" if wanted else on_gpu
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != (GPU if to_gpu else CPU).type:
            raise RuntimeError(f"Expected a generator on the device of {name}'s result, but found {generator.device}")
        args = [CPU if is_device(value) else value for value in args]
        out = func(*args, **{key: CPU if is_device(value) else value for key, value in kwargs.items()})
        if wanted:
            out = out.clone() if self.holds(out) != to_gpu and any(out is tensor for tensor in given) else out
        old = list(map(memory, given))
        self.memory.update(made for made in map(memory, tensors(out)) if to_gpu and made not in old)
        return out


def memory(tensor: torch.Tensor) -> torch.UntypedStorage:
    with torch._C.DisableTorchFunctionSubclass():  # parameters of lazy layers refuse to tell
        return tensor.untyped_storage()


def is_device(value) -> bool:
    return isinstance(value, torch.device) or isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda")


@contextlib.contextmanager
def pretend():
    """Let torch say that there is a GPU, and yield its `PretendedGPU`."""
    with mock.patch.object(torch, "Generator", Generator), mock.patch.multiple(torch.cuda, **CUDA):
        with PretendedGPU() as gpu:
            yield gpu
