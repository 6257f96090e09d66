"""The twin's cell: momentum factors of its regions against its truths, the maps' errors, one result for every state of a
run, and the event chain from its raw frames."""
# timeout: 600 sanitized: full
import json
import os
import subprocess
import tempfile
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
SCATTER = ["--tail-percent", "0", "--multiple-percent", "0"]  # of which the twin has none
DISC = ["--disc", "twin/raw/disc.h5", "--disc-exposure-s", 2500, *SCATTER]
COUNTED = ["--materials", "lithium"]  # quicker where counts are looked at and no factor is


def call(folder, *words):
    done = subprocess.run([XCSCT, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Twin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        call(cls.folder, "twin", "--output", "twin", "--ct", "no", "--frame-source", 5000, "--frame-source-hits", 400, "--frame-share", 0.4,
             "--frame-loss-kev", 3)
        with open(f"{cls.folder}/twin/truth.json") as file:
            cls.truth = json.load(file)
        cls.charged = {}

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def results(self, *words):
        return json.loads(call(self.folder, "compton", *words, "--json", "-"))["results"]

    def compare(self, state, results, names):
        """Against the truths: within 3.5 of the errors that the twin can cause."""
        for name in names:
            row, truth = results[name], self.truth["states"][state][name]["value"]
            error = (row["upper"] - row["lower"]) / 2
            self.assertLess(abs(row["value"] - truth), 3.5 * error, f"{state} {name}: {row['value']}, not {truth}")
            self.assertLess(row["sigma"], 0.001 * truth)
            self.assertLess(error, 0.01 * truth)

    def all_regions(self):
        """Results of the charged state; all.h5."""
        if not self.charged:
            names = [f"twin/raw/fully_charged_r{r}.h5" for r in (1, 2, 3)]
            self.charged.update(self.results("--spectra", *names, "--spectra-per-region", "1,1,1", "--exposures-s", "500,500,500",
                                             *DISC, "--output", "all.h5"))
        return self.charged

    def test_factors_of_all_regions_and_the_maps_that_belong_to_them(self):
        results = self.all_regions()
        self.compare("fully_charged", results, [f"emf{d}_region{r}" for d in ("", "_detector") for r in (1, 2, 3)])
        self.assertLess(abs(results["angle_offset_deg"]["value"]), 0.02)
        self.assertAlmostEqual(results["disc_orientation"]["value"], 1, delta=0.02)
        with h5py.File(f"{self.folder}/all.h5") as file:
            emf, error = file["/entry/emf/data"][:], file["/entry/emf/data_errors"][:]
            profile, density = file["/entry/profile/data"][:], file["/entry/density/data"][:]
            self.assertEqual(file["/entry/density/data"].attrs["units"], b"disc")
            self.assertEqual(file["/entry/emf"].attrs["signal"], b"data")
            axis = file["/entry/profile/momentum"][:]
            budget = file["/entry/error_budget"]
            np.testing.assert_allclose(budget["emf"][:], [results[f"emf_region{r}"]["value"] for r in (1, 2, 3)])
            correlation = budget["emf_high_side_correlation"][:]
            self.assertTrue(((correlation > 0.5) & (correlation < 0.95)).all(), correlation)
        self.assertEqual(emf.shape, (3, 80, 80))
        self.assertEqual(profile.shape, (3, 80, 80, len(axis)))
        row, column = np.mgrid[0:80, 0:80] - 39.5
        middle = (np.hypot(row, column) * 0.25 / 0.9375 < 6) & np.isfinite(emf[2])
        pull = (emf[2] - np.average(emf[2][middle], weights=error[2][middle] ** -2)) / error[2]
        self.assertAlmostEqual(pull[middle].std(), 1, delta=0.12)  # lithium alone, the same everywhere
        self.assertAlmostEqual(np.nanmean(profile[2][middle].sum(axis=1)) * (axis[1] - axis[0]), 1, delta=0.02)
        self.assertAlmostEqual(np.nanmean(density[2][middle]), 0.9, delta=0.15)

    def test_maps_of_squares(self):
        self.all_regions()
        self.results("--spectra", "twin/raw/fully_charged_r3.h5", "--exposures-s", 500, *DISC, "--bin-pixels", 9, "--output", "nine.h5")
        with h5py.File(f"{self.folder}/nine.h5") as nine, h5py.File(f"{self.folder}/all.h5") as one:
            emf, error = nine["/entry/emf/data"][0], nine["/entry/emf/data_errors"][0]
            own, own_error = one["/entry/emf/data"][2, 36:45, 36:45], one["/entry/emf/data_errors"][2, 36:45, 36:45]
            self.assertEqual(emf.shape, (9, 9))  # the last squares are smaller
            self.assertEqual(nine["/entry/cube/data"].shape[:3], (1, 80, 80))
            np.testing.assert_array_equal(one["/entry/cube/data"][2], nine["/entry/cube/data"][0])
        good = np.isfinite(own)
        mean = np.average(own[good], weights=own_error[good] ** -2)
        self.assertAlmostEqual(emf[4, 4], mean, delta=2.5 * error[4, 4])
        self.assertAlmostEqual(error[4, 4], np.median(own_error[good]) / np.sqrt(good.sum()), delta=0.2 * error[4, 4])

    def test_a_run_makes_the_regions_of_a_state(self):
        call(self.folder, "run", "twin/cycle.yaml", "--output", "out", "--stages", "compton", "--state", "pristine",
             "--quiet")
        with h5py.File(f"{self.folder}/out/pristine/compton.h5") as file:
            self.assertEqual(file["/entry/cube/data"].shape[:3], (3, 80, 80))
            self.assertEqual(file["/entry/density/data"].attrs["units"], b"disc")
            found = {r: float(file[f"/entry/results/emf_region{r}"][()]) for r in (1, 2, 3)}
        for r, value in found.items():
            self.assertAlmostEqual(value, self.truth["states"]["pristine"][f"emf_region{r}"]["value"], delta=0.005)
        said = subprocess.run([XCSCT, "run", "twin/cycle.yaml", "--output", "out", "--stages", "compton", "--state",
                               "pristine"], cwd=self.folder, capture_output=True, text=True)
        self.assertIn("pristine/compton: kept", said.stderr)

    def test_frames_are_counted_with_gains_of_a_source(self):
        dark = ["--dark", "twin/raw/dark.bin", "--threshold-kev", 3, *COUNTED]
        maps = self.results("--frames", "twin/raw/pristine_r2.bin", *dark, "--gain", "twin/raw/gain.txt", "--offset",
                            "twin/raw/offset.txt")
        source = self.results("--frames", "twin/raw/pristine_r2.bin", *dark, "--source", "twin/raw/am241.bin",
                              "--output", "source.h5")
        photons = self.truth["sample"]["frame_photons"]["value"]
        self.assertAlmostEqual(maps["events"]["value"] / photons, 0.97, delta=0.03)
        good = (6400 - source["bad_pixels"]["value"]) / (6400 - maps["bad_pixels"]["value"])
        self.assertGreater(good, 0.3)
        seen = 0.6 * good + 0.4 * (1 - (1 - good) ** 2)  # two in five are shared: one good pixel sees them
        self.assertAlmostEqual(source["events"]["value"] / maps["events"]["value"], seen, delta=0.04)
        with h5py.File(f"{self.folder}/source.h5") as file:
            gain = file["/entry/sensor/gain"][:]
            flags = file["/entry/sensor/flags"][:]
        want = np.loadtxt(f"{self.folder}/twin/raw/gain.txt").ravel()
        good = flags.astype(int) & (1 | 2 | 16) == 0  # empty, no line, odd
        self.assertEqual(6400 - good.sum(), source["bad_pixels"]["value"])
        self.assertLess(abs(np.median(gain[good] / want[good]) - 1), 0.002)
        self.assertLess(np.std(gain[good] / want[good]), 0.01)
        with open(f"{self.folder}/source.yaml", "w") as file:
            file.write("calibration: {dark: twin/raw/dark.bin, source: twin/raw/am241.bin}\ncompton: {threshold_kev: 3, materials: lithium}\nstates:\n"
                       "  - {name: s, percent: 0, compton: [{region: r, frames: [twin/raw/pristine_r2.bin], exposure_s: 500}]}\n")
        call(self.folder, "run", "source.yaml", "--output", "cycle", "--stages", "compton", "--quiet")
        with h5py.File(f"{self.folder}/cycle/s/compton.h5") as file:  # a cycle's calibration says the same
            self.assertEqual(file["/entry/results/events"][()], source["events"]["value"])
            self.assertTrue(np.array_equal(file["/entry/sensor/gain"][:], gain))

    def test_what_pairs_lose_comes_from_the_source(self):
        words = ["--frames", "twin/raw/am241.bin", "--dark", "twin/raw/dark.bin", "--threshold-kev", 3, "--gain",
                 "twin/raw/gain.txt", "--offset", "twin/raw/offset.txt", *COUNTED]
        for loss, name in (("3,-3,0", "given.h5"), ("none", "none.h5")):
            self.results(*words, "--pair-loss", loss, "--output", name)
        with h5py.File(f"{self.folder}/given.h5") as given, h5py.File(f"{self.folder}/none.h5") as none:
            energy = given["/entry/cube/energy"][:]
            low = (energy > 55) & (energy < 58.4)  # where pairs lie that lost more than 1 keV
            kept, lost = (f["/entry/cube/data"][0].sum(axis=(0, 1))[low].sum() for f in (given, none))
        self.assertLess(kept, 0.5 * lost)
        call(self.folder, "compton", "--frames", "twin/raw/am241.bin", "--dark", "twin/raw/dark.bin", "--threshold-kev", 3,
             "--source", "twin/raw/am241.bin", "--pair-loss", "source", "--output", "loss.h5", "--quiet", *COUNTED)
        with h5py.File(f"{self.folder}/loss.h5") as file:
            loss = [float(file[f"/entry/results/pair_loss_{k}"][()]) for k in (0, 2, 4)]
        r = np.linspace(0.1, 0.9, 9)
        np.testing.assert_allclose(loss[0] + r**2 * (loss[1] + r**2 * loss[2]), 3 * (1 - r**2), atol=0.25)

    def test_the_line_follows_a_drifting_gain(self):
        call(self.folder, "twin", "--output", "drifting", "--ct", "no", "--xcs-counts", 0, "--xcs-disc-counts", 0, "--frames",
             3000, "--frame-hits", 60, "--frame-share", 0, "--frame-drift-percent", 2)
        words = ["--frames", "drifting/raw/pristine_r2.bin", "--dark", "drifting/raw/dark.bin", "--gain",
                 "drifting/raw/gain.txt", "--offset", "drifting/raw/offset.txt"]
        self.results(*words, "--output", "as_it_is.h5")
        results = self.results(*words, "--drift-parts", 5, "--output", "followed.h5")
        with h5py.File(f"{self.folder}/followed.h5") as file:
            growth, error = file["/entry/drift/growth"][:], file["/entry/drift/growth_error"][:]
            cube = file["/entry/cube/data"][0]
            energy = file["/entry/cube/energy"][:]
        with h5py.File(f"{self.folder}/as_it_is.h5") as file:
            before = file["/entry/cube/data"][0]
        truth = 1 + 0.02 * (np.arange(5) + 0.5) / 5
        self.assertLess(np.abs((growth - truth / truth.mean()) / error).max(), 4)
        self.assertLess(error.max(), 0.0005)
        self.assertAlmostEqual(results["gain_drift"]["value"], 1.6, delta=0.2)
        widths = []
        for counts in (before, cube):
            line = counts[:, 35:45].sum(axis=(0, 1))[(energy > 92.5) & (energy < 95.3)]
            widths.append(line.max() / line.mean())
        self.assertGreater(widths[1], 1.01 * widths[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
