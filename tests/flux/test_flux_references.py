"""Reference answers on real volumes of up to 100 voxels a side. timeout: 900 sanitized: full"""
import os
import sys
import unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
import references as ref


@unittest.skipUnless(os.path.exists(os.path.join(ref.DATA, "references.json")), "no real data (XCSCT_DATA)")
class References(unittest.TestCase):
    def test_volumes_of_a_hundred_voxels(self):
        with ref.temporary() as folder:
            for entry in ref.references()["solves"]:
                if "100" in entry["volume"]:
                    ref.check(self, entry, folder, 1e-6)

    def outside(self, source):
        return [r for r in ref.references()["outside_references"] if source in r["source"]][0]

    def write(self, folder, labels):
        name = os.path.join(folder, "labels.h5")
        with h5py.File(name, "w") as f:
            f["labels"] = labels.astype("u1")
        return name

    def inside(self, result, truth, slack=1e-9):
        self.assertLessEqual(result["lower"], truth * (1 + slack))
        self.assertGreaterEqual(result["upper"], truth * (1 - slack))

    def test_tensor_of_cast_iron_as_a_periodic_cell(self):
        theirs = self.outside("ggg40_100_result")
        r = ref.flux("--input", os.path.join(ref.DATA, theirs["volume"]), "--diffusivity", "0=129,1=80.4", "--tensor", "yes",
                     "--tolerance", 1e-6)
        got = np.array([[r["tensor_" + "".join(sorted(a + b, key="zyx".index))] ["value"] for b in "zyx"] for a in "zyx"])
        self.assertLess(abs(got - np.array(theirs["ours_FV_full_periodic"])).max(), 2e-6 * 85)
        for i, a in enumerate("zyx"):
            self.inside(r[f"tensor_{a}{a}"], theirs["ours_FV_full_periodic"][i][i], 1e-8)
        # chfem, by finite elements: its column for x, fastest axis first; signs follow its flipped axes
        column = theirs["k_column_fastest_axis"]
        self.assertLess(abs(got[2, 2] / column[0] - 1), 5e-4)
        self.assertLess(abs(abs(got[1, 2]) - abs(column[1])), 5e-4 * 85)
        self.assertLess(abs(abs(got[0, 2]) - abs(column[2])), 5e-4 * 85)

    def test_slabs_of_puma_and_openimpala(self):
        with ref.temporary() as folder:
            labels = np.ones((20, 20, 20))
            labels[10:] = 2
            name = self.write(folder, labels)
            for axis, truth in (("z", 20 / 11), ("y", 5.5)):
                r = ref.flux("--input", name, "--diffusivity", "1=1,2=10", "--direction", axis, "--tolerance", 1e-7)
                self.inside(r["effective_diffusivity"], truth)
                self.assertAlmostEqual(r["effective_diffusivity"]["value"], truth, delta=1e-6)
            # OpenImpala fixes the outer cells' middles, N - 1 apart, and divides by N: its values are (N-1)/N of ours
            labels = np.ones((32, 32, 32))
            labels[16:] = 2
            for data, law, axis, key in ((np.ones((32, 32, 32)), "1=1", "z", "uniform N=32"), (labels, "1=1,2=0.5", "z", "series 1,0.5"),
                                         (labels, "1=1,2=0.5", "y", "parallel 1,0.5")):
                r = ref.flux("--input", self.write(folder, data), "--diffusivity", law, "--direction", axis, "--tolerance", 1e-7)
                theirs = self.outside("OpenImpala tests")["tau"][key]
                self.assertAlmostEqual(31 / 32 / r["effective_diffusivity"]["value"], theirs, delta=2e-6)

    def test_slanted_strip_and_diagonals_of_taufactor(self):
        with ref.temporary() as folder:
            strip = np.zeros((20, 21, 21))
            for i in range(20):
                strip[i, i:i + 2, i:i + 2] = 1
            name = self.write(folder, strip)
            for spacing, tau in (("1", 451 / 60), ("1,1,2", 4.775555556), ("2,1,1", 12.937222222), ("0.5,1,1", 6.143333333)):
                r = ref.flux("--input", name, "--conducting", 1, "--voxel-um", spacing, "--tolerance", 2e-8)
                self.assertAlmostEqual(r["tortuosity_factor"]["value"] / tau, 1, delta=1e-7)
            theirs = self.outside("notebooks/12")
            k, j = np.mgrid[:64, :64]  # bands of equal width along the diagonal, two periods, as their notebook draws them
            r = ref.flux("--input", self.write(folder, (((k + j) % 32) < 16)[:, :, None]), "--conducting", 1, "--periodic", "yes",
                         "--tolerance", 1e-7)
            self.assertAlmostEqual(r["tortuosity_factor"]["value"], theirs["ours"], delta=theirs["tol"])

    def test_checkerboards_of_keller_and_dykhne(self):
        ratio = self.outside("Keller")["FV_ratio_to_exact"]
        with ref.temporary() as folder:
            for contrast, cells in (("contrast 2", (8, 32, 128)), ("contrast 10", (8, 32, 128)), ("contrast 100", (128,))):
                d = float(contrast.split()[1])
                for n in cells:
                    k, j = np.mgrid[:2 * n, :2 * n]
                    board = ((k // n + j // n) % 2)[:, :, None] + 1
                    r = ref.flux("--input", self.write(folder, board), "--diffusivity", f"1=1,2={d}", "--tensor", "yes", "--periodic",
                                 "yes", "--tolerance", 1e-7)
                    self.assertAlmostEqual(r["tensor_zz"]["value"] / d ** 0.5, ratio[contrast][str(n)], delta=2e-6)

    def test_porespy_fixture(self):
        theirs = [r for r in ref.references()["outside_references"] if "porespy_blobs" in r.get("volume", "")][0]
        file = os.path.join(ref.DATA, theirs["volume"])
        r = ref.flux("--input", file, "--conducting", 1, "--direction", "all", "--tolerance", 2e-7, ranks=2)
        for axis, tau in theirs["ours_boundary_A"].items():
            got = r["tortuosity_factor_" + "zyx"[int(axis)]]
            self.assertAlmostEqual(got["value"] / tau, 1, delta=1e-6)
            self.assertTrue(got["lower"] <= tau * (1 + 1e-8) and tau * (1 - 1e-8) <= got["upper"])
        for ranks in (1, 3):
            r = ref.flux("--input", file, "--conducting", 1, "--direction", "all", "--fixed", "middles", "--tolerance", 2e-8, ranks=ranks)
            for axis, tau in theirs["ours"].items():  # porespy's with percolating eps
                got = r["tortuosity_factor_" + "zyx"[int(axis)]]
                self.assertAlmostEqual(got["value"] / tau, 1, delta=1e-7)
                self.assertAlmostEqual(got["value"] / theirs["tau"][axis], 1, delta=2e-7)
        r = ref.flux("--input", file, "--conducting", 1, "--fixed", "middles", "--solver", "gamg", "--tolerance", 1e-7)
        self.assertAlmostEqual(r["tortuosity_factor"]["value"] / theirs["ours"]["0"], 1, delta=3e-7)


if __name__ == "__main__":
    unittest.main()
