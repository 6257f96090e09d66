"""The twin's raw frames, read here as bytes. timeout: 600"""
import json, os, shutil, sys, unittest

import numpy as np
from scipy import ndimage

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

ONLY = ("--ct", "no", "--xcs-counts", 0, "--xcs-disc-counts", 0, "--quiet")


def interleaved(path):
    """Frames [n, row, column]: word w of a row is column w // 4 + 20 (w % 4)."""
    words = np.fromfile(path, "<u2").reshape(-1, 80, 80)
    frames = np.empty_like(words)
    w = np.arange(80)
    frames[:, :, w // 4 + 20 * (w % 4)] = words
    return frames.astype(float)


class Frames(Folder):
    def make(self, name, *words, ranks=0):
        self.ends(call("twin", "--output", self.at(name), *ONLY, *words, ranks=ranks), 0)

    def maps(self, twin):
        return [np.loadtxt(self.at(twin, "raw", n + ".txt")) for n in ("gain", "offset")]

    def photons(self, twin):
        with open(self.at(twin, "truth.json")) as f:
            return json.load(f)["sample"]["frame_photons"]["value"]

    def test_pedestal_noise_and_maps_are_those_of_a_sensor(self):
        self.make("t", "--frames", 1, "--frame-darks", 300)
        dark = interleaved(self.at("t/raw/dark.bin"))
        gain, offset = self.maps("t")
        self.assertEqual((dark.shape, gain.shape, offset.shape), ((300, 80, 80), (80, 80), (80, 80)))
        live = dark.mean(axis=0) > 0
        self.assertTrue(0.99 <= live.mean() < 1)
        mean, sd = dark.mean(axis=0)[live], dark.std(axis=0)[live]
        self.assertAlmostEqual(mean.mean(), 1005, delta=1.5)
        self.assertAlmostEqual(mean.std(), 25, delta=1)
        self.assertAlmostEqual(np.sqrt((sd**2).mean()), np.sqrt(64 + 1 / 12), delta=0.05)
        self.assertAlmostEqual(gain.mean(), 0.0272, delta=2e-5)
        self.assertAlmostEqual(gain.std() / gain.mean(), 0.024, delta=0.001)

    def test_without_noise_every_photon_is_found_with_its_energy(self):
        self.make("t", "--frames", 600, "--frame-darks", 1, "--frame-noise-adu", 0, "--frame-hits", 12, ranks=2)
        dark, frames = interleaved(self.at("t/raw/dark.bin"))[0], interleaved(self.at("t/raw/pristine_r2.bin"))
        gain, offset = self.maps("t")
        hit = frames > dark
        energy = np.where(hit, gain * (frames - dark) + offset, 0)
        eight = np.zeros((3, 3, 3))
        eight[1] = 1
        label, n = ndimage.label(hit, eight)
        photons = self.photons("t")
        self.assertLess(abs(photons - 600 * 12), 5 * np.sqrt(600 * 12))
        # chance neighbours: 12 photons of which each covers about 12 of 6400 pixels with its surroundings
        self.assertTrue(0.98 * photons < n <= photons, (n, photons))
        index = np.arange(1, n + 1)
        size, total = ndimage.sum(hit, label, index), ndimage.sum(energy, label, index)
        self.assertAlmostEqual((size == 2).sum() / n, 0.2, delta=0.025)
        line = total[(size <= 2) & (total > 85) & (total < 102)]
        self.assertGreater(line.size, 0.9 * n)
        self.assertAlmostEqual(np.median(line), 93.9, delta=0.15)
        rows, columns = np.nonzero(hit.any(axis=0))
        r = np.hypot(rows - 39.5, columns - 39.5) * 0.25 * 160 / 150
        self.assertLess(np.quantile(r, 0.99), 9.5, "nothing comes from beyond the membrane")
        # columns from 0 on look downstream, at larger angles and lower energies
        self.make("one", "--frames", 600, "--frame-darks", 1, "--frame-noise-adu", 0, "--frame-share", 0, "--frame-hits", 12)
        frames = interleaved(self.at("one/raw/pristine_r2.bin"))
        at = np.nonzero(frames > dark)
        energy = gain[at[1:]] * (frames[at] - dark[at[1:]]) + offset[at[1:]]
        near = np.abs(energy - 93.9) < 4
        slope, at_0 = np.polyfit(at[2][near], energy[near], 1)
        self.assertAlmostEqual(slope, (95.02 - 92.75) / 79, delta=0.006)

    def test_the_source_s_lines_lie_where_they_should_and_gains_drift_as_asked(self):
        self.make("t", "--frames", 400, "--frame-darks", 1, "--frame-noise-adu", 0, "--frame-share", 0, "--frame-source", 300, ranks=2)
        self.make("d", "--frames", 400, "--frame-darks", 1, "--frame-noise-adu", 0, "--frame-share", 0, "--frame-drift-percent", 4)
        dark, gain, offset = interleaved(self.at("t/raw/dark.bin"))[0], *self.maps("t")
        source = interleaved(self.at("t/raw/am241.bin"))
        at = np.nonzero(source > dark)
        energy = gain[at[1:]] * (source[at] - dark[at[1:]]) + offset[at[1:]]
        for line, reach in ((59.54, 2), (26.34, 1.5), (17.75, 1.5), (13.95, 1.5)):
            near = energy[np.abs(energy - line) < reach]
            self.assertGreater(near.size, 200)
            self.assertAlmostEqual(np.median(near), line, delta=0.1)
        near = energy[np.abs(energy - 59.54) < 2.5]
        self.assertAlmostEqual(near.std() * 2.3548, 0.79, delta=0.06)
        whole, drifted = interleaved(self.at("t/raw/pristine_r2.bin")), interleaved(self.at("d/raw/pristine_r2.bin"))
        at = np.nonzero(whole > dark)
        ratio = (drifted[at] - dark[at[1:]]) / (whole[at] - dark[at[1:]])
        self.assertLess(np.abs(ratio - 1 - 0.04 * at[0] / 400).max(), 2e-3)

    def test_frames_are_the_same_on_any_rank_count_and_in_either_order(self):
        self.make("t1", "--frames", 70, "--frame-darks", 3, "--frame-source", 5)
        for ranks in (2, 3, 5):
            self.make("t", "--frames", 70, "--frame-darks", 3, "--frame-source", 5, ranks=ranks)
            for name in ("truth.json", "raw/pristine_r2.bin", "raw/dark.bin", "raw/am241.bin", "raw/gain.txt", "raw/offset.txt"):
                with open(self.at("t1", name), "rb") as a, open(self.at("t", name), "rb") as b:
                    self.assertEqual(a.read(), b.read(), (ranks, name))
        self.make("s", "--frames", 70, "--frame-darks", 3, "--frame-order", "sorted")
        plain = np.fromfile(self.at("s/raw/pristine_r2.bin"), "<u2").reshape(-1, 80, 80)
        self.assertTrue(np.array_equal(plain, interleaved(self.at("t1/raw/pristine_r2.bin"))))
        self.make("none", "--frames", 0)
        self.assertFalse(os.path.exists(self.at("none/raw/dark.bin")))

    def test_a_failing_rank_ends_all_and_leaves_no_part(self):
        result = call("twin", "--output", self.at("f"), *ONLY, ranks=3, env={"FAULT": "twin.frames:2"})
        self.ends(result, 1, "twin.frames")
        self.assertEqual([n for n in os.listdir(self.at("f/raw")) if n.endswith((".partial", ".bin"))], [])
        shutil.rmtree(self.at("f"))


if __name__ == "__main__":
    unittest.main()
