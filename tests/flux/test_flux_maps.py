"""Flux maps as numbers, and the part of the volume that counts. timeout: 900"""
import os
import sys
import unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from files import Files, flux


class Maps(Files):
    def test_a_straight_channel_is_even_everywhere(self):
        labels = np.zeros((14, 9, 8), "u1")
        labels[:, 2:7, 1:5] = 1
        r = self.results(flux("--input", self.write(labels), "--conducting", 1, "--tolerance", 1e-8, "--output", self.path("o.h5"),
                              "--json", "-"))
        self.assertAlmostEqual(r["flux_mean"]["value"], 1, 4)
        self.assertLess(r["flux_variation"]["value"], 1e-4)
        self.assertAlmostEqual(r["constrictivity"]["value"], 1, 6)
        self.assertAlmostEqual(r["path_tortuosity"]["value"], 1, 4)
        self.assertAlmostEqual(r["flux_hottest"]["value"], 0.01, 5)
        self.assertLess(r["flux_uneven"]["value"], 1e-4)
        self.assertLess(r["flux_divergence"]["value"], 1e-6)
        for p in (5, 25, 50, 75, 95):
            self.assertAlmostEqual(r[f"flux_p{p}"]["value"], 1, delta=0.004)

    def test_statistics_are_numpys_of_the_written_map_on_any_ranks(self):
        labels = (np.random.default_rng(3).random((23, 26, 21)) < 0.55).astype("u1")
        name, out, got = self.write(labels), self.path("o.h5"), []
        for ranks in (1, 3, 5):
            r = self.results(flux("--input", name, "--conducting", 1, "--direction", "y", "--tolerance", 1e-7, "--output", out,
                                  "--json", "-", ranks=ranks))
            with h5py.File(out) as f:
                size = f["/entry/flux/data"][:].astype("f8")
                inside = np.isfinite(f["/entry/concentration/data"][:])
                flow = f["/entry/flux_y/data"][:].astype("f8")
                table = {k: f["/entry/flux_slices"][k][:] for k in ("position", "voxels", "flux_mean", "flux_p95", "flux_across")}
            m = size[inside]
            self.assertAlmostEqual(r["flux_mean"]["value"], m.mean(), 9)
            self.assertAlmostEqual(r["flux_variation"]["value"], m.std() / m.mean(), 6)
            self.assertAlmostEqual(r["constrictivity"]["value"], m.mean() ** 2 / (m ** 2).mean(), 6)
            for p in (5, 25, 50, 75, 95):
                self.assertAlmostEqual(r[f"flux_p{p}"]["value"], np.percentile(m, p), delta=0.006 * np.percentile(m, p) + 1e-9)
            hottest = np.sort(m)[::-1][:max(1, m.size // 100)].sum() / m.sum()
            self.assertAlmostEqual(r["flux_hottest"]["value"], hottest, delta=0.01 * hottest)
            axial = (flow[:, 1:] + flow[:, :-1])[inside].mean() / 2
            self.assertAlmostEqual(r["path_tortuosity"]["value"], m.mean() / axial, 5)
            for k in (0, 11, 25):
                here = size[:, k][inside[:, k]]
                self.assertEqual(table["voxels"][k], here.size)
                self.assertAlmostEqual(table["flux_mean"][k], here.mean(), 9)
                self.assertAlmostEqual(table["position"][k], k + 0.5)
                self.assertAlmostEqual(table["flux_p95"][k], np.percentile(here, 95), delta=0.02 * here.max())
            self.assertTrue(np.allclose(table["flux_across"], r["effective_diffusivity"]["value"], rtol=1e-3))
            got.append([r[k]["value"] for k in ("flux_mean", "flux_variation", "flux_p50", "flux_hottest")])
        self.assertTrue(np.allclose(got, got[0], rtol=1e-3))

    def test_a_box_follows_the_mean_of_the_height_map_or_stays(self):
        labels = np.zeros((40, 10, 12), "u1")
        labels[12:30] = 1  # conducts between 24 and 60 um
        name = self.write(labels)
        height = np.full((10, 12), 30.0)
        height[:, 6:] = 34
        height[0, 0] = np.nan
        over = self.write(height.astype("f4"), "h.h5", "height")
        common = ["--input", name, "--conducting", 1, "--direction", "x", "--voxel-um", 2, "--json", "-"]
        mean = np.nanmean(height)
        for ranks in (1, 3):
            r = self.results(flux(*common, "--height", over, "--interphase-um=-10:10", ranks=ranks))
            first, behind = round((mean - 10) / 2), round((mean + 10) / 2)
            self.assertEqual((r["region_from_um"]["value"], r["region_to_um"]["value"]), (2 * first, 2 * behind))
            self.assertAlmostEqual(r["volume_fraction"]["value"], (behind - max(first, 12)) / (behind - first), 12)
        r = self.results(flux(*common, "--interface", 40, "--interphase-um=-10:10"))
        self.assertEqual((r["region_from_um"]["value"], r["region_to_um"]["value"]), (30, 50))
        self.assertAlmostEqual(r["volume_fraction"]["value"], 1, 12)
        done = flux(*common, "--interface", 75, "--interphase-um=-10:10")
        self.assertEqual(done.returncode, 3)
        self.assertIn("outside 0:40", done.stderr)
        done = flux(*common, "--interphase-um=-10:10")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--height", done.stderr)
        done = flux(*common, "--interphase-um=5:-5")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(flux(*common, "--height", name, "--interphase-um=-10:10").returncode, 3)

    def test_what_is_not_in_the_disc_is_outside(self):
        labels = np.ones((6, 40, 44), "u1")
        labels[:, :, :20] = 0
        y, x = np.ogrid[:40, :44]
        disc = (y - 18) ** 2 + (x - 21.5) ** 2 <= 15.0 ** 2
        r = self.results(flux("--input", self.write(labels), "--conducting", 1, "--disc", "21.5,18,15", "--json", "-", ranks=2))
        self.assertAlmostEqual(r["volume_fraction"]["value"], disc[:, 20:].sum() / disc.sum(), 12)
        self.assertAlmostEqual(r["effective_diffusivity"]["value"], disc[:, 20:].sum() / disc.sum(), 4)
        cut = self.results(flux("--input", self.write(labels), "--conducting", 1, "--disc", "21.5,18,15", "--box", "0:6,7:40,3:44",
                                "--json", "-"))
        self.assertAlmostEqual(cut["volume_fraction"]["value"], disc[7:, 20:].sum() / disc[7:, 3:].sum(), 12)
        self.assertEqual(flux("--input", self.path("in.h5"), "--conducting", 1, "--disc", "1,2").returncode, 2)


if __name__ == "__main__":
    unittest.main()
