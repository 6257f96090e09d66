"""recon of scans whose axis lies near the detector's edge, on files. timeout: 300"""
import json, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

WHOLE, HALF, TURN, ROWS = 101, 64, 180, 3


def scan(path, columns, centre):
    """Two discs, at every second degree of a full turn; blurred as by a camera."""
    angle = np.deg2rad(np.arange(TURN) * 360.0 / TURN)[:, None]
    data = np.zeros((TURN, ROWS, columns))
    for row in range(ROWS):
        for k in np.arange(-20, 21):
            s = np.arange(columns)[None, :] - centre + 0.2 * k
            weight = (1 + np.cos(np.pi * k / 21)) / 42
            for x, y, r, mu in ((2, -3, 40 + row, 0.01), (-20, 8, 9, 0.02)):
                d = s - x * np.cos(angle) - y * np.sin(angle)
                data[:, row] += weight * mu * 2 * np.sqrt(np.maximum(r * r - d * d, 0))
    with h5py.File(path, "w") as f:
        f["exchange/data"] = data.astype("f4")
        f["exchange/theta"] = np.rad2deg(angle[:, 0])
        f["exchange/theta"].attrs["units"] = "degrees"


def values(path):
    with h5py.File(path) as f:
        return f["entry/volume/data"][...]


class Field(Folder):
    def recon(self, source, out, *more, ranks=0):
        return call("recon", "--input", self.at(source), "--output", self.at(out), "--quiet", "--kind", "attenuation",
                    "--json", self.at("r.json"), *more, ranks=ranks)

    def result(self, name):
        with open(self.at("r.json")) as f:
            return json.load(f)["results"][name]["value"]

    def test_a_half_acquisition_is_found_and_gives_the_full_scans_slices(self):
        for axis in (50.25,):
            scan(self.at("whole.h5"), WHOLE, axis)
            self.ends(self.recon("whole.h5", "w.h5", "--centre", axis), 0)
            want = values(self.at("w.h5"))
            self.assertEqual(want.shape, (ROWS, WHOLE, WHOLE))
            for side, centre in (("left", axis - (WHOLE - HALF)), ("right", axis)):
                scan(self.at("half.h5"), HALF, centre)
                self.ends(self.recon("half.h5", "h.h5"), 0)
                self.assertAlmostEqual(self.result("centre_px"), centre, delta=0.1)
                self.ends(self.recon("half.h5", "h.h5", "--centre", centre), 0)
                got = values(self.at("h.h5"))
                wide = got.shape[1] - WHOLE  # 0 or 1 column
                self.assertIn(wide, (0, 1))
                self.assertAlmostEqual(self.result("overlap_px"), 2 * min(centre, HALF - 1 - centre), delta=1e-6)
                if wide == 0:
                    self.assertLess(np.abs(got - want).max(), 1e-3 * want.max(), (side, axis))

    def test_any_number_of_ranks_and_truncation_give_the_same_bits(self):
        scan(self.at("half.h5"), HALF, 51.3)
        for more, counts in ((("--truncated", "circle"), (2, 5)), (("--field", "detector", "--truncated", "taper"), (3,))):
            self.ends(self.recon("half.h5", "one.h5", *more), 0)
            for ranks in counts:
                self.ends(self.recon("half.h5", "more.h5", *more, ranks=ranks), 0)
                self.assertTrue(np.array_equal(values(self.at("one.h5")), values(self.at("more.h5"))), (more, ranks))

    def test_the_width_can_be_said(self):
        scan(self.at("half.h5"), HALF, 51.3)
        self.ends(self.recon("half.h5", "d.h5", "--field", "detector"), 0)
        self.assertEqual(values(self.at("d.h5")).shape, (ROWS, HALF, HALF))
        scan(self.at("whole.h5"), WHOLE, 52.0)
        self.ends(self.recon("whole.h5", "a.h5"), 0)
        self.assertEqual(values(self.at("a.h5")).shape, (ROWS, WHOLE, WHOLE))
        self.ends(self.recon("whole.h5", "e.h5", "--field", "extended", "--centre", 52), 0)
        self.assertEqual(values(self.at("e.h5")).shape, (ROWS, WHOLE + 4, WHOLE + 4))

    def test_what_cannot_be_is_said(self):
        scan(self.at("half.h5"), HALF, 51.3)
        self.ends(self.recon("half.h5", "x.h5", "--field", "extended", "--arc", 180), 2, "360 degrees")
        self.ends(self.recon("half.h5", "x.h5", "--centre", 62.5), 2, "at least 2")
        self.ends(self.recon("half.h5", "x.h5", "--sample-radius-px", 70), 2, "circle")
        self.ends(self.recon("half.h5", "x.h5", "--truncated", "circle", "--sample-radius-px", -1), 2, "sample-radius-px")
        # the forecast knows the width that the axis makes
        self.ends(self.recon("half.h5", "x.h5", "--memory-gb", 0.01), 4)
        self.assertFalse(os.path.exists(self.at("x.h5")))


if __name__ == "__main__":
    unittest.main()
