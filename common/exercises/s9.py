"""The checks of session 9's exercises."""

import torch

from common.exercises import choice, draw, function, number


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
    if len(set(dilations)) != 4 or min(dilations) < 1:
        return "Four different whole numbers of at least 1, please."
    if set(dilations) == {1, 2, 4, 8}:
        return "Those are in the text. Find others."
    window = 1 + 2 * sum(dilations)
    if window != 31:
        return f"Their window is {window} pixels wide."
    if pixels_in_a_row(dilations) < 31:
        return f"There are gaps: {pixels_in_a_row(dilations)} of 31 pixels are seen."
    return None


def flip(images, chosen):
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def draw_images(generator):
    return torch.rand(4, 3, 5, 6, generator=generator), torch.tensor([True, False, True, False])


CHECKS = {
    "S9.1.1": number(72, mistakes={
        8: "Then the depthwise part alone would be an eighth of the weights.",
        9: "Nine times fewer is the limit for very many outputs.",
        71: "Just short of it: put it into 1/O + 1/9.",
    }, otherwise="Solve 1/O + 1/9 = 1/8."),
    "S9.1.2": number(9 * 64 * 128 // 8, mistakes={
        9 * 64 * 128: "That is with one group.",
        9 * 64 * 128 // 64: "Divide by the groups, once.",
        64 * 128 // 8: "Each weight is a 3x3 filter.",
        9 * 64 + 64 * 128: "That is the separable one.",
    }, otherwise="9 times inputs times outputs, over the groups."),
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
    "S9.2.1": number(1 / 8, mistakes={
        1 / 2: "That is after one of them.",
        7 / 8: "Those are changed.",
        1 / 6: "Each leaves half of what the one before has left.",
    }, otherwise="Each leaves half of the images as they are, whatever the others do."),
    "S9.2.2": number(114, mistakes={
        113.8575: "A byte is a whole number.",
        113: "Round it: 113.86.",
        0.4465: "albumentations has values from 0 to 255.",
    }, otherwise="255 times the mean, rounded."),
    "S9.2.3": function(flip, draw_images, {
        lambda images, chosen: images.flip(3): "All of them are mirrored now.",
        lambda images, chosen: flip(images, ~chosen): "Those are the others.",
        lambda images, chosen: torch.where(chosen[:, None, None, None], images.flip(2), images): "That is upside down.",
        lambda images, chosen: images[chosen].flip(3): "All images should come back, the others as they were.",
    }, otherwise="Mirror all, and choose for each image which of the two to take: torch.where."),
    "S9.2.4": number(1 / 8, mistakes={
        1 / 4: "That is of the images that have a hole.",
        1 / 2: "That is the fraction of images. How much of each is covered?",
        12.5: "As a fraction, please: between 0 and 1.",
    }, otherwise="The fraction of the images times the fraction of the pixels of each."),
    "S9.2.5": choice("flip", {
        "shift": "A hand that is moved or turned a little is the same hand.",
        "hole": "A hand that is partly covered is the same hand.",
    }),
}
