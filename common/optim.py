"""Optimizers, learning-rate schedules and the moving average of the weights, made as a recipe asks for them."""

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

SCHEDULES = ("constant", "step", "plateau", "one_cycle")


def one_cycle(progress: float, warmup: float) -> float:
    """Return the learning rate at `progress` in [0, 1] of training, as a part of its peak.

    It rises in a straight line to 1 at `warmup`, then falls in one to 0 (Smith and Topin, "Super-Convergence", 2018).
    """
    rise = progress / warmup if warmup > 0 else 1.0
    fall = (1 - progress) / (1 - warmup) if warmup < 1 else 1.0
    return min(rise, fall)


def make_schedule(optimizer, recipe, steps_per_epoch: int):
    """Return torch's scheduler, whose `step` is to follow every step of the optimizer.

    For "plateau" it is to follow every epoch, with the validation loss. Raises ValueError for an unknown schedule.
    """
    if recipe.schedule == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1)
    if recipe.schedule == "step":
        return lr_scheduler.StepLR(optimizer, recipe.step_epochs * steps_per_epoch, recipe.gamma)
    if recipe.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=recipe.gamma, patience=recipe.patience)
    if recipe.schedule == "one_cycle":
        total = recipe.epochs * steps_per_epoch
        return lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle((step + 1) / (total + 1), recipe.warmup))
    raise ValueError(f"unknown schedule {recipe.schedule!r}; known: {', '.join(SCHEDULES)}")


class Muon(torch.optim.Optimizer):
    """SGD with momentum, whose groups with "orthogonal" step by the nearest orthogonal matrix to the momentum.

    A convolution's weight counts as a matrix of outputs x (inputs * kernel). Its gradients are nearly of low rank: a
    few directions are learned and the others wait. The orthogonal matrix has all directions in equal length. After
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. Weight decay is added to SGD's
    gradients. In an orthogonal step it would be lost, so there it shrinks the weights themselves, as in AdamW.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float, nesterov: bool = True):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0,
                                  "orthogonal": False})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in (p for p in group["params"] if p.grad is not None):  # the others had no part in the loss
                gradient = weight.grad
                if group["orthogonal"]:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                else:
                    gradient = gradient.add(weight, alpha=group["weight_decay"])
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.mul_(group["momentum"]).add_(gradient)
                step = gradient.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum
                if group["orthogonal"]:
                    matrix = step.flatten(1)
                    step = orthogonalize(matrix).view_as(weight) * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.sub_(step, alpha=group["lr"])


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return roughly the nearest matrix to `matrix` whose rows, or columns, are orthogonal and of length 1.

    Newton and Schulz's iteration with the coefficients of Jordan et al., which end between 0.7 and 1.2 quickly rather
    than at 1 slowly.
    """
    x = matrix / (matrix.norm() + 1e-7)
    if wide := x.shape[0] <= x.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * gram + 2.0315 * gram @ gram)
    return x.T if wide else x


def make_optimizer(model: nn.Module, recipe) -> torch.optim.Optimizer:
    """Return SGD over the trainable parameters, or `Muon` where the recipe says so.

    Weight decay works on parameters of more than one dimension only, so not on norms and biases. Filters of a single
    input channel, whose matrix would have one column for it (those of depthwise convolutions, and of the first layer on
    MNIST), are left to SGD, and so are all vectors.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if recipe.muon and p.dim() > 1 and p.shape[1] > 1]
    others = [p for p in parameters if not any(p is matrix for matrix in matrices)]
    groups = [{"params": [p for p in others if p.dim() > 1], "weight_decay": recipe.weight_decay},
              {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0}]
    if matrices:
        orthogonal = {"params": matrices, "lr": recipe.muon, "weight_decay": recipe.weight_decay, "orthogonal": True}
        return Muon([*groups, orthogonal], recipe.lr, recipe.momentum, recipe.nesterov)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum,
                           nesterov=recipe.nesterov and recipe.momentum > 0)


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of `model` whose parameters and buffers follow it as an exponential moving average.

    The decay grows from 0 towards `decay` over the first steps, so that the average forgets the random start.
    """
    @torch.no_grad()
    def update(averaged, current, count):
        steps = count.item()  # once: a GPU is waited for
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)  # the batch counter of batch norm

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
