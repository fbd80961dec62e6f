"""Our recipes, which several notebooks share."""

from dataclasses import replace

from common.augmentation import GENTLE
from common.training import Recipe

S7 = Recipe(epochs=14, lr=0.3, schedule="one_cycle", average=0.998,
            augmentation=(("affine", {"shift": 0.1, "scale": 0.15, "rotate": 12.0, "shear": 10.0}),))
S8 = Recipe(epochs=20, lr=0.3, muon=0.05, schedule="one_cycle", average=0.99, label_smoothing=0.1,
            augmentation=(("crop", {"padding": 4}),), alternating_flip=True)
S9 = replace(S8, epochs=25, augmentation=GENTLE, alternating_flip=False)
