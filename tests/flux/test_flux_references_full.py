"""Reference answers on real volumes of 256 and 500 voxels a side. timeout: 1800 label: full"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import references as ref


@unittest.skipUnless(os.path.exists(os.path.join(ref.DATA, "references.json")), "no real data (XCSCT_DATA)")
class References(unittest.TestCase):
    def test_electrode(self):
        with ref.temporary() as folder:
            for entry in ref.references()["solves"]:
                if "electrode_256" in entry["volume"] and ref.at_faces(entry):
                    ref.check(self, entry, folder, 1e-6, ranks=2)

    def test_published_tortuosities_of_tf500(self):
        published = {"z": 4.2431, "y": 1.1513, "x": 1.3905}
        with ref.temporary() as folder:
            for entry in ref.references()["solves"]:
                if entry["volume"].startswith("TF-500"):
                    r = ref.check(self, entry, folder, 5e-6, slack=1e-7, ranks=2)
                    self.assertAlmostEqual(r["tortuosity_factor"]["value"], published["zyx"[entry["axis"]]], delta=7.5e-5)


if __name__ == "__main__":
    unittest.main()
