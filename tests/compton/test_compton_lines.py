"""Lines that do not belong to the Compton profile: told by name, and taken out of the factor when asked for."""
# timeout: 600
import json
import os
import subprocess
import tempfile
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]


def call(folder, *words):
    done = subprocess.run([XCSCT, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done


class Lines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        call(cls.folder, "twin", "--output", "twin", "--ct", "no", "--xcs-lines-percent", 3, "--xcs-counts", 5000)
        with open(f"{cls.folder}/twin/truth.json") as file:
            cls.truth = json.load(file)["states"]["pristine"]["emf_region2"]["value"]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def compton(self, *words):
        done = call(self.folder, "compton", "--spectra", "twin/raw/pristine_r2.h5", "--disc", "twin/raw/disc.h5", *words,
                    "--output", "out.h5", "--force", "--json", "out.json")
        with open(f"{self.folder}/out.json") as file:
            return json.load(file)["results"], done.stderr + done.stdout

    def test_lines_are_told_by_name_and_bias_the_factor_only_when_they_are_not_fitted(self):
        plain, said = self.compton()
        for line in ("Pb K alpha 1", "Pb K beta 1", "elastic", "--lead yes", "--escape yes"):
            self.assertIn(line, said)
        self.assertNotIn("Te K", said)
        fitted, said = self.compton("--lead", "yes", "--escape", "yes")
        self.assertNotIn("--lead yes", said)
        self.assertNotIn("--escape yes", said)
        off = [(of["emf"]["value"] - self.truth) / of["emf"]["sigma"] for of in (plain, fitted)]
        self.assertLess(off[0], -5, "lines of 3 % do not bias the factor")
        self.assertLess(abs(off[1]), 3.5, f"{fitted['emf']}, truth {self.truth}")
        self.assertGreater(plain["fit_chi2_per_bin"]["value"], 2)  # of all parts of the field
        self.assertAlmostEqual(fitted["fit_chi2_per_bin"]["value"], 1, delta=0.1)

    def test_the_table_of_lines_counts_what_the_twin_put_in(self):
        self.compton()
        with h5py.File(f"{self.folder}/out.h5") as file:
            names = file["/entry/process/spectral_lines_names"][()].decode().splitlines()
            table = {k: file[f"/entry/spectral_lines/{k}"][:] for k in ("line", "energy", "counts", "counts_error")}
        self.assertEqual(len(names), len(table["line"]))
        counts = {name.split(" ", 1)[1]: c for name, c in zip(names, table["counts"])}
        # the twin's heights, in shares of the elastic line's: widths are nearly the same
        for name, share in (("Pb K alpha 2", 0.3), ("Pb K alpha 1", 0.5), ("Pb K beta 1", 0.17)):
            self.assertAlmostEqual(counts[name] / counts["elastic"] / share, 1, delta=0.08, msg=name)
        self.assertTrue(np.isnan(counts["elastic, Cd K alpha escaped"]))


if __name__ == "__main__":
    unittest.main()
