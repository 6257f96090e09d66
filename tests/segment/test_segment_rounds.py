"""A volume that does not fit into memory is segmented in rounds, with the same bits as in one piece. timeout: 300"""
import json, os, re, sys, unittest

import h5py
import numpy as np
from scipy import ndimage

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

SHAPE = (61, 40, 70)


def blobs(seed):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2)
    return (30000 + 8000 * (smooth / smooth.std() + rng.random(SHAPE) - 0.5)).clip(0, 65535).astype("u2")


def cell():
    z, y, x = np.indices(SHAPE)
    return blobs(3) * (np.hypot(y - 19.3, x - 33.8) < 17).astype("u2")


class Rounds(Folder):
    def segment(self, *words, ranks=0):
        code, out, err = call("segment", "--input", self.at("v.h5:v"), "--output", self.at("s.h5"), "--json", "-", "--force",
                              "--surfaces", "no", *words, ranks=ranks)
        self.assertEqual(code, 0, err)
        found = re.search(r"(\d+) rounds of (\d+) planes", err)
        with h5py.File(self.at("s.h5")) as f:
            table = f["entry/component_table"]
            columns = {k: table[k][...] for k in table if isinstance(table[k], h5py.Dataset)}
            return (int(found[1]) if found else 0, f["entry/labels/data"][...], f["entry/components/data"][...], columns,
                    json.loads(out)["results"])

    def check_alike(self, grey, words, *limits):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = grey
            z, y, x = np.indices(SHAPE)
            f["m"] = ((x + 2 * y + 3 * z) % 11 > 1).astype("u1")
        whole = self.segment(*words)
        self.assertEqual(whole[0], 0)
        for n, limit_gb in limits:
            pieces = self.segment(*words, "--memory-gb", limit_gb, ranks=n)
            self.assertGreater(pieces[0], 1, f"{words}: rounds on {n} ranks")
            for a, b, what in zip(whole[1:3], pieces[1:3], ("labels", "components")):
                self.assertTrue(np.array_equal(a, b), f"{what} {words} on {n} ranks")
            self.assertEqual(whole[4], pieces[4], words)
            self.assertEqual(set(whole[3]), set(pieces[3]))
            for k in whole[3]:
                self.assertTrue(np.array_equal(whole[3][k], pieces[3][k]), f"{k} {words} on {n} ranks")
        return whole

    def test_the_paper_s_chain_has_the_same_bits(self):
        _, labels, components, table, _ = self.check_alike(blobs(1), ("--chain", "paper", "--phase-opening-vox", 1), (0, 0.0016))
        self.assertTrue(0.1 < labels.mean() < 0.9)
        self.assertGreater(components.max(), 1, "there are components that could differ")
        self.assertGreater(np.ptp(table["low_z"]), 0)

    def test_fractions_have_the_same_bits(self):
        grey = blobs(2).astype("f4") / 7
        self.check_alike(grey, ("--gaussian-vox", 0.8, "--closing-vox", 1, "--connectivity", 6, "--min-voxels", 5, "--classes", 3),
                         (2, 0.0019))

    def test_non_local_means_have_the_same_bits(self):
        self.check_alike(blobs(5), ("--nlm-vox", 1, "--nlm-grey", 3000), (0, 0.0009), (3, 0.0015))

    def test_regions_have_the_same_bits(self):
        words = ("--disc", "auto", "--slab", "3:57", "--mask", self.at("v.h5:m"), "--range", "5000:60000", "--keep-largest", 3,
                 "--connectivity", 18, "--phase", 0)
        self.check_alike(cell(), words, (0, 0.0009), (2, 0.0014), (3, 0.0015))

    def test_given_thresholds_have_the_same_bits(self):
        self.check_alike(blobs(4), ("--threshold", "28000,32000", "--phase", 1, "--phase-dilation-vox", 2), (5, 0.001))

    def test_what_needs_the_whole_is_refused_with_need_and_limit(self):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = blobs(5)
        for word, value in (("--surfaces", "yes"), ("--fill-holes", "yes"), ("--per", "slice")):
            words = ("--surfaces", "no") if word != "--surfaces" else ()
            self.ends(call("segment", "--input", self.at("v.h5"), "--memory-gb", 0.001, *words, word, value), 4,
                      f"{word[2:].replace('-', '_')} = {value} does not go in rounds", "0.001 GB are allowed")
        self.ends(call("segment", "--input", self.at("v.h5"), "--memory-gb", 0.0002, "--surfaces", "no"), 4, "0.0002 GB are allowed")

    def test_a_voxel_that_is_no_number_is_named_by_its_place(self):
        grey = blobs(6).astype("f4")
        grey[52, 7, 8] = np.nan
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = grey
        self.ends(call("segment", "--input", self.at("v.h5"), "--memory-gb", 0.003, "--surfaces", "no", ranks=2), 3,
                  "(52, 7, 8) is NaN")


if __name__ == "__main__":
    unittest.main()
