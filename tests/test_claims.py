import pytest

from common.claims import ClaimError, better, claims, undecided


def summary(*accuracies, first=0):
    return {"results": [{"seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies, first)]}


def test_false_claims_fail_together():
    with pytest.raises(ClaimError, match="the moon is cheese.*pigs fly"):
        claims(("the moon is cheese", False), ("one is one", True), ("pigs fly", False))


def test_a_short_run_shows_false_claims_and_passes():
    assert claims(("a", True), ("b", False), strict=False).data.startswith("- ✓ a\n- ✗ b\n")
    assert claims(("a", True)).data == "- ✓ a"


def test_better_needs_an_interval_above_zero():
    high, low = summary(99.5, 99.6, 99.4), summary(99.3, 99.4, 99.1)
    assert better(high, low) and not better(low, high)
    assert not undecided(high, low)
    noisy = summary(99.2, 99.9, 99.1)
    assert undecided(noisy, low) and not better(noisy, low)


def test_one_pair_of_seeds_shows_nothing():
    assert not better(summary(99.9), summary(10.0))
    assert not undecided(summary(99.9), summary(10.0))
    assert not better(summary(99.9, 99.9), summary(10.0, 10.0, first=5))
