"""The checks of session 8's exercises."""

import math
import statistics

import torch
import torch.nn.functional as F
from torch import nn

from common.anatomy import count_parameters
from common.exercises import choice, draw, function, network, number


def group_norm(x, groups, eps=1e-5):
    return F.group_norm(x, groups, eps=eps)


def layer_norm_2d(x, eps=1e-5):
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], eps=eps).permute(0, 3, 1, 2)


def draw_maps(generator):
    """Return maps (N, C, H, W) with channels of different sizes, all four sides different."""
    sizes = torch.arange(1, 9).view(1, 8, 1, 1)
    return torch.randn(3, 8, 4, 5, generator=generator) * sizes + sizes


def without_mean(x, groups):
    by_group = x.reshape(len(x), groups, -1)
    return (x.reshape(by_group.shape) / by_group.std(2, correction=0, keepdim=True)).view(x.shape)


def with_unbiased_variance(x, groups):
    by_group = x.reshape(len(x), groups, -1)
    variance, mean = torch.var_mean(by_group, 2, keepdim=True)
    return ((by_group - mean) / (variance + 1e-5).sqrt()).view(x.shape)


def with_every_other_channel(x, groups):
    n, c, h, w = x.shape
    mixed = x.view(n, c // groups, groups, h, w).transpose(1, 2).reshape(x.shape)
    return group_norm(mixed, groups).view(n, groups, c // groups, h, w).transpose(1, 2).reshape(x.shape)


LETTERS = {  # of what counts in the layout
    nn.Conv2d: lambda layer: {(3, 3): "C", (1, 1): "c"}.get(layer.kernel_size, "?"),
    nn.Linear: lambda layer: "c",
    nn.MaxPool2d: lambda layer: "P",
    nn.AdaptiveAvgPool2d: lambda layer: "A",
    nn.AvgPool2d: lambda layer: "A",
}
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase)  # the last: batch and instance norm


def judge_layout(model) -> str | None:
    """Say what a network of fewer than 50,000 parameters with group norm lacks that should have session 8's layout."""
    if (params := count_parameters(model)) >= 50_000:
        return f"It has {params:,} parameters: which layer costs most, and could its inputs be fewer?"
    found = [letter for layer in model.modules() if (letter := LETTERS.get(type(layer), lambda layer: "")(layer))]
    if "".join(found) != "CCcPCCCcPCCCAc":
        return (f"Its layers are {' '.join(found)}; the layout is C C c P C C C c P C C C A c: C is a 3x3 and c a 1x1 "
                "convolution, P a max-pool, A the average.")
    norms = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    if len(norms) < 8 or not all(isinstance(norm, nn.GroupNorm) for norm in norms):
        return "Put group norm after each of the eight 3x3 convolutions, and no other norm."
    return None


def smoothed(label, classes, s):
    return [(1 - s) * (k == label) + s / classes for k in range(classes)]


def draw_label(generator):
    classes = draw(generator, 2, 12)
    return draw(generator, 0, classes - 1), classes, draw(generator, 1, 5) / 10


def push(s, rounds):
    for _ in range(rounds):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


def interval(differences, t=2.776, deviation=statistics.stdev):
    half, mean = t * deviation(differences) / math.sqrt(len(differences)), statistics.fmean(differences)
    return mean - half, mean + half


def alone(right):
    return [int((right[k] & (right.sum(0) == 1)).sum()) for k in range(len(right))]


def choose_peak(peaks, held_out, test=None):
    best = held_out.mean(1).argmax().item()
    return peaks[best] if 0 < best < len(peaks) - 1 else 0


def draw_tries(generator):
    return ([0.05, 0.1, 0.2, 0.4], *(torch.rand(4, 3, generator=generator) * 5 + 85 for _ in range(2)))


CHECKS = {
    "S8.1.1": number(256, mistakes={
        128: "A mean is one statistic, a variance another.",
        8: "That is one image. Each has its own.",
        64: "So many there are with one group.",
        512: "Statistics of the groups of an image, not of its channels: how many groups are there?",
        1024: "So many there would be with a group for every channel.",
    }, otherwise="A mean and a variance for each group of each image."),
    "S8.1.2": function(group_norm, lambda generator: (draw_maps(generator), 2 ** draw(generator, 0, 3)), {
        lambda x, groups: group_norm(x, 1): "That is layer norm: where do the groups come in?",
        lambda x, groups: group_norm(x, x.shape[1]): "That is instance norm: the channels of a group share a mean.",
        lambda x, groups: group_norm(x, x.shape[1] // groups): "`groups` is how many groups there are, not how many "
                                                               "channels each of them has.",
        lambda x, groups: F.batch_norm(x, None, None, training=True): "That is batch norm: each image by itself here.",
        without_mean: "Subtract the mean first.",
        with_unbiased_variance: "Use the variance that divides by the number of values: `correction=0`.",
        with_every_other_channel: "A group is a block of neighbouring channels, not every other one.",
    }, otherwise="View x as (N, groups, channels of a group, H, W) and normalize over the last three."),
    "S8.1.3": number(32, mistakes={
        1: "That is layer norm: all channels together.",
        2: "Then sixteen channels share a mean.",
        16: "Then two channels share a mean.",
    }, otherwise="Each channel by itself: how many groups is that?"),
    "S8.1.4": number(0, mistakes={
        1: "The variance isn't made 1 here: what is it of a single value?",
        7: "That is the value itself. What is its mean?",
    }, otherwise="What is the mean of a single value, and what is left when it is subtracted?"),
    "S8.1.5": number(16, mistakes={
        4: "So many images halve the distance.",
        2: "Twice the images make it smaller by the root of two only.",
        8: "The root of eight is less than three.",
    }, otherwise="The distance is proportional to one over the root of the number of images."),
    "S8.1.6": choice("group norm", {
        "larger batches": "They lessen the harm: see the column of 128 in the table.",
        "a smaller momentum": "It changes how the running statistics move. Who uses those in training mode?",
    }),
    "S8.1.7": function(layer_norm_2d, lambda generator: (draw_maps(generator),), {
        lambda x: group_norm(x, 1): "That takes the positions together, too: only the channels share a mean here.",
        lambda x: group_norm(x, x.shape[1]): "That is each channel over its positions; here it is the other way round.",
        lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True): "Use the variance that divides by C, not by "
                                                                          "C - 1: `correction=0`.",
        lambda x: F.batch_norm(x, None, None, training=True): "That is batch norm: each image by itself here.",
    }, otherwise="Mean and variance over dimension 1, the channels, which stays as a dimension of size one."),
    "S8.2.1": number(4096, mistakes={
        4608: "The 1x1 convolution has weights, too.",
        5120: "So many the two have together. How many would C4 have without c3?",
        9216: "So many C4 has without c3.",
        512: "So many has c3.",
    }, otherwise="C4 without c3, less c3 and C4 together."),
    "S8.2.2": number(17, mistakes={
        44: "That is with the pools.",
        16: "A single pixel is where it begins.",
        19: "There are eight 3x3 convolutions.",
        23: "A 1x1 convolution sees no further.",
    }, otherwise="Without pools each 3x3 convolution adds two pixels, and a 1x1 none."),
    "S8.2.3": number(2048, mistakes={
        8192: "The pool halves both sides of the map.",
        4096: "The pool halves both sides of the map.",
        256: "That is one channel.",
        8: "That is at one position.",
    }, otherwise="Channels times height times width, behind the pool."),
    "S8.2.4": choice("the test images", {
        "the network": "A network that generalizes so well in every epoch would be a sensation: look elsewhere.",
        "the learning rate": "A rate can be bad for both numbers; it doesn't make them equal.",
        "the loss": "The loss doesn't enter into the count of right answers.",
    }),
    "S8.2.5": network((3, 32, 32), judge_layout),
    "S8.3.1": function(smoothed, draw_label, {
        lambda label, classes, s: [float(k == label) for k in range(classes)]: "Those are hard labels.",
        lambda label, classes, s: [1 - s if k == label else s / (classes - 1) for k in range(classes)]:
            "Nearly: here `s` is shared out among all classes, the true one too.",
        lambda label, classes, s: [1 - s if k == label else s / classes for k in range(classes)]:
            "They must add up to 1: the true class gets its share of `s`, too.",
    }, otherwise="1 - s for the true class, and s / classes for every class on top."),
    "S8.3.2": number(0.125, mistakes={
        0.0625: "It may be the one side four times, or the other.",
        0.5: "That is for two epochs.",
        0.25: "That is for three epochs.",
        0: "That is with alternating flips.",
    }, otherwise="Whatever the first epoch showed: how likely is the same in each of the next three?"),
    "S8.3.3": number(3120, mistakes={
        2736: "The norms have parameters: a scale and a shift a channel.",
        2832: "Each of the four uses has a norm of its own.",
        11_328: "The weights of the convolutions count once, however often they are used.",
        20_736: "That is a plain 3x3 convolution.",
    }, otherwise="The 3x3 filters, the 1x1 mix, and a norm of two parameters a channel for each use."),
    "S8.3.4": function(push, lambda generator: (draw(generator, 1, 99) / 100, draw(generator, 0, 6)), {
        lambda s, rounds: push(s, 1): "Use `rounds`: each round starts with what came out of the last.",
        lambda s, rounds: s: "Apply the polynomial.",
        lambda s, rounds: push(s, rounds + 1): "One round too many.",
    }, otherwise="a s + b s^3 + c s^5, again and again."),
    "S8.3.5": number(1.1**10, tolerance=0.01, mistakes={
        0.1**10: "That is without the adds: each block has 1 + f'(x).",
        2: "The factors multiply along the way; they don't add.",
        1.1: "That is one block.",
        11: "The factors multiply along the way; they don't add.",
    }, otherwise="One block contributes the factor 1 + 0.1."),
    "S8.4.1": function(interval, lambda generator: (torch.rand(5, generator=generator).tolist(),), {
        lambda differences: interval(differences, deviation=statistics.pstdev):
            "Use the sample's deviation, which divides by n - 1.",
        lambda differences: interval(differences, 2.776 * math.sqrt(len(differences))):
            "That is the range of single differences. The mean of n is surer: divide by the root of n.",
        lambda differences: [max(differences), min(differences)][::-1]: "Those are the extremes.",
        lambda differences: interval(differences)[::-1]: "The lower end comes first.",
        lambda differences: interval(differences, 1.96): "With five runs t is 2.776; 1.96 is for very many.",
    }, otherwise="The mean, less and plus 2.776 times the deviation over the root of five."),
    "S8.4.2": choice("this network and this recipe", {
        "every network": "In `budgeted` batch norm leads by far less. How could one network speak for all?",
        "this network": "With other rates the lead may be another: the recipe was the same for all norms.",
        "nothing": "The interval excludes 0: for what was measured, the lead is there.",
    }),
    "S8.4.3": number(0.3363, tolerance=0.005, mistakes={
        0.003363: "In points, please: percent.",
        0.001131: "That is the variance, in points: take the root first.",
        0.1131: "That is the variance of one image: divide by the number of images, and take the root.",
        33.63: "Divide by the root of the number of images.",
        0.6592: "That is half of the 95 % interval. The standard error alone is asked for.",
    }, otherwise="The root of a (1 - a) / n, times 100 for points."),
    "S8.4.4": function(alone, lambda generator: (torch.rand(3, 20, generator=generator) > 0.5,), {
        lambda right: right.sum(1): "Those are all that each network gets right.",
        lambda right: (right.sum(0) == 1).sum(): "One number for each network: who was it?",
        lambda right: [int((~right[k] & (right.sum(0) == 2)).sum()) for k in range(3)]: "That is who is wrong alone.",
    }, otherwise="An image counts for a network that has it right where exactly one network has."),
    "S8.4.5": function(choose_peak, draw_tries, {
        lambda peaks, held_out, test: choose_peak(peaks, test): "That was chosen with the test images, which then "
                                                                "aren't new to the network any more.",
        lambda peaks, held_out, test: peaks[held_out.mean(1).argmax()]: "Is it the smallest or the largest that was "
                                                                        "tried? Then return 0.",
        lambda peaks, held_out, test: peaks[held_out.amax(1).argmax()]: "One lucky seed doesn't make a good peak: "
                                                                        "compare means.",
        lambda peaks, held_out, test: held_out.mean(1).argmax(): "That is its place in the list. Which peak is it?",
        lambda peaks, held_out, test: held_out.mean(1).max(): "That is its accuracy. Which peak has it?",
    }, otherwise="The peak whose mean over the seeds is the highest on held-out images, or 0 where it is at an end."),
}
