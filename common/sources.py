"""What the authors of comparable networks report, the one table of it."""

# Test accuracy in percent at the best epoch, as their authors report it; ours are after the last epoch.
SOURCES = {
    "S7_mnist": [
        {"params": 7216, "accuracy": 99.45},
        {"params": 7280, "accuracy": 99.45},
        {"params": 7864, "accuracy": 99.52},
        {"params": 4392, "accuracy": 99.48},
    ],
    "S8_norms": [
        {"params": 49746, "norm": "bn", "accuracy": 80.44},
        {"params": 49746, "norm": "gn", "accuracy": 77.59},
        {"params": 49746, "norm": "ln", "accuracy": 78.10},
        {"params": 37664, "norm": "bn", "accuracy": 75.68},
        {"params": 37664, "norm": "gn", "accuracy": 72.46},
        {"params": 37664, "norm": "ln", "accuracy": 69.59},
        {"params": 47876, "norm": "bn", "accuracy": 72.91},
        {"params": 47876, "norm": "gn", "accuracy": 73.99},
        {"params": 47364, "norm": "ln", "accuracy": 77.93},
    ],
    "S9_advanced_conv": [
        {"params": 178178, "accuracy": 85.28},  # at epoch 25
    ],
}


def points(session: str) -> list[dict]:
    """Return a session's source networks as points for `common.plots.parameters_against_accuracy`."""
    return [{"name": f"{network['params']:,}" + (f" {network['norm']}" if "norm" in network else ""), "std": None,
             "source": True, **network} for network in SOURCES.get(session, [])]
