"""Limb leads that the other limb leads contradict are corrected; others stay as they were read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.limbs import LIMB_LEADS, agreeing

SIX = tuple(LIMB_LEADS)
PX_PER_MV = 40.0


def heart(names, n=200, seed=1):
    """Lines of the limb leads of one heart, px from the top, each with a baseline of its own."""
    rng = np.random.default_rng(seed)
    both = np.cumsum(rng.normal(0, 4, (2, n)), axis=1)
    places = np.array([LIMB_LEADS[name] for name in names]) @ both
    places += 100.0 * np.arange(1, len(names) + 1)[:, None]
    return np.stack([places - 1, places + 1, places]).astype(np.float32)


class TestAgreeing:
    @pytest.mark.parametrize("names", [SIX, SIX[:3], SIX[3:]])
    def test_leads_of_one_heart_stay_as_they_are(self, names):
        line = heart(names)
        assert np.array_equal(agreeing(line, names, PX_PER_MV), line)

    def test_what_two_leads_show_of_each_other_is_told_by_the_other_four(self):
        true = heart(SIX)
        read = true.copy()
        read[:, 3, 50:60] += 60  # aVR's wave went to aVL
        read[:, 4, 50:60] += 60
        told = agreeing(read, SIX, PX_PER_MV)
        assert np.abs(told[2] - true[2]).max() < 1
        assert np.array_equal(told[:, :, :50], read[:, :, :50])
        assert (told[0] <= told[2]).all()  # the line goes from half-way to half-way
        assert (told[2] <= told[1]).all()
        assert told[1, 3, 54] - told[0, 3, 54] >= abs(told[2, 3, 55] - told[2, 3, 54]) / 2 - 1e-3

    def test_a_hidden_lead_is_told_and_its_ink_is_not_made_up(self):
        for names in (SIX, SIX[:3], SIX[3:]):
            true = heart(names)
            read = true.copy()
            read[:, 1, 70:90] = np.nan
            told = agreeing(read, names, PX_PER_MV)
            assert np.abs(told[2] - true[2]).max() < 1
            assert np.isnan(told[:2, 1, 70:90]).all()

    def test_three_leads_that_disagree_tell_nothing(self):
        read = heart(SIX[:3])
        read[:, 1, 70:90] += 60
        assert np.array_equal(agreeing(read, SIX[:3], PX_PER_MV), read)

    def test_little_differences_are_the_reading_of_each_lead(self):
        read = heart(SIX)
        read += np.random.default_rng(2).normal(0, 0.02 * PX_PER_MV, read.shape[1:])
        told = agreeing(read, SIX, PX_PER_MV)
        assert np.array_equal(told, read)

    def test_unrelated_curves_are_not_made_to_agree(self):
        rng = np.random.default_rng(3)
        read = np.cumsum(rng.normal(0, 8, (6, 300)), axis=1).astype(np.float32)
        told = agreeing(np.stack([read, read, read]), SIX, PX_PER_MV)[2]

        def left_over(places):  # of II = I + III, what the gate refuses pages by
            total = places[1] - places[0] - places[2]
            return float(np.std(total))

        assert left_over(told) > 0.5 * left_over(read)

    @given(st.integers(0, 2**32 - 1), st.sampled_from([SIX, SIX[:3], SIX[3:]]))
    def test_gaps_anywhere_never_spoil_what_was_seen(self, seed, names):
        rng = np.random.default_rng(seed)
        true = heart(names, n=40, seed=seed)
        read = true.copy()
        hidden = rng.random(read.shape[1:]) < rng.random()
        read[:, hidden] = np.nan
        told = agreeing(read, names, PX_PER_MV)
        seen = ~hidden
        whole = seen.all(axis=0)
        assert np.array_equal(told[:, :, whole], read[:, :, whole])
        assert np.isfinite(told[2][seen]).all()
