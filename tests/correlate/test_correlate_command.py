"""The stage on products given by hand: tables, rank counts, given fractions, another cell, mistakes. timeout: 600"""
import csv, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "app"))
import faults  # noqa: E402
from hostile import Folder, call  # noqa: E402


class Correlate(Folder):
    def run_it(self, out, block="", ranks=1):
        faults.seen(self.at("cycle.yaml"))
        if block:
            with open(self.at("cycle.yaml")) as f:
                text = f.read()
            with open(self.at("cycle.yaml"), "w") as f:
                f.write(text.replace("draws: 20", "draws: 20, " + block))
        return call("run", self.at("cycle.yaml"), "--stages", "correlate", "--output", self.at(out), "--quiet", ranks=ranks)

    def rows(self, out, table):
        with open(self.at(out, f"correlate_{table}.csv")) as f:
            return list(csv.DictReader(f))

    def test_tables_say_the_same_on_any_ranks(self):
        for out, ranks in (("one", 1), ("three", 3)):
            code, _, said = self.run_it(out, ranks=ranks)
            self.assertEqual(code, 0, said)
        for table in ("pixels", "mixing", "budget", "changes", "heterogeneity", "correlations", "radial", "table_1"):
            self.assertEqual(self.rows("one", table), self.rows("three", table), table)
        with h5py.File(self.at("one/correlate.h5")) as a, h5py.File(self.at("three/correlate.h5")) as b:
            for name in ("data", "data_errors"):
                self.assertTrue(np.array_equal(a[f"entry/maps/{name}"], b[f"entry/maps/{name}"], equal_nan=True))
            self.assertEqual(a["entry/maps/data"].shape, (2, 16, 12, 12))
        mixing = self.rows("one", "mixing")
        self.assertEqual([(r["state"], r["component"], r["source"]) for r in mixing[:3]],
                         [("pristine", c, "measured") for c in ("Li", "SPE", "cathode")])
        for row in mixing:  # fractions of a slab are all there is in it, but for the cathode's upper end
            self.assertTrue(-1e-9 <= float(row["fraction"]) <= 1, row)
        changes = [r for r in self.rows("one", "changes") if r["quantity"] == "emf_region2"]
        self.assertEqual([(r["from"], r["to"]) for r in changes], [("pristine", "full")])
        self.assertEqual(float(changes[0]["change"]), 0, "both states are the same file")

    def test_given_fractions_stand_in_for_the_tomography(self):
        code, _, said = self.run_it("given", "fractions: '.64,.11,.25;.89,.11,0;1,0,0', registration: given")
        self.assertEqual(code, 0, said)
        mixing = self.rows("given", "mixing")
        self.assertEqual([float(r["fraction"]) for r in mixing[:9]], [.64, .11, .25, .89, .11, 0, 1, 0, 0])
        self.assertEqual({r["source"] for r in mixing}, {"given"})
        with h5py.File(self.at("given/correlate.h5")) as f:
            names = list(f["entry/results"])
            for c in ("Li", "SPE", "cathode"):  # with the paper's fractions given, both ways are one
                own = f[f"entry/results/emf_{c}.full"][()]
                self.assertAlmostEqual(float(np.squeeze(own)), float(np.squeeze(f[f"entry/results/emf_{c}_fixed.full"][()])), 9, names)

    def grey(self, unit):
        """A tomogram of the labels: means of the layers per mm, thirty times those of a cell, so that they matter."""
        with h5py.File(self.at("l.h5")) as f:
            labels = f["labels"][:]
        with h5py.File(self.at("v.h5"), "w") as f:
            noise = np.random.default_rng(4).normal(0, 0.01, labels.shape)
            f["v"] = (np.array([0, 0.3, 0.8, 3.5])[labels] + noise).astype("f4")
            f["v"].attrs["units"] = unit
            f["v"].attrs["element_size_um"] = (5.0, 100.0, 100.0)
        return labels[26:39, 6:18, 6:18]  # the cathode within the field

    def test_transmissions_are_those_of_the_tomogram(self):
        faults.seen(self.at("cycle.yaml"))
        labels = self.grey("1/mm")
        with open(self.at("cycle.yaml")) as f:
            text = f.read()
        for word, ranks in (("measured", 3), ("tables", 1)):
            with open(self.at("cycle.yaml"), "w") as f:
                f.write(text.replace("labels: ", "volume: 'v.h5:/v', labels: ").replace(
                    "draws: 20", f"draws: 20, registration: given, disc_mm: 1.2, attenuation: {word}"))
            code, _, said = call("run", self.at("cycle.yaml"), "--stages", "correlate", "--output", self.at(word), "--quiet", ranks=ranks)
            self.assertEqual(code, 0, said)
        with h5py.File(self.at("measured/correlate.h5")) as f:
            mu = [float(np.squeeze(f[f"entry/results/attenuation_{c}_per_mm.full"][()])) for c in ("Li", "SPE", "cathode")]
        composite = np.where(labels == 3, 3.5, 0.8).mean()
        for found, made in zip(mu, (0.3, 0.8, composite)):
            self.assertLess(abs(found / made - 1), 0.03, mu)
        # the field's pixels, mm; a round cell of 1 mm; the beam comes along y
        middle = (np.arange(4) - 1.5) * 0.25 * 160 / 150
        path = np.sqrt(1 - middle[:, None] ** 2) + middle[None, :]
        over = 0.065 * 1.389 * composite
        wanted = [np.exp(-0.3 * path - over).mean(), np.exp(-0.8 * path - over).mean(), np.exp(-composite * path - over / 2).mean()]
        for row in self.rows("measured", "mixing"):
            k = ("Li", "SPE", "cathode").index(row["component"])
            self.assertLess(abs(float(row["transmission"]) / wanted[k] - 1), 0.02 + 0.03 * (-np.log(wanted[k])), (row, wanted))
            self.assertTrue(0 < float(row["transmission_error"]) < 0.05, row)
        for row in self.rows("tables", "mixing"):  # a hundredth of that attenuation
            self.assertGreater(float(row["transmission"]), 0.85, row)
            self.assertEqual(row["transmission_error"], "", "tables have no error")

    def test_mistakes_are_told(self):
        for block, code, word in (("radii_mm: '8,9'", 2, "radii_mm"), ("calibration_line: 'a,b'", 2, "calibration_line"),
                                  ("fractions: '1,0,0'", 2, "regions"), ("heights_um: '1,x'", 2, "heights_um"),
                                  (f"reference: '{self.at('c.h5')}'", 3, "region_profiles")):
            got, _, said = self.heights() if "heights" in block else self.run_it("bad", block)
            self.assertEqual(got, code, (block, said))
            self.assertIn(word, said)

    def heights(self):
        faults.seen(self.at("cycle.yaml"))
        with open(self.at("cycle.yaml")) as f:
            text = f.read()
        with open(self.at("cycle.yaml"), "w") as f:
            f.write(text.replace("65,2.5,-25", "1,x"))
        return call("run", self.at("cycle.yaml"), "--stages", "correlate", "--output", self.at("bad"), "--quiet", ranks=1)


if __name__ == "__main__":
    unittest.main()
