"""The checks of session 9's exercises."""

import math

import torch

from common.anatomy import count_parameters, layer_kinds
from common.exercises import choice, draw, function, network, number
from common.receptive_field import field_before_average


def smallest(value, too_large, **hints):
    """The check of a smallest number; `too_large` is the hint for a larger one."""
    judge = number(value, **hints)

    def judge_size(answer):
        return too_large if float(answer) > value else judge(answer)

    return judge_size


def pixels_in_a_row(dilations):
    seen = {0}
    for d in dilations:
        seen = {pixel + offset for pixel in seen for offset in (-d, 0, d)}
    return len(seen)


def draw_dilations(generator):
    return [draw(generator, 1, 4) for _ in range(draw(generator, 1, 4))],


def covers_31(answer):
    """The check of four different dilations, not 1, 2, 4, 8, whose stack sees 31 pixels of a row without a gap."""
    dilations = [int(d) for d in answer]
    if len(set(dilations)) != 4 or min(dilations) < 1 or dilations != list(answer):
        return "Four different whole numbers of at least 1, please."
    if set(dilations) == {1, 2, 4, 8}:
        return "Those are in the text. Find others."
    window = 1 + 2 * sum(dilations)
    if window != 31:
        return f"Their window is {window} pixels wide. It has to be 31."
    if pixels_in_a_row(dilations) < 31:
        return f"There are gaps: {pixels_in_a_row(dilations)} of 31 pixels are seen."
    return None


def central_part(effective, size):
    top, left = ((length - size) // 2 for length in effective.shape)
    return effective[top:top + size, left:left + size].sum() / effective.sum()


def of_another_square(effective, size):
    """The mistake of taking the first row for the first column, too."""
    top = (effective.shape[0] - size) // 2
    return effective[top:top + size, top:top + size].sum() / effective.sum()


def draw_field(generator):
    return torch.rand(12, 8, generator=generator), 2 * draw(generator, 1, 3)


def flip(images, chosen):
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def draw_images(generator):
    return torch.rand(4, 3, 5, 6, generator=generator), torch.rand(4, generator=generator) < 0.5


def class_activation_map(maps, weights):
    return (weights[:, None, None] * maps).sum(0).relu()


def draw_maps(generator):
    return torch.randn(6, 4, 4, generator=generator), torch.randn(6, generator=generator)


def mean_difference(ours, theirs):
    ours, theirs = dict(ours), dict(theirs)
    both = ours.keys() & theirs.keys()
    return sum(ours[seed] - theirs[seed] for seed in both) / len(both)


def draw_runs(generator):
    """Two lists of (seed, accuracy), as long and each in an order of its own; the second has another seed for one."""
    runs = draw(generator, 3, 7)
    ours, theirs = ([(seed, best + torch.rand((), generator=generator).item())
                     for seed in torch.randperm(runs, generator=generator).tolist()]
                    for best in (88, 85 + draw(generator, 0, 6)))
    return ours, [(seed or runs, accuracy) for seed, accuracy in theirs]


def mean_of_all(runs):
    return sum(accuracy for _, accuracy in runs) / len(runs)


def sum_of_differences(ours, theirs):
    return mean_difference(ours, theirs) * len(dict(ours).keys() & dict(theirs).keys())


def power_law(epochs):
    return 14 * (epochs / 10) ** -math.log(14 / 10, 4)


def mixed_loss(log_shares, first, second, share):
    return -(share * log_shares[first] + (1 - share) * log_shares[second])


def draw_mixture(generator):
    return (torch.randn(10, generator=generator).log_softmax(0), draw(generator, 0, 4), draw(generator, 5, 9),
            0.1 + 0.3 * torch.rand((), generator=generator).item())


def judge_tiny(model):
    """The check of a network that keeps to the assignment with an eighth of its parameters."""
    if (parameters := count_parameters(model)) >= 25_000:
        return f"It has {parameters:,} parameters."
    kinds = layer_kinds(model)
    if missing := [kind for kind in ("depthwise", "dilated") if not kinds[kind]]:
        return f"It has no {missing[0]} convolution."
    if not kinds["global_pools"] or not kinds["linear"]:
        return "It should end with a global average, nn.AdaptiveAvgPool2d(1), and a linear layer."
    if kinds["max_pools"]:
        return "It has a max-pool: let a convolution have a stride."
    if (field := field_before_average(model, (3, 32, 32))) <= 44:
        return f"It sees {field} pixels before the average: an early stride makes each later layer see further."
    return None


CHECKS = {
    "S9.1.1": smallest(72, "It is more than eight times fewer with so many, but already with fewer.", mistakes={
        8: "Then the 1x1 convolution alone would be a ninth of the weights, and the depthwise one an eighth.",
        9: "Nine times fewer is the limit for very many outputs.",
        71: "Just short of it: put it into 1/O + 1/9.",
    }, otherwise="Solve 1/O + 1/9 = 1/8."),
    "S9.1.2": number(9 * 64 * 128 // 8, mistakes={
        9 * 64 * 128: "That is with one group.",
        9 * 64 * 128 // 64: "Divide by the groups, once.",
        64 * 128 // 8: "Each weight is a 3x3 filter.",
        9 * 64 + 64 * 128: "That is the separable one.",
        9 * 64 * 128 // 8 + 128: "That is with a bias.",
    }, otherwise="Each output sees only the inputs of its group. How many are those?"),
    "S9.1.3": function(pixels_in_a_row, draw_dilations, {
        lambda dilations: 1 + 2 * sum(dilations): "That is the width of the window. Some of its pixels aren't seen.",
        lambda dilations: 3 ** len(dilations): "Different ways may lead to the same pixel: count it once.",
        lambda dilations: 1 + 2 * len(dilations): "That is right where all dilations are the same.",
    }, otherwise="Start with the one pixel 0; each layer adds -d, 0 and d to all that are there."),
    "S9.1.4": covers_31,
    "S9.1.5": number(4, mistakes={
        2: "The maps are twice as high, and also twice as wide.",
        1: "The number of weights stays. Each is used at more positions.",
        16: "Count positions: twice as many rows, twice as many columns.",
    }, otherwise="How many positions have the later maps now, and how many before?"),
    "S9.1.6": function(central_part, draw_field, {
        lambda effective, size: effective[:size, :size].sum() / effective.sum(): "That square is in a corner.",
        lambda effective, size: size * size / effective.numel(): "Not all pixels count equally: add up the values.",
        lambda effective, size: central_part(effective, size) * effective.sum(): "Divide by the whole field's sum.",
        lambda effective, size: 100 * central_part(effective, size): "A fraction is wanted, not percent.",
        of_another_square: "Its height and its width may differ: the square begins at another row than column.",
        lambda effective, size: effective[size:-size, size:-size].sum() / effective.sum():
            "`size` is the square's side, and not what is left out at the border.",
        lambda effective, size: central_part(effective, size) * effective.numel() / size**2:
            "That is a mean over a mean. A fraction is a sum over a sum.",
    }, otherwise="Is your square `size` pixels wide and high, with as much left above it as below, and on both sides?"),
    "S9.2.1": number(1 / 8, mistakes={
        1 / 2: "That is after one of them.",
        7 / 8: "Those are changed.",
        1 / 6: "Each leaves half of what the one before has left.",
    }, otherwise="Each leaves half of the images as they are, whatever the others do."),
    "S9.2.2": number(73, mistakes={
        0.2875 * 255: "A byte is a whole number.",
        74: "The largest byte is one less than their number.",
        0.2875 * 256: "A byte is a whole number, and the largest is one less than their number.",
        0.2875: "albumentations has values from 0 to 255.",
        114: "That is for CIFAR-10.",
    }, otherwise="A value of 1 is the largest byte. Which one is this?"),
    "S9.2.3": function(flip, draw_images, {
        lambda images, chosen: images.flip(3): "All of them are mirrored now.",
        lambda images, chosen: flip(images, ~chosen): "Those are the others.",
        lambda images, chosen: torch.where(chosen[:, None, None, None], images.flip(2), images): "That is upside down.",
        lambda images, chosen: images[chosen].flip(3): "All images should come back, the others as they were.",
    }, otherwise="Mirror all, and choose for each image which of the two to take: torch.where."),
    "S9.2.4": number(1 / 32, mistakes={
        1 / 16: "That is of the images that have a hole.",
        1 / 2: "That is the fraction of images. How much of each is covered?",
        1 / 8: "A square of 8 x 8 has 64 pixels. How many has the image?",
        3.125: "As a fraction, please: between 0 and 1.",
    }, otherwise="The fraction of the images times the fraction of the pixels of each."),
    "S9.2.5": choice("flip", {
        "shift": "A hand that is moved a little is the same hand.",
        "hole": "A hand that is partly covered is the same hand.",
    }),
    "S9.2.6": number(6, mistakes={
        5: "With five the interval reaches 0.88 points to either side: just too far.",
        3: "That is with 2 in place of t. For few pairs t is larger.",
        4: "Did you forget the 2 in 2/n? Both means have chance in them.",
    }, otherwise="Compute t times 0.5 times the root of 2/n for each n: which is the first below 0.86?"),
    "S9.3.1": number(11_680, mistakes={
        32 * 160 + 160 * 32: "The depthwise filters are missing.",
        12_032: "That is with biases.",
        12_384: "That is with norms.",
        12_704: "The input is added as it is: no channels change.",
        32 * 160 + 9 * 160 * 160 + 160 * 32: "The 3x3 convolution is depthwise: one filter a channel.",
        9 * 32 * 32: "That is a plain 3x3 convolution.",
        11_744: "That is with a norm.",
    }, otherwise="It has three convolutions. What does each take?"),
    "S9.3.2": number(32 * 160 * 1024, mistakes={
        32 * 160: "Those are its weights. At how many positions is each used?",
        9 * 32 * 160 * 1024: "It is a 1x1 convolution.",
        11_680 * 1024: "That is the whole block.",
    }, otherwise="How many weights has it, and at how many positions is each used?"),
    "S9.3.3": function(lambda channels, budget: budget // (2 * channels + 9),
                       lambda generator: (draw(generator, 8, 64), draw(generator, 2_000, 50_000)), {
        lambda channels, budget: budget // (2 * channels): "The depthwise filters cost something, too.",
        lambda channels, budget: (budget - 2 * channels) // (2 * channels + 13): "Leave the norms out.",
        lambda channels, budget: budget / (2 * channels + 9): "Channels are whole.",
        lambda channels, budget: budget // (2 * channels + 9) + 1: "That is one more than the budget pays for.",
        lambda channels, budget: round(budget / (2 * channels + 9)): "Rounded up it may no longer fit.",
        lambda channels, budget: budget // (2 * channels + 9) - 1: "One more still fits.",
        lambda channels, budget: (budget - channels**2) // (2 * channels + 9): "The input is added as it is.",
    }, otherwise="What does one middle channel cost? Divide the budget by that."),
    "S9.3.4": choice("c1", {
        "c2": "A stage before it has larger maps.",
        "c3": "Look at the table of times.",
        "c4": "That is where the parameters are.",
    }),
    "S9.3.5": choice("because few channels would lose too much", {
        "to save time": "ReLU takes next to none.",
        "because the norm has done it": "A norm centres and scales; it sets nothing to 0.",
    }),
    "S9.3.6": number(5_980_160, mistakes={
        5_840: "Those are the weights that it saves. Each is used at every position.",
        11_960_320: "That is what the whole block took before.",
        5_242_880: "The depthwise 3x3 becomes smaller, too.",
        5_324_800: "A depthwise filter has nine weights.",
    }, otherwise="The weights that go, times the positions."),
    "S9.4.1": function(class_activation_map, draw_maps, {
        lambda maps, weights: (weights[:, None, None] * maps).sum(0): "Evidence against the class counts 0.",
        lambda maps, weights: (weights[:, None, None] * maps).relu().sum(0): "Add up all channels first. What is left "
                                                                             "below 0 then is evidence against it.",
        lambda maps, weights: maps.sum(0).relu(): "Each channel counts by its weight.",
        lambda maps, weights: (weights[:, None, None] * maps.relu()).sum(0): "Set to 0 only after the sum.",
        lambda maps, weights: (weights.relu()[:, None, None] * maps).sum(0).relu(): "Negative weights count, too.",
        lambda maps, weights: class_activation_map(maps, weights) / 16: "The sum, not divided by anything.",
        lambda maps, weights: class_activation_map(maps, weights) / class_activation_map(maps, weights).max():
            "Leave it as it is: the largest value needn't be 1.",
        lambda maps, weights: (weights[:, None, None] * maps).sum((1, 2)).relu(): "Add up channels, not positions.",
        lambda maps, weights: (weights[:, None, None] * maps).mean(0).relu(): "The sum over channels, not the mean.",
    }, otherwise="It is the inner sum of the formula, cut off at 0. Over what does it go?"),
    "S9.4.2": number(99.46, mistakes={
        0.9946: "In percent, please.",
        0.54: "That is how often it is counted wrong.",
        100: "Judged by wrong labels it is wrong where they are.",
        99.5: "Don't round.",
    }, otherwise="It is counted wrong wherever the label is."),
    "S9.4.3": choice("unknown", {
        "a": "It was trained for twice as long.",
        "b": "It may be ahead after 25 epochs, or it may not. Was it tried?",
    }),
    "S9.4.4": number(105_280, mistakes={
        106_176: "Each use has had its own norm all along: they aren't doubled.",
        53_088: "That is with shared weights.",
        52_640: "That is one of them.",
        104_384: "And the norms?",
        104_832: "Each of the two layers has its own norm.",
    }, otherwise="What does a depthwise 3x3 have, what the 1x1, and what a norm?"),
    "S9.4.5": function(mean_difference, draw_runs, {
        lambda ours, theirs: mean_of_all(ours) - mean_of_all(theirs): "Some seeds have one run only: leave them out.",
        lambda ours, theirs: sum(one[1] - other[1] for one, other in zip(ours, theirs, strict=True)) / len(ours):
            "The second list isn't in the order of the first: look at the seeds.",
        lambda ours, theirs: -mean_difference(ours, theirs): "Ours less theirs, please.",
        lambda ours, theirs: abs(mean_difference(ours, theirs)): "A difference may be negative: keep its sign.",
        sum_of_differences: "Divide by the number of pairs.",
        lambda ours, theirs: sum_of_differences(ours, theirs) / len(ours): "There are fewer pairs than runs.",
    }, otherwise="Take the seeds that both have, and the mean of the differences."),
    "S9.4.6": choice("nothing", {
        "it helps": "Half of the epochs may have cost all of it.",
        "it hurts": "How many things differ between the two?",
    }),
    "S9.5.1": number((50_000 / 190_000) ** 0.5, tolerance=0.015, mistakes={
        50_000 / 190_000: "That is for parameters. They go with inputs times outputs, and both get fewer.",
        (190_000 / 50_000) ** 0.5: "Upside down: the channels get fewer.",
        1 - (50_000 / 190_000) ** 0.5: "Is that the part that goes? Or the width of the table, for a little less?",
    }, otherwise="Inputs and outputs get fewer by the same factor, so the parameters by its square."),
    "S9.5.2": function(power_law, lambda generator: (draw(generator, 5, 200),), {
        lambda epochs: 14 - 4 * (epochs - 10) / 30: "That is a straight line, which falls below 0 one day.",
        lambda epochs: 14 * (10 / 14) ** ((epochs - 10) / 30):
            "That is an exponential: the same factor for each epoch more. Here it is the same for each doubling.",
        lambda epochs: 14 * epochs ** -math.log(14 / 10, 4): "The law goes through 14 at 10 epochs, not at one.",
        lambda epochs: 14 - 2 * math.log2(epochs / 10):
            "There each doubling takes away as many points. By a power law it takes away the same part.",
        lambda epochs: 100 - power_law(epochs): "That is the accuracy. The error, please.",
        lambda epochs: power_law(epochs) / 100: "In percent, please.",
    }, otherwise="error = a * epochs ** -b: find b from the two errors' ratio, then a, and round neither."),
    "S9.5.3": function(mixed_loss, draw_mixture, {
        lambda log_shares, first, second, share: -mixed_loss(log_shares, first, second, share): "A loss is positive.",
        lambda log_shares, first, second, share: mixed_loss(log_shares, second, first, share):
            "`share` is that of the first.",
        lambda log_shares, first, second, share: -torch.log(share * log_shares[first].exp()
                                                            + (1 - share) * log_shares[second].exp()):
            "That mixes the probabilities before the logarithm. Cross-entropy mixes the logarithms.",
    }, otherwise="Minus the logarithm at each label, times that label's share."),
    "S9.5.4": choice("more epochs", {
        "stronger regularization": "It knows its training images hardly better than the test images.",
        "fewer parameters": "It doesn't even fit its training images with those that it has.",
    }),
    "S9.5.5": network((3, 32, 32), judge_tiny),
    "S9.5.6": smallest(131, "That is more than two standard errors, but already fewer are.", mistakes={
        30: "So many more than it spoils. How many does it correct?",
        31: "So many more than it spoils. How many does it correct?",
        130: "30 beside 30.3: not quite.",
        120: "The error isn't the root of those spoiled: those corrected count, too.",
        121: "The error isn't the root of those spoiled: those corrected count, too.",
        129: "The error grows with those corrected: it isn't the root of 100 + 100.",
        115: "That is more than one standard error. Two, please.",
    }, otherwise="Put numbers for c into (c - 100) / (c + 100) ** 0.5: which is the first that gives more than 2?"),
}
