"""The checks of session 7's exercises."""

import math

import torch
import torch.nn.functional as F

from common.anatomy import count_parameters
from common.exercises import choice, draw, function, network, number
from common.receptive_field import field_before_average


def conv_cost(inputs, outputs, kernel, height, width):
    weights = inputs * outputs * kernel**2
    return weights, weights * height * width


def judge_tiny(model) -> str | None:
    """Say what a network of fewer than 1,000 parameters that should see 20 pixels of an MNIST image lacks."""
    if (params := count_parameters(model)) >= 1000:
        return f"It has {params:,} parameters: narrower layers, or 1x1 convolutions between them, have fewer."
    if (seen := field_before_average(model, (1, 28, 28))) < 20:
        return f"It sees {seen} pixels before the map is averaged: after a pool each convolution adds twice as many."
    return None


def evaluate_norm(x, mean, variance, scale, shift, eps=1e-5):
    return F.batch_norm(x, mean, variance, scale, shift, eps=eps)


def draw_normed(generator):
    x = torch.randn(3, 4, 3, 3, generator=generator)
    mean, shift = torch.randn(2, 4, generator=generator)
    variance, scale = torch.rand(2, 4, generator=generator) + 0.1
    return x, mean, variance, scale, shift, 0.1


def draw_dropped(generator):
    p = draw(generator, 1, 8) / 10
    x = torch.randn(2, 3, 4, 4, generator=generator)
    return x, (torch.rand(x.shape, generator=generator) >= p).float(), p


def one_cycle(step, steps, peak, warmup=0.2):
    rising = warmup * steps
    if step < rising:
        return peak * step / rising
    return peak * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


def straight_cycle(step, steps, peak, warmup=0.2):
    return peak * min(step / (warmup * steps), (steps - step) / (steps - warmup * steps))


def draw_step(generator):
    steps = 10 * draw(generator, 1, 100)
    return draw(generator, 0, steps), steps, draw(generator, 1, 9) / 10, draw(generator, 1, 5) / 10


def ema(values, decay, start=None):
    average, averages = values[0] if start is None else start, []
    for value in values:
        average = decay * average + (1 - decay) * value
        averages.append(average)
    return averages


def draw_values(generator):
    return torch.rand(draw(generator, 2, 9), generator=generator).tolist(), draw(generator, 1, 9) / 10


CHECKS = {
    "S7.1.1": number(1792, mistakes={
        -1792: "The right size; the larger one comes first.",
        4096: "There are two 3x3 convolutions.",
        7: "So much for one input and one output channel; each output has a filter for every input.",
        112: "So much for one output channel, or one input channel; multiply by the other, too.",
        1776: "Leave out the biases.",
    }, otherwise="A convolution has kernel x kernel x inputs x outputs weights: write it out for both."),
    "S7.1.2": number(10, mistakes={
        7: "Pooling with stride 2 doubles the jump, and its window sees more, too.",
        8: "After the pool two neighbouring values are two pixels apart.",
        9: "The window of the pool sees more, too.",
        12: "A pool adds (2 - 1) x jump; what it doubles is the jump, not the field.",
    }, otherwise="Each layer adds (kernel - 1) x jump; the jump starts at one and doubles after the pool."),
    "S7.1.3": number(460_800, mistakes={
        3_115_008: "That is all of its arithmetic with padding. How much of it is new?",
        100: "So many positions are new. What does each of them cost?",
        4_608: "That is the number of weights. Each is used once at every position.",
        51_200: "The kernel has 3 x 3 weights for each pair of channels.",
    }, otherwise="Weights times positions of the output: how many positions with padding, and how many without?"),
    "S7.1.4": function(conv_cost, lambda generator: tuple(draw(generator, 1, 9) for _ in range(5)), {
        lambda *sizes: conv_cost(*sizes)[::-1]: "The parameters come first.",
        lambda i, o, k, h, w: (i * o * k**2 + o, (i * o * k**2 + o) * h * w): "Leave out the bias.",
        lambda i, o, k, h, w: (i * o * k**2 + o, i * o * k**2 * h * w): "Leave out the bias.",
        lambda i, o, k, h, w: (i * o * k, i * o * k * h * w): "The kernel has two sides.",
        lambda i, o, k, h, w: (i * k**2, i * k**2 * h * w): "That is one output channel.",
        lambda i, o, k, h, w: (o * k**2, o * k**2 * h * w): "Each output channel has a filter for every input.",
        lambda i, o, k, h, w: (i * o * k**2, 2 * i * o * k**2 * h * w):
            "A multiplication and its addition count as one.",
    }, otherwise="How many weights make one output value? How many output values are there?"),
    "S7.1.5": network((1, 28, 28), judge_tiny),
    "S7.2.1": choice("nothing", {
        "helps": "Batch norm subtracts each channel's mean over the batch. What is left of a constant?",
        "hurts": "It costs a few parameters, but what does batch norm leave of a constant?",
    }),
    "S7.2.2": number(156, mistakes={
        78: "Each channel has a scale and a shift.",
        312: "The running mean and variance are measured, not trained.",
        2: "So much for one channel.",
        12: "So much for one channel of each layer.",
    }, otherwise="Two for each channel that is normalized."),
    "S7.2.3": choice("lower", {
        "higher": "Dropout disturbs the network. Does that help it on the images at hand?",
        "the same": "Dropout removes a part of what the network computes from.",
    }),
    "S7.2.4": function(evaluate_norm, draw_normed, {
        lambda x, mean, variance, scale, shift, eps:
            evaluate_norm(x, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), scale, shift, eps):
            "That is training mode: in evaluation the running mean and variance are used, not the batch's.",
        lambda x, mean, variance, scale, shift, eps:
            evaluate_norm(x, x.mean((0, 2, 3)), x.var((0, 2, 3)), scale, shift, eps):
            "That is training mode: in evaluation the running mean and variance are used, not the batch's.",
        lambda x, mean, variance, scale, shift, eps: evaluate_norm(x, mean, variance, scale, shift, 0):
            "Where is `eps`?",
        lambda x, mean, variance, scale, shift, eps: evaluate_norm(x, mean, variance, scale, shift):
            "Use the `eps` that is given.",
        lambda x, mean, variance, scale, shift, eps: evaluate_norm(x, mean, (variance + eps) ** 2, scale, shift, 0):
            "Divide by the standard deviation, not by the variance.",
        lambda x, mean, variance, scale, shift, eps:
            evaluate_norm(x, mean, variance, torch.ones(4), torch.zeros(4), eps): "Where are `scale` and `shift`?",
    }, otherwise="By channel: subtract the mean, divide by the root of variance plus eps, scale, shift."),
    "S7.2.5": function(lambda x, mask, p: x * mask / (1 - p), draw_dropped, {
        lambda x, mask, p: x * mask: "In training, what is kept is scaled up, so that the mean stays.",
        lambda x, mask, p: x * mask * (1 - p): "Scale up, not down: the mean must stay though values are dropped.",
        lambda x, mask, p: x * mask / p: "`p` is the part that is dropped. Which part is kept?",
        lambda x, mask, p: x * (1 - mask) / (1 - p): "The mask is 1 where a value is kept.",
    }, otherwise="Zero where the mask is 0; elsewhere the value, scaled so that the mean stays."),
    "S7.2.6": number(0.999 ** 1000, tolerance=0.001, mistakes={
        0: "That would be L1. L2 takes a part of what is left.",
        0.99 ** 1000: "A step is the learning rate times the gradient, and the gradient is 0.01 times the weight.",
        0.999: "That is after one step.",
        1 - 0.999 ** 1000: "That part is gone.",
    }, otherwise="Each step leaves the same part of the weight: 1 minus the learning rate times lambda."),
    "S7.3.1": choice("6 and 9", {
        "0 and 8": "Turned by half a circle, each of them reads as itself: its label stays right.",
        "1 and 7": "Turn both by half a circle: does one of them read as the other?",
        "2 and 5": "A mirror makes one look like the other; turned by half a circle, each stays itself.",
    }),
    "S7.3.2": number(0.15, tolerance=0.002, mistakes={
        0.3: "That is the peak. When is it reached?",
        0.03: "The peak is reached at the end of the warm-up, not of training.",
        200: "That is how long the warm-up takes. What is the rate on the way?",
    }, otherwise="How long does the warm-up take, and how much of it is over?"),
    "S7.3.3": number(346, tolerance=1.5, mistakes={
        250: "What is lost in a step is a part of what is left, not of the start.",
        500: "That is about how many steps are averaged over. When is one half left?",
    }, otherwise="After n steps decay ** n of the old value is left: solve for one half."),
    "S7.3.4": function(one_cycle, draw_step, {
        straight_cycle: "The rise is right; the fall is a straight line, not a cosine.",
        lambda step, steps, peak, warmup: one_cycle(step, steps, peak): "Use the `warmup` that is given.",
        lambda step, steps, peak, warmup: peak * (1 + math.cos(math.pi * step / steps)) / 2: "Where is the warm-up?",
        lambda step, steps, peak, warmup: min(step / (warmup * steps), 1) * peak * (
            1 + math.cos(math.pi * step / steps)) / 2: "The cosine starts where the warm-up ends.",
    }, otherwise="Draw it: 0 at the start, the peak after `warmup * steps`, half of it midway down, 0 at the end."),
    "S7.3.5": function(ema, draw_values, {
        lambda values, decay: ema(values, 1 - decay): "`decay` is the weight of the old average.",
        lambda values, decay: ema(values, decay, start=0): "The average starts at the first value, not at zero.",
        lambda values, decay: [sum(values[: k + 1]) / (k + 1) for k in range(len(values))]:
            "That is the mean of all values so far; here old values fade.",
    }, otherwise="Each average is made of the average before it and the new value."),
    "S7.3.6": number(720, mistakes={
        400: "The batch norms have parameters, too: a scale and a shift for each channel.",
        464: "The weights are shared; are the batch norms?",
        560: "Two batch norms belong to each use: one after the 3x3, one after the 1x1 convolution.",
        2320: "The weights of the convolutions count once, however often they are used.",
    }, otherwise="Add up: 16 filters of 3x3, a 16 x 16 mix, and two norms a use, each with a scale and a shift."),
}
