"""The hashes of segment_references.h anew, from scipy; from scikit-image too where it is installed. timeout: 900 label: full"""
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
import references as ref

HERE = os.path.dirname(os.path.abspath(__file__))


def between(grey, threshold):
    """Between-class variance of a split, as scikit-image finds it."""
    low, high = grey[grey <= threshold].astype(float), grey[grey > threshold].astype(float)
    return low.size * high.size * (high.mean() - low.mean()) ** 2


class References(unittest.TestCase):
    def header(self):
        with open(os.path.join(HERE, "segment_references.h")) as f:
            return {w[1]: int(w[2][9:-1]) for w in (line.split() for line in f) if len(w) == 3 and w[0] == "#define"}

    def test_scipy_gives_the_hashes(self):
        held = self.header()
        for name, what, value in ref.answers():
            self.assertEqual(held[f"{name}_{what}"], value, f"{name}_{what}")

    def test_scikit_image_gives_them_too(self):
        try:
            from skimage import filters, measure, morphology
        except ImportError:
            self.skipTest("no scikit-image")
        held = self.header()
        for name, grey, threshold in ref.volumes():
            solid, radius = grey > threshold, 1 if name == "NOISE" else 3
            found = {"PARTS_6": measure.label(solid, connectivity=1), "PARTS_18": measure.label(solid, connectivity=2),
                     "PARTS_26": measure.label(solid, connectivity=3), "OPENED": morphology.opening(grey, ref.ball(3)),
                     "BITS_OPENED": morphology.opening(solid, ref.ball(radius))}
            for what, volume in found.items():
                self.assertEqual(held[f"{name}_{what}"], ref.hash_of(volume.astype(np.int64)), f"{name}_{what}")
            # its sums are of float32, which on flat maxima lose some bins; no split is better than ours
            ours, theirs = (between(grey, t) for t in (ref.otsu(grey), filters.threshold_otsu(grey.astype(float), 65536)))
            self.assertGreaterEqual(ours, theirs * (1 - 1e-12))
            self.assertLess(ours, theirs * (1 + 1e-5))


if __name__ == "__main__":
    unittest.main()
