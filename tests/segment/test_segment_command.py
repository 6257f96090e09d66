"""The command segment against scipy, voxel for voxel, on several rank counts. timeout: 300"""
import json, os, sys, unittest

import h5py
import numpy as np
from scipy import ndimage

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

SHAPE = (13, 22, 70)


def blobs(seed=1, shape=SHAPE):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    return (30000 + 8000 * (smooth / smooth.std() + rng.random(shape) - 0.5)).clip(0, 65535).astype("u2")


def ball(r):
    z, y, x = np.ogrid[-r:r + 1, -r:r + 1, -r:r + 1]
    return z * z + y * y + x * x <= r * r


def numbered(solid, structure):
    """Components by the raster order of their first voxels."""
    found = ndimage.label(solid, structure)[0]
    values, first = np.unique(found, return_index=True)
    rank = np.zeros(values.max() + 1, int)
    inside = values > 0
    rank[values[inside][np.argsort(first[inside])]] = 1 + np.arange(inside.sum())
    return rank[found]


def histogram(grey, bins):
    count, edges = np.histogram(grey, bins)
    return count.astype(float), edges[:-1] + np.diff(edges) / 2


def otsu(grey):
    count, centre = histogram(grey.astype(float), 65536)
    n, m = np.cumsum(count), np.cumsum(count * (centre - centre.mean()))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = m[:-1] ** 2 / n[:-1] + (m[-1] - m[:-1]) ** 2 / (n[-1] - n[:-1])
    return centre[np.nanargmax(variance)]


def isodata(grey):
    count, centre = histogram(grey.astype(float), 65536)
    threshold, before = np.average(centre, weights=count), None
    while threshold != before:
        before, low = threshold, centre <= centre[np.abs(centre - threshold).argmin()]
        middle = (np.average(centre[low], weights=count[low]) + np.average(centre[~low], weights=count[~low])) / 2
        threshold = centre[np.abs(centre - middle).argmin()]
    return threshold


def entropy(grey):
    count, centre = histogram(grey.astype(float), 1024)
    p, best = count / count.sum(), []
    for i in range(1023):
        sides = [s[s > 0] / s.sum() for s in (p[:i + 1], p[i + 1:])]
        best.append(sum(-(s * np.log(s)).sum() for s in sides))
    return centre[np.argmax(best)]


class Segment(Folder):
    def run_it(self, volume, *words, ranks=2):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = volume
        code, out, err = call("segment", "--input", self.at("v.h5"), "--output", self.at("s.h5"), "--json", "-", "--quiet",
                              "--force", *words, ranks=ranks)
        self.assertEqual(code, 0, err)
        with h5py.File(self.at("s.h5")) as f:
            return f["entry/labels/data"][...], f["entry/components/data"][...], {
                k: v["value"] for k, v in json.loads(out)["results"].items()}

    def test_the_paper_s_chain_is_scipy_s_median_opening_otsu_and_components(self):
        for grey, rank_counts in ((blobs(), (0, 3)), (blobs().astype("f4") / 7, (2,))):
            smooth = ndimage.grey_opening(ndimage.median_filter(grey, 3), footprint=ball(3))
            threshold = otsu(smooth)
            for ranks in rank_counts:
                labels, components, results = self.run_it(grey, "--chain", "paper", ranks=ranks)
                step = (float(smooth.max()) - float(smooth.min())) / 65536
                self.assertAlmostEqual(results["threshold"], threshold, delta=1.01 * step)
                self.assertTrue(np.array_equal(labels, smooth > results["threshold"]))
                self.assertTrue(np.array_equal(components, numbered(labels, np.ones((3, 3, 3)))))
                self.assertEqual(results["components"], components.max())

    def test_a_grey_closing_follows_the_opening(self):
        grey = blobs(2)
        want = ndimage.grey_closing(ndimage.grey_opening(grey, footprint=ball(1)), footprint=ball(2)) > 30000
        labels, _, _ = self.run_it(grey, "--median", 0, "--opening-vox", 1, "--closing-vox", 2, "--threshold", 30000)
        self.assertTrue(np.array_equal(labels, want))

    def test_a_phase_is_opened_closed_eroded_and_dilated_by_exact_balls(self):
        grey = blobs(3)
        solid = (grey > 30000).astype("u1")
        for name, work in (("opening", ndimage.grey_opening), ("closing", ndimage.grey_closing),
                           ("erosion", ndimage.grey_erosion), ("dilation", ndimage.grey_dilation)):
            labels, _, results = self.run_it(grey, "--median", 0, "--threshold", 30000, f"--phase-{name}-vox", 2)
            want = work(solid, footprint=ball(2))
            self.assertTrue(np.array_equal(labels, want), name)
            self.assertAlmostEqual(results["phase_fraction_1"], want.mean(), 12)

    def test_what_leaves_a_middle_phase_becomes_the_one_below(self):
        grey = blobs(4)
        before = np.digitize(grey, (25000.5, 34000.5))
        labels, _, _ = self.run_it(grey, "--median", 0, "--threshold", "25000.5,34000.5", "--phase", 1, "--phase-opening-vox", 1)
        opened = ndimage.grey_opening((before == 1).astype("u1"), footprint=ball(1)) == 1
        self.assertTrue(np.array_equal(labels, np.where((before == 1) & ~opened, 0, before)))

    def test_holes_are_filled_and_small_or_lesser_components_left_out(self):
        grey = blobs(5)
        for connectivity, structure, holes in ((6, None, np.ones((3, 3, 3))), (26, np.ones((3, 3, 3)), None)):
            want = ndimage.binary_fill_holes(grey > 26000, holes)
            self.assertGreater(want.sum(), (grey > 26000).sum(), "there are holes to fill")
            labels, components, _ = self.run_it(grey, "--median", 0, "--threshold", 26000, "--fill-holes", "yes",
                                                "--connectivity", connectivity)
            self.assertTrue(np.array_equal(labels, want))
            self.assertTrue(np.array_equal(components, numbered(want, structure)))
        found = numbered(grey > 36000, None)
        sizes = np.bincount(found.ravel())[1:]
        largest = np.sort(np.argsort(-sizes, kind="stable")[:3]) + 1
        for words, kept in ((("--min-voxels", 9), 1 + np.flatnonzero(sizes >= 9)), (("--keep-largest", 3), largest)):
            _, components, results = self.run_it(grey, "--median", 0, "--threshold", 36000, "--connectivity", 6, *words)
            rank = np.zeros(sizes.size + 1, int)
            rank[kept] = 1 + np.arange(kept.size)
            self.assertTrue(np.array_equal(components, rank[found]), words)
            self.assertEqual(results["components"], kept.size)

    def test_isodata_and_entropy_find_the_bins_that_numpy_finds(self):
        grey = blobs(6).astype("f4")
        for name, work, bins in (("isodata", isodata, 65536), ("entropy", entropy, 1024)):
            _, _, results = self.run_it(grey, "--median", 0, "--threshold", name, ranks=2)
            self.assertAlmostEqual(results["threshold"], work(grey), delta=1.01 * float(np.ptp(grey)) / bins, msg=name)

    def test_thin_volumes_and_volumes_of_one_phase_have_an_answer(self):
        grey = blobs(7, (1, 9, 70))
        labels, components, _ = self.run_it(grey, "--chain", "paper", "--threshold", 29000)
        want = ndimage.grey_opening(ndimage.median_filter(grey, 3), footprint=ball(3)) > 29000
        self.assertTrue(np.array_equal(labels, want))
        self.assertTrue(np.array_equal(components, numbered(want, np.ones((3, 3, 3)))))
        for value, fraction, count in ((70000, 0, 0), (-1, 1, 1)):
            _, _, results = self.run_it(grey, "--threshold", value, "--fill-holes", "yes", "--keep-largest", 2,
                                        "--phase-closing-vox", 3)
            self.assertEqual((results["phase_fraction_1"], results["components"]), (fraction, count))

    def test_what_does_not_go_together_is_refused(self):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = blobs()
        for words, hint in ((("--threshold", "isodata", "--classes", 3), "gives 2 classes"),
                            (("--threshold", "100", "--phase", 2), "gives phases 0..1"), (("--threshold", "kapur"), "entropy")):
            self.ends(call("segment", "--input", self.at("v.h5"), *words, ranks=2), 2, hint)
        lone = blobs().astype("f4")
        lone[6, 7, 8] = np.nan
        with h5py.File(self.at("nan.h5"), "w") as f:
            f["v"] = lone
        self.ends(call("segment", "--input", self.at("nan.h5"), ranks=2), 3, "(6, 7, 8) is NaN")
        for name in ("isodata", "entropy"):
            with h5py.File(self.at("flat.h5"), "w") as f:
                f["v"] = np.full((3, 4, 5), 7, "u2")
            self.ends(call("segment", "--input", self.at("flat.h5"), "--threshold", name, ranks=2), 3, "constant")


if __name__ == "__main__":
    unittest.main()
