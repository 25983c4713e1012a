import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from surrogates.models.deviations import Carrier
from surrogates.models.kernel_parameters import matern


def _likeness(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return matern((left[:, None] - right[None, :]) ** 2 / 0.09)[0]


def test_what_similar_configs_share_carries_over_and_far_ones_hear_nothing() -> None:
    at = np.linspace(0, 1, 30)
    deviations = np.stack([np.sin(3 * at), np.cos(2 * at)])[:, :, None]
    asked = np.array([0.155, 0.622, 50.0])
    told = Carrier.fitted(deviations, _likeness(at, at)).to(_likeness(asked, at))[:, :, 0]
    assert np.allclose(told[:, :2], [np.sin(3 * asked[:2]), np.cos(2 * asked[:2])], atol=0.05)
    assert np.allclose(told[:, 2], 0.0, atol=1e-6)


@given(st.integers(0, 1000))
def test_noise_does_not_carry_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, 40)
    noise = rng.normal(size=(6, 40, 1))
    told = Carrier.fitted(noise, _likeness(at, at)).to(_likeness(at + 0.01, at))
    assert np.abs(told).mean() < 0.5 * np.abs(noise).mean()


def test_configs_that_a_task_did_not_run_are_passed_over() -> None:
    at = np.linspace(0, 1, 12)
    deviations = np.full((2, 12, 2), np.nan)
    deviations[0, :6] = 1.0
    deviations[1, 6:] = -1.0
    told = Carrier.fitted(deviations, _likeness(at, at)).to(_likeness(at, at))
    assert np.isfinite(told).all()
    assert (told[0, :6] > 0.5).all()
    assert (told[1, 6:] < -0.5).all()
