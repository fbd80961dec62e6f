"""What the authors of comparable networks report, the one table of it."""

# Test accuracy in percent at the best epoch, as their authors report it; ours are after the last epoch.
SOURCES = {
    "S7_mnist": [
        {"params": 7216, "accuracy": 99.45},
        {"params": 7280, "accuracy": 99.45},
        {"params": 7864, "accuracy": 99.52},
        {"params": 4392, "accuracy": 99.48},
    ],
}


def points(session: str) -> list[dict]:
    """Return a session's source networks as points for `common.plots.parameters_against_accuracy`."""
    return [{"name": f"{network['params']:,}", "std": None, "source": True, **network}
            for network in SOURCES.get(session, [])]
