"""Volumes larger than the ranks' memory: rounds of rows of columns give the same bits. timeout: 300 sanitized: full"""
import json, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call, datasets  # noqa: E402


def blobs(shape, seed):
    noise = np.random.default_rng(seed).standard_normal(shape)
    for axis in range(3):
        noise = sum(np.roll(noise, i, axis) for i in range(5))
    return noise / noise.std()


class Rounds(Folder):
    def volume(self, name, shape):
        """A rough layer with pores in it and specks over it, grey with noise."""
        rng, z = np.random.default_rng(4), np.arange(shape[0])[:, None, None]
        height = shape[0] / 2 + 3 * blobs((5,) + shape[1:], 7)[2]
        solid = ((z < height) & (blobs(shape, 8) < 1.7)) | (blobs(shape, 9) > 2.2)
        label = np.where(solid, 1, np.where(z < height, 0, 2)).astype("u1")
        with h5py.File(self.at(name), "w") as f:
            f["l"] = label
            f["v"] = (np.array([0, 2, 1], "f4")[label] + 0.2 * rng.standard_normal(shape)).astype("f4")
        return "surface", "--labels", self.at(name + ":l"), "--volume", self.at(name + ":v"), "--voxel-um", 2, \
            "--void-grey", "0", "--disc", f"{shape[2] / 2},{shape[1] / 2},{min(shape[1:]) / 2 - 1}"

    def test_any_rounds_and_ranks_give_the_same_bits_and_what_does_not_fit_is_refused(self):
        words = self.volume("v.h5", (53, 90, 71))
        code, out, err = call(*words, "--output", self.at("whole.h5"), "--json", "-", "--quiet")
        self.ends((code, out, err), 0)
        found = json.loads(out)["results"]
        for name in ("closed_pores", "detached_parts", "overhang_fraction", "pore_fraction_by_grey", "interface_area_um2"):
            self.assertGreater(found[name]["value"], 0, name)
        for ranks, share in ((1, 0.0025), (2, 0.0015), (3, 0.0014), (5, 0.0011)):
            gb = share * ranks
            code, said, _ = call("plan", *words, "--memory-gb", gb, "--json", "-", ranks=ranks)
            rounds = json.loads(said)["results"]["rounds"]["value"]
            self.assertGreater(rounds, 3)
            code, out, err = call(*words, "--memory-gb", gb, "--output", self.at("rounds.h5"), "--force", "--json", "-",
                                  ranks=ranks)
            self.ends((code, out, err), 0)
            self.assertIn(f"{rounds} rounds", err)
            self.assertEqual(json.loads(out)["results"], found, f"{ranks} ranks")
            self.assertEqual(datasets(self.at("rounds.h5")), datasets(self.at("whole.h5")), f"{ranks} ranks")
        self.ends(call(*words, "--memory-gb", 0.001, "--quiet", ranks=2), 4, "are needed", "GB are allowed")
        self.ends(call(*words, "--memory-gb", 0.003, "--thickness-vox", 3, "--quiet", ranks=2), 4, "are needed", "GB are allowed")

    def test_thin_volumes_and_more_ranks_than_rows(self):
        for shape in ((53, 3, 40), (53, 40, 1), (12, 1, 9)):
            with h5py.File(self.at("t.h5"), "w") as f:
                f["l"] = (np.arange(shape[0])[:, None, None] < shape[0] // 2) * np.ones(shape, "u1")
            words = ("surface", "--labels", self.at("t.h5:l"), "--voxel-um", 1, "--json", "-", "--quiet")
            found = [json.loads(call(*words, ranks=ranks)[1])["results"] for ranks in (1, 5)]
            self.assertEqual(found[0], found[1])
            self.assertEqual(found[0]["points"]["value"], shape[1] * shape[2])
            self.assertLess(found[0]["Ra_um"]["value"], 1e-12)

    def test_labels_of_noise_have_more_runs_than_forecast(self):
        with h5py.File(self.at("n.h5"), "w") as f:
            f["l"] = np.random.default_rng(2).integers(0, 2, (60, 61, 300), "u1")
        words = "surface", "--labels", self.at("n.h5:l"), "--voxel-um", 1, "--json", "-"
        whole = call(*words, "--quiet")
        less = call(*words, "--memory-gb", 0.0075)
        self.ends(less, 0)
        self.assertIn("8 rounds", less[2])  # forecast as one
        self.assertEqual(json.loads(less[1])["results"], json.loads(whole[1])["results"])
        self.ends(call(*words, "--memory-gb", 0.007, "--quiet"), 4, "components of phase 1", "0.007 GB are allowed",
                  "segment.min_voxels")


if __name__ == "__main__":
    unittest.main()
