"""The forecast of memory against what a run takes, at three sizes. timeout: 900 label: full"""
import json, os, re, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

PHASE = ("--phase", "paganin", "--energy-kev", 20, "--distance-mm", 50, "--delta-beta", 100, "--voxel-um", 1)


@unittest.skipIf(os.environ.get("XCSCT_BUILD") == "Sanitize", "a sanitizer's memory is not the program's")
class Memory(Folder):
    def scan(self, angles, rows, columns):
        rng = np.random.default_rng(0)
        with h5py.File(self.at("scan.nxs"), "w") as f:
            e = "entry1/tomo_entry/"
            data = f.create_dataset(e + "instrument/detector/data", (angles + 10, rows, columns), "u2")
            for i in range(0, angles + 10, 90):
                data[i:i + 90] = rng.integers(20000, 30000, (min(90, angles + 10 - i), rows, columns))
            data[:5], data[5:10] = 100, 40000
            f[e + "instrument/detector/image_key"] = np.array([2] * 5 + [1] * 5 + [0] * angles, "i4")
            f[e + "sample/rotation_angle"] = np.concatenate([np.zeros(10), np.arange(angles) * 180 / angles])

    def test_peak_memory_is_what_was_forecast(self):
        for angles, rows, columns, more in ((360, 48, 512, ()), (720, 32, 1024, ()), (900, 24, 1600, ("--rings", "vo")),
                                            (360, 32, 700, PHASE)):
            self.scan(angles, rows, columns)
            words = ("--input", self.at("scan.nxs"), "--centre", columns / 2, *more)
            code, said, err = call("plan", "recon", *words, "--json", "-", "--quiet")
            self.assertEqual(code, 0, err)
            forecast = json.loads(said)["results"]["memory_per_rank"]["value"]
            code, _, err = call("recon", *words, "--output", self.at("o.h5"), timeout=400)
            self.assertEqual(code, 0, err)
            peak = float(re.search(r"peak memory ([0-9.]+) GB", err).group(1))
            print(f"{columns} x {angles} x {rows} {more[:2]}: forecast {forecast:.3f} GB, peak {peak:.3f} GB")
            self.assertLess(peak, 1.05 * forecast)
            self.assertGreater(peak, 0.8 * forecast)
            # refused before anything is read or written
            code, _, err = call("recon", *words, "--output", self.at("p.h5"), "--memory-gb", 0.1)
            self.assertEqual(code, 4, err)
            self.assertFalse(os.path.exists(self.at("p.h5")) or os.path.exists(self.at("p.h5.partial")))


if __name__ == "__main__":
    unittest.main()
