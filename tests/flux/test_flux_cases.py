"""Cases beside the stage's own solution: each is what a run of its own gives."""
import json, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402


class Cases(Folder):
    def setUp(self):
        super().setUp()
        z, y, x = np.indices((24, 20, 18))
        top = 9 + np.round(2 * np.sin(x / 4.0) * np.cos(y / 5.0))
        dice = np.random.default_rng(2).random(z.shape)
        with h5py.File(self.at("l.h5"), "w") as f:  # metal with holes, membrane, particles
            f["l"] = np.select([z < top, z < 17], [(dice < 0.9) * 1, 2], 2 + (dice < 0.6)).astype("u1")
            f["l"].attrs["voxel_um"] = [2.0, 2.0, 2.0]
        with h5py.File(self.at("h.h5"), "w") as f:
            f["h"] = (2.0 * top[0]).astype("f4")

    def flux(self, *words, ranks=0, code=0):
        done = call("flux", "--input", self.at("l.h5"), "--quiet", "--json", self.at("o.json"), *words, ranks=ranks)
        self.assertEqual(done[0], code, done[2])
        if code:
            return done[2]
        with open(self.at("o.json")) as f:
            return json.load(f)["results"]

    def test_every_case_is_what_a_run_of_its_own_gives(self):
        box = "2:20,0:20,1:17"
        cases = ("--cases-um=-6:8", "--cases", "both=1,2@follow;spe=2/yx@follow;held=2/x@20.5;plain=1")
        got = self.flux("--conducting", "1,2", "--direction", "all", "--box", box, "--height", self.at("h.h5"), *cases)
        open_box = ("--direction", "all", "--box", "0:24,0:20,1:17", "--interphase-um=-6:8")
        alone = {"both": self.flux("--conducting", "1,2", "--height", self.at("h.h5"), *open_box),
                 "spe": self.flux("--conducting", "2", "--height", self.at("h.h5"), *open_box),
                 "held": self.flux("--conducting", "2", "--interface", "20.5", *open_box),
                 "plain": self.flux("--conducting", "1", "--direction", "all", "--box", box)}
        own = self.flux("--conducting", "1,2", "--direction", "all", "--box", box)
        for name, row in own.items():
            self.assertEqual(row, got[name], name)
        for case, axes in (("both", "zyx"), ("spe", "yx"), ("held", "x"), ("plain", "zyx")):
            for axis in "zyx":
                self.assertEqual(f"effective_diffusivity_{axis}_{case}" in got, axis in axes)
            for axis in axes:
                for name in ("effective_diffusivity", "tortuosity_factor", "volume_fraction"):
                    self.assertEqual(got[f"{name}_{axis}_{case}"], alone[case][f"{name}_{axis}"], (case, name, axis))

    def test_only_its_own_axes_must_be_long_enough(self):
        flat = ("--conducting", "1", "--direction", "y", "--box", "0:1,0:20,0:18")
        self.assertIn("effective_diffusivity_x_side", self.flux(*flat, "--cases", "side=1/x"))
        self.assertIn("along z", self.flux(*flat, "--cases", "up=1/z", code=3))

    def test_ranks_agree_within_the_interval(self):
        words = ("--conducting", "1,2", "--height", self.at("h.h5"), "--cases-um=-6:8", "--cases", "spe=2/yx@follow")
        one, three = self.flux(*words), self.flux(*words, ranks=3)
        for axis in "yx":
            a, b = (r[f"effective_diffusivity_{axis}_spe"] for r in (one, three))
            self.assertTrue(a["lower"] <= b["upper"] and b["lower"] <= a["upper"], (a, b))

    def test_mistakes_are_told(self):
        for cases, word in (("a=1;b=2;a=2", "two"), ("spe", "NAME=LABELS"), ("spe=2@follow", "cases_um"), ("a=1/w", "NAME=LABELS"), ("a=300", "300")):
            self.assertIn(word, self.flux("--conducting", "1", "--cases", cases, code=2), cases)


if __name__ == "__main__":
    unittest.main()
