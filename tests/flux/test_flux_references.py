"""Reference answers on real volumes of up to 100 voxels a side. timeout: 300"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import references as ref


@unittest.skipUnless(os.path.exists(os.path.join(ref.DATA, "references.json")), "no real data (XCSCT_DATA)")
class References(unittest.TestCase):
    def test_volumes_of_a_hundred_voxels(self):
        with ref.temporary() as folder:
            for entry in ref.references()["solves"]:
                if "100" in entry["volume"] and ref.at_faces(entry):
                    ref.check(self, entry, folder, 1e-6)

    def test_porespy_fixture(self):
        theirs = [r for r in ref.references()["outside_references"] if "porespy_blobs" in r.get("volume", "")][0]
        file = os.path.join(ref.DATA, theirs["volume"])
        r = ref.flux("--input", file, "--conducting", 1, "--direction", "all", "--tolerance", 2e-7, ranks=2)
        for axis, tau in theirs["ours_boundary_A"].items():
            got = r["tortuosity_factor_" + "zyx"[int(axis)]]
            self.assertAlmostEqual(got["value"] / tau, 1, delta=1e-6)
            self.assertTrue(got["lower"] <= tau * (1 + 1e-8) and tau * (1 - 1e-8) <= got["upper"])


if __name__ == "__main__":
    unittest.main()
