"""Digits drawn by different hands, as pen strokes on a field of 280 x 280, for the page that reads them."""

import math
import random
from typing import NamedTuple

Point = tuple[float, float]


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> list[Point]:
    """Points of an ellipse around (x, y); degrees, 0 to the right and 90 up."""
    steps = max(4, round(abs(end - start) / 20))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + wide * math.cos(angle), y - high * math.sin(angle)) for angle in angles]


# Two ways to write each digit, in a square of side 1: strokes of points.
ROUND = {
    0: [arc(0.5, 0.5, 0.33, 0.48, 90, 450)],
    1: [[(0.5, 0.02), (0.5, 0.98)]],
    2: [[*arc(0.5, 0.3, 0.32, 0.28, 170, -30), (0.2, 0.95), (0.85, 0.95)]],
    3: [[*arc(0.45, 0.27, 0.3, 0.25, 150, -80), *arc(0.45, 0.73, 0.34, 0.25, 80, -150)]],
    4: [[(0.35, 0.05), (0.15, 0.6), (0.85, 0.6)], [(0.68, 0.1), (0.66, 0.97)]],
    5: [[(0.3, 0.05), (0.25, 0.45), *arc(0.48, 0.68, 0.32, 0.28, 125, -140)], [(0.3, 0.05), (0.82, 0.05)]],
    6: [[(0.65, 0.05), (0.4, 0.25), (0.22, 0.55), *arc(0.48, 0.7, 0.26, 0.26, 170, 530)]],
    7: [[(0.15, 0.06), (0.85, 0.06), (0.6, 0.45), (0.42, 0.97)]],
    8: [[*arc(0.5, 0.27, 0.25, 0.24, 280, -90), *arc(0.5, 0.74, 0.31, 0.24, 90, 450)]],
    9: [[*arc(0.48, 0.3, 0.27, 0.26, 20, 370), (0.73, 0.6), (0.66, 0.97)]],
}
ANGULAR = {
    0: [arc(0.5, 0.5, 0.42, 0.45, 60, 425)],
    1: [[(0.3, 0.25), (0.55, 0.02), (0.55, 0.98)]],
    2: [[(0.15, 0.25), (0.35, 0.05), (0.7, 0.1), (0.75, 0.35), (0.5, 0.65), (0.12, 0.95), (0.5, 0.9), (0.9, 0.95)]],
    3: [[(0.2, 0.1), (0.75, 0.08), (0.45, 0.42), *arc(0.45, 0.7, 0.35, 0.28, 80, -140)]],
    4: [[(0.6, 0.02), (0.1, 0.65), (0.9, 0.65)], [(0.65, 0.35), (0.65, 0.98)]],
    5: [[(0.8, 0.04), (0.28, 0.06), (0.22, 0.42), (0.55, 0.4), (0.8, 0.62), (0.7, 0.88), (0.4, 0.97), (0.15, 0.88)]],
    6: [[(0.5, 0.02), (0.25, 0.4), (0.2, 0.75), (0.4, 0.97), (0.7, 0.9), (0.75, 0.65), (0.5, 0.52), (0.22, 0.7)]],
    7: [[(0.12, 0.1), (0.85, 0.05), (0.45, 0.97)], [(0.35, 0.5), (0.8, 0.48)]],
    8: [[(0.75, 0.15), (0.45, 0.02), (0.22, 0.2), (0.4, 0.42), (0.72, 0.62), (0.75, 0.85), (0.5, 0.98), (0.24, 0.85),
         (0.28, 0.62), (0.6, 0.42), (0.78, 0.22), (0.72, 0.12)]],
    9: [[(0.75, 0.2), (0.5, 0.05), (0.25, 0.18), (0.25, 0.42), (0.5, 0.52), (0.75, 0.35), (0.76, 0.15), (0.75, 0.97)]],
}


class Hand(NamedTuple):
    """How somebody writes: which shapes, how large (pixels), where, how slanted, how shaky, and with which pen."""

    shapes: dict[int, list[list[Point]]]
    height: float = 190
    width: float = 150
    x: float = 140
    y: float = 140
    slant: float = 0.0
    shake: float = 0.0
    pen: int = 18


HANDS = {
    "large": Hand(ROUND),
    "slanted to the right": Hand(ROUND, slant=0.35, pen=14),
    "slanted to the left": Hand(ANGULAR, slant=-0.2, pen=16),
    "small, in a corner": Hand(ANGULAR, height=70, width=55, x=70, y=80, pen=10),
    "tiny, thick": Hand(ROUND, height=80, width=60, x=200, y=190, pen=18),
    "thick, shaky": Hand(ANGULAR, shake=3, pen=32),
    "thin, narrow": Hand(ROUND, height=230, width=110, pen=6),
    "wide, low, shaky": Hand(ROUND, height=120, width=170, y=170, shake=4, pen=20),
}


def write(digit: int, hand: Hand) -> list[list[Point]]:
    """Return the strokes in which `hand` writes `digit`, in pixels."""
    chance = random.Random(digit)
    return [[(hand.x + hand.width * (x - 0.5) + hand.slant * hand.height * (0.5 - y) + chance.gauss(0, hand.shake),
              hand.y + hand.height * (y - 0.5) + chance.gauss(0, hand.shake)) for x, y in stroke]
            for stroke in hand.shapes[digit]]
