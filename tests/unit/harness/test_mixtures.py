"""The generator of storms with a known cause says what it promises."""

from __future__ import annotations

import pytest
from tests.harness.mixtures import FAULTS, mixture


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_fault_covers_what_noise_leaves_but_for_a_few(fault: str, noise: float) -> None:
    for seed in range(10):
        of = mixture(seed, fault, noise, background=False)
        assert of.cause
        attribute, value = of.cause
        share = sum(signal.get(attribute) == value for signal in of.signals) / len(of.signals)
        assert share >= 0.85 * (1 - noise)


def test_same_seed_gives_the_same_and_another_one_does_not() -> None:
    one, same, other = (mixture(seed, "node", 0.3, background=True) for seed in (7, 7, 8))
    assert one == same
    assert one.signals != other.signals


def test_faultless_mixture_has_no_cause() -> None:
    assert mixture(1, None, 1.0, background=True).cause is None
