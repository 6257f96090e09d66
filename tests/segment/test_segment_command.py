"""The command segment against scipy, voxel for voxel, on several rank counts. timeout: 300 sanitized: full"""
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


def moments(grey):
    """The bin up to which so many voxels lie that two grey values keep three moments (Tsai 1985)."""
    count, _ = histogram(grey.astype(float), 65536)
    at, p = (np.arange(65536) + 0.5) / 65536, count / count.sum()
    m = [(p * at ** k).sum() for k in range(4)]
    c0, c1 = np.linalg.solve([[1, m[1]], [m[1], m[2]]], [-m[2], -m[3]])
    low, high = sorted(np.roots([1, c1, c0]).real)
    step = float(np.ptp(grey)) / 65536
    return float(grey.min()) + (np.argmax(np.cumsum(p) > (high - m[1]) / (high - low)) + 0.5) * step


def cylinder(shape=(10, 60, 64), centre=(31.2, 27.4), radius=20.5):
    """A cell along z, (x, y) of its axis; two phases of it in void."""
    z, y, x = np.indices(shape)
    share = np.clip(radius - np.hypot(y - centre[1], x - centre[0]) + 0.5, 0, 1)
    return (1000 + 20000 * share * (1 + (z > 4))).astype("u2")


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

    def test_a_gaussian_filter_is_scipy_s(self):
        grey = blobs(8).astype("f4")
        smooth = ndimage.gaussian_filter(grey, 1.3)
        away = np.abs(smooth - 30000) > 0.05  # rounding could decide nearer
        for ranks in (1, 3):
            labels, _, _ = self.run_it(grey, "--median", 0, "--gaussian-vox", 1.3, "--threshold", 30000, ranks=ranks)
            self.assertTrue(np.array_equal(labels[away], (smooth > 30000)[away]))

    def test_non_local_means_are_scikit_image_s_away_from_faces(self):
        try:
            from skimage.restoration import denoise_nl_means
        except ImportError:
            self.skipTest("no scikit-image")
        grey = blobs(12).astype("f4")
        smooth = denoise_nl_means(grey.astype("f8"), patch_size=3, patch_distance=2, h=5000, fast_mode=False)
        inner = np.zeros(SHAPE, bool)
        inner[3:-3, 3:-3, 3:-3] = True  # nearer, patches and the search end elsewhere
        self.assertGreater(np.abs(smooth - grey)[inner].mean(), 300, "the filter does something")
        away = inner & (np.abs(smooth - 30000) > 60)  # its exponential is good to a per cent or so
        for ranks in (1, 3):
            labels, _, _ = self.run_it(grey, "--median", 0, "--nlm-vox", 2, "--nlm-grey", 5000, "--threshold", 30000, ranks=ranks)
            self.assertTrue(np.array_equal(labels[away], (smooth > 30000)[away]))
            self.assertFalse(np.array_equal(labels[away], (grey > 30000)[away]))

    def test_non_local_means_without_a_grey_difference_are_refused(self):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = blobs(12)
        code, _, err = call("segment", "--input", self.at("v.h5:v"), "--output", self.at("s.h5"), "--nlm-vox", 2)
        self.assertEqual(code, 2)
        self.assertIn("segment.nlm_vox = 2 wants segment.nlm_grey", err)

    def test_moments_find_the_bin_that_numpy_finds(self):
        grey = blobs(9).astype("f4")
        _, _, results = self.run_it(grey, "--median", 0, "--threshold", "moments")
        self.assertAlmostEqual(results["threshold"], moments(grey), delta=1.01 * float(np.ptp(grey)) / 65536)

    def test_every_slice_may_have_its_own_threshold(self):
        grey = (blobs(10).astype("f4") * np.linspace(0.5, 1.5, SHAPE[0])[:, None, None]).astype("f4")
        for ranks in (1, 3, 5):
            labels, _, _ = self.run_it(grey, "--median", 0, "--per", "slice", ranks=ranks)
            for z in range(SHAPE[0]):
                step = float(np.ptp(grey[z])) / 65536
                away = np.abs(grey[z] - otsu(grey[z])) > 2 * step
                self.assertTrue(np.array_equal(labels[z][away], (grey[z] > otsu(grey[z]))[away]), z)

    def test_a_threshold_is_found_among_the_greys_and_in_the_region_that_are_named(self):
        grey = blobs(11).astype("f4")
        z, y, x = np.indices(SHAPE)
        mask = ((x + y + z) % 7 > 1).astype("u1")
        with h5py.File(self.at("mask.h5"), "w") as f:
            f["m"] = mask
        inside = (mask > 0) & (z >= 2) & (z < 11) & (np.hypot(x - 30, y - 10.5) <= 18)
        some = inside & (grey >= 20000) & (grey <= 38000)
        for ranks in (1, 3):
            labels, components, results = self.run_it(grey, "--median", 0, "--range", "20000:38000", "--disc", "30,10.5,18", "--slab",
                                                      "2:11", "--mask", self.at("mask.h5"), ranks=ranks)
            step = float(np.ptp(grey[some])) / 65536
            self.assertAlmostEqual(results["threshold"], otsu(grey[some]), delta=1.01 * step)
            want = inside & (grey > results["threshold"])
            self.assertTrue(np.array_equal(labels, want))
            self.assertTrue(np.array_equal(components, numbered(want, np.ones((3, 3, 3)))))
            self.assertAlmostEqual(results["phase_fraction_1"], want.sum() / inside.sum(), 12)

    def test_the_cell_s_own_disc_is_found(self):
        for ranks in (1, 3):
            _, _, results = self.run_it(cylinder(), "--disc", "auto", ranks=ranks)
            self.assertAlmostEqual(results["region_x_vox"], 31.2, delta=0.1)
            self.assertAlmostEqual(results["region_y_vox"], 27.4, delta=0.1)
            self.assertAlmostEqual(results["region_radius_vox"], 0.8 * 20.5, delta=0.2)
            self.assertAlmostEqual(results["phase_fraction_0"], 0.5, 6)  # no void in the disc

    def test_the_slab_follows_a_tilted_interface(self):
        # a dark phase 1 between a bright floor and a brighter cover, tilted and rough, within a round cell in void
        z, y, x = np.indices((70, 72, 80)).astype(float)
        dy, dx = y - 35.2, x - 40.6
        rng = np.random.default_rng(5)
        height = (38.3 + 0.07 * dy - 0.04 * dx)[0] + 2.5 * ndimage.gaussian_filter(rng.standard_normal((72, 80)), 1)
        disc = np.hypot(dy, dx)[0] <= 30
        terms = np.stack([np.ones(disc.sum()), dy[0][disc], dx[0][disc]], 1)
        at, slope_y, slope_x = np.linalg.lstsq(terms, height[disc], rcond=None)[0]  # of what is there
        share = np.clip(height - z + 0.5, 0, 1)
        share[:, 30:34, 30:34] = np.clip(share[:, 30:34, 30:34] + (z < 60)[:, 30:34, 30:34], 0, 1)  # a dendrite
        grey = np.where(z < 8, 4000, 1000 * share + 2000 * (1 - share)) * (np.hypot(dy, dx) < 33)
        grey = (grey + 60 * rng.standard_normal(grey.shape)).astype("f4")
        found = []
        for ranks in (0, 3):
            labels, _, results = self.run_it(grey, "--threshold", "500,1500,3000", "--phase", 1, "--disc", "40.6,35.2,30",
                                             "--slab", "auto", "--slab-about-vox", "-10:15", ranks=ranks)
            found.append(results)
            self.assertTrue(os.path.getsize(self.at("s_region.png")) > 1000)
            os.remove(self.at("s_region.png"))
            self.assertAlmostEqual(results["region_tilt_y_deg"], np.degrees(np.arctan(slope_y)), delta=0.25)
            self.assertAlmostEqual(results["region_tilt_x_deg"], np.degrees(np.arctan(slope_x)), delta=0.25)
            self.assertAlmostEqual(results["region_interface_vox"], at, delta=0.15)
            over = z - results["region_interface_vox"] - np.tan(np.radians(results["region_tilt_y_deg"])) * dy - np.tan(
                np.radians(results["region_tilt_x_deg"])) * dx
            inside = (over >= -10) & (over < 15) & (np.hypot(dy, dx) <= 30)
            sure = np.abs(over + 10) > 1e-6
            self.assertFalse(labels[~inside & sure].any())
            self.assertGreater((labels[inside] > 0).mean(), 0.999)
        self.assertEqual(found[0], found[1])
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = np.full((9, 30, 30), 7, "f4")
        self.ends(call("segment", "--input", self.at("v.h5"), "--threshold", 5, "--slab", "auto", ranks=2), 3, "no interface")

    def test_components_have_the_area_of_their_spheres(self):
        p = np.indices((30, 32, 60)).astype(float)
        grey = np.zeros(p.shape[1:])
        for dz, dy, dx in np.ndindex(4, 4, 4):  # shares of a voxel by 4 x 4 x 4 points
            q = [p[a] + (d - 1.5) / 4 for a, d in enumerate((dz, dy, dx))]
            for centre, r in (((14.2, 15.3, 14.8), 10), ((15.1, 15.7, 43.4), 12)):
                grey += (sum((q[a] - centre[a]) ** 2 for a in range(3)) <= r * r) / 64
        for ranks in (1, 4):
            _, _, results = self.run_it((10000 * grey).astype("u2"), "--median", 0, "--threshold", 5000, "--names", "void,solid",
                                        ranks=ranks)
            with h5py.File(self.at("s.h5")) as f:
                table = {k: f["entry/component_table"][k][...] for k in ("area", "volume", "sphericity", "voxels", "faces")}
                self.assertEqual(f["entry/process/phase_names"][()].decode(), "void,solid")
            for i, r in enumerate((12, 10)):  # the larger one begins first
                self.assertAlmostEqual(table["area"][i] / (4 * np.pi * r * r), 1, delta=0.01)
                self.assertAlmostEqual(table["volume"][i] / (4 / 3 * np.pi * r ** 3), 1, delta=0.005)
                self.assertAlmostEqual(table["sphericity"][i], 1, delta=0.012)
                self.assertGreater(table["faces"][i], 1.4 * table["area"][i], "faces of voxels are too many")
            self.assertAlmostEqual(results["specific_surface_per_vox"], table["area"].sum() / grey.size, 9)

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
                            (("--range", "7:3"), "A below B"), (("--disc", "3,4"), "X,Y,R"), (("--slab", "3:99"), "0:13"),
                            (("--slab", "auto", "--slab-about-vox", "5:1"), "A below B"), (("--slab", "auto", "--per", "slice"), "slice"),
                            (("--names", "a,b,c"), "3 names to 2 classes"),
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
