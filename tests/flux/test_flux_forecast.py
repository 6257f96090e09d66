"""The memory that `plan` says, from samples of the labels, is what a solution takes, however the volume comes apart."""
import os, re, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import SANITIZED, Folder, call  # noqa: E402

EDGE = 120
NOISE_GB = 0.004  # of a process without its volume


class Forecast(Folder):
    def write(self, name, labels):
        with h5py.File(self.at(name), "w") as f:
            f["labels"] = labels.astype("u1")
        return self.at(name)

    def took_gb(self, name, words, ranks=1):  # started by mpirun: the peak of a process begins with that of its parent
        code, _, log = call("flux", "--input", name, "--diffusivity", *words, ranks=ranks)
        self.assertEqual(code, 0, log)
        return float(re.search(r"peak memory ([0-9.]+) GB", log)[1])

    def said_gb(self, name, words, ranks=1):
        code, out, log = call("plan", "flux", "--input", name, "--diffusivity", *words, ranks=ranks)
        self.assertEqual(code, 0, log)
        return float(re.search(r"memory_per_rank +([0-9.]+) GB", out)[1])

    @unittest.skipIf(SANITIZED, "a sanitizer takes memory of its own")
    def test_from_a_block_to_sites_drawn_one_by_one(self):
        dice = np.random.default_rng(1).random((EDGE,) * 3)
        z, y, x = (0.27 * a + 0.3 * np.sin(0.05 * b) for a, b in zip(np.indices(dice.shape), np.indices(dice.shape)[[1, 2, 0]]))
        wave = np.sin(z) * np.cos(y) + np.sin(y) * np.cos(x) + np.sin(x) * np.cos(z)
        one, two = ("1=1",), ("1=1,2=0.01", "--tolerance", "0.01")
        cases = {"block": (np.ones(dice.shape), one, 0.85), "thick": (wave > -0.3, one, 0.85), "thin": (wave > 0.9, one, 0.8),
                 "sites": (dice < 0.35, one, 0.55), "two": (1 * (dice < 0.33) + 2 * (dice > 0.7), two, 0.55)}
        small = self.write("small.h5", np.ones((8, 8, 8)))
        empty = {ranks: self.took_gb(small, one, ranks) for ranks in (1, 2)}
        for name, (labels, words, least) in cases.items():
            file = self.write(name + ".h5", labels)
            for ranks in (1, 2) if name in ("thick", "sites") else (1,):
                said, took = self.said_gb(file, words, ranks), self.took_gb(file, words, ranks) - empty[ranks]
                self.assertTrue(least / ranks * said <= took + NOISE_GB and took <= said + NOISE_GB, (name, ranks, took, said))


if __name__ == "__main__":
    unittest.main()
