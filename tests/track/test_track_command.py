"""The stage on the command line and in a cycle. timeout: 200"""
import csv, json, math, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call, datasets  # noqa: E402


class Track(Folder):
    def labels(self, name, high, shape=(12, 9, 10), voxel_um=None):
        os.makedirs(self.at("raw"), exist_ok=True)
        with h5py.File(self.at("raw", name), "w") as f:
            f["l"] = (np.arange(shape[0])[:, None, None] < high) * np.ones(shape, "u1")
            if voxel_um:
                f["l"].attrs["voxel_um"] = voxel_um
        return self.at("raw", name)

    def test_layers_of_a_cycle_are_followed_alike_on_any_ranks(self):
        for name, high in (("a", 4), ("b", 7), ("c", 5)):
            self.labels(name + ".h5", high)
        rows = "".join(f"  - {{name: {s}, percent: 0, labels: raw/{s}.h5}}\n" for s in "abc")
        path = self.write("cycle.yaml", "sample: t\nstates:\n" + rows + "track: {phase: 1}\n")
        for ranks in (0, 3):
            self.ends(call("run", path, "--output", self.at(f"out{ranks}"), "--stages", "track", "--quiet", ranks=ranks), 0)
        with open(self.at("out0/summary.csv")) as f:
            got = {(r["state"], r["result"]): r for r in csv.DictReader(f)}
        self.assertAlmostEqual(float(got["b", "volume_change_percent"]["value"]), 75)
        self.assertAlmostEqual(float(got["c", "volume_change_percent"]["value"]), 25)
        self.assertGreater(float(got["b", "volume_change_percent"]["sigma"]), 0)
        self.assertEqual(float(got["c", "lost_voxels"]["value"]), 180)
        growth = []
        for ranks in (0, 3):
            with h5py.File(self.at(f"out{ranks}", "track.h5")) as f:
                growth.append(f["entry/growth/data"][...])
                presence = f["entry/presence/data"][...]
            self.assertEqual(presence.dtype, np.uint8)
            high = np.arange(12)[:, None, None] * np.ones((12, 9, 10), int)
            for k, h in enumerate((4, 7, 5)):  # every state, whatever came after
                self.assertTrue(np.array_equal(presence >> k & 1, high < h), f"state {k + 1}")
            self.assertFalse((presence >> 3).any())
        self.assertTrue(np.array_equal(*growth))
        self.assertEqual([int(v) for v in growth[0][:, 0, 0]], [1] * 4 + [2] + [131] * 2 + [0] * 5)
        self.ends(call("run", path, "--output", self.at("out0"), "--stages", "track", "--quiet"), 0)
        self.assertEqual(self.units("out0")["all/track"], "kept")

    def surface(self, state, Ra, sigma, envelope, error):
        """What stage surface leaves of a state."""
        results = {"Ra_um": {"value": Ra, "sigma": sigma}, "envelope_volume_um3": {"value": envelope, "sigma": error},
                   "points": {"value": 90}}
        with h5py.File(self.at("out", state, "surface.h5"), "w") as f:
            f["entry/process/results_json"] = json.dumps({"results": results})
            f["entry/height/data"] = np.zeros((9, 10), "f4")

    def test_roughness_and_envelope_of_stage_surface_stand_against_the_states(self):
        for name, high in (("a", 4), ("b", 7)):
            self.labels(name + ".h5", high, voxel_um=[2.0, 1.0, 1.0])
        rows = "".join(f"  - {{name: {s}, percent: 0, labels: raw/{s}.h5}}\n" for s in "ab")
        path = self.write("cycle.yaml", "sample: t\nstates:\n" + rows + "track: {phase: 1}\n")
        self.ends(call("run", path, "--output", self.at("out"), "--stages", "track", "--quiet"), 0)
        os.remove(self.at("out/track.h5"))
        for state, numbers in (("a", (5.0, 0.1, 2000.0, 40.0)), ("b", (5.5, 0.2, 2100.0, 63.0))):
            os.makedirs(self.at("out", state), exist_ok=True)
            self.surface(state, *numbers)
        self.ends(call("run", path, "--output", self.at("out"), "--stages", "track", "--quiet", ranks=2), 0)
        with open(self.at("out/summary.csv")) as f:
            got = {(r["state"], r["result"]): r for r in csv.DictReader(f) if r["result"].startswith(("Ra", "env"))}
        want = {("a", "Ra_um"): (5.0, 0.1), ("b", "Ra_um"): (5.5, 0.2), ("b", "Ra_change_percent"): (10, None),
                # the threshold moves both states alike; interpolation moves one of them by a twentieth of a voxel
                ("b", "envelope_change_percent"): (5, 100 * math.hypot(63 / 2100 - 40 / 2000, 0.05 * 2 * 90 / 2100))}
        for key, (value, sigma) in want.items():
            self.assertAlmostEqual(float(got[key]["value"]), value, 9, key)
            if sigma is not None:
                self.assertAlmostEqual(float(got[key]["sigma"]), sigma, 9, key)

    def test_rounds_of_few_planes_give_the_same_bits_and_what_does_not_fit_is_refused(self):
        rng, names = np.random.default_rng(2), []
        os.makedirs(self.at("raw"), exist_ok=True)
        for k in range(3):
            noise = rng.standard_normal((40, 41, 42))
            for axis in range(3):
                noise = sum(np.roll(noise, i, axis) for i in range(5))
            names.append(self.at("raw", f"{k}.h5"))
            with h5py.File(names[-1], "w") as f:
                f["l"] = (noise > 0).astype("u1")
        words = ("track", "--labels", *names, "--phase", 1, "--quiet")
        self.ends(call(*words, "--output", self.at("whole.h5")), 0)
        for ranks, gb in ((0, 0.00117), (2, 0.00224), (3, 0.0033)):
            code, said, _ = call("plan", *words[:-1], "--memory-gb", gb, "--json", "-", ranks=ranks)
            self.assertGreater(json.loads(said)["results"]["rounds"]["value"], 3, "of three states")
            self.ends(call(*words, "--memory-gb", gb, "--output", self.at("rounds.h5"), "--force", "yes", ranks=ranks), 0)
            self.assertEqual(datasets(self.at("whole.h5")), datasets(self.at("rounds.h5")))
        self.ends(call(*words, "--memory-gb", 0.0008, ranks=2), 4, "GB per rank are needed, 0.0004 GB are allowed")
        for name in names:  # noise has more runs than a forecast can know
            with h5py.File(name, "w") as f:
                f["l"] = rng.integers(0, 2, (60, 61, 62), "u1")
        self.ends(call(*words, "--memory-gb", 0.0014), 4, "takes", "0.0014 GB are allowed")

    def test_a_box_by_hand_and_mistakes(self):
        a, b, c = self.labels("a.h5", 4), self.labels("b.h5", 7), self.labels("c.h5", 5, (11, 9, 10))
        self.ends(call("track", "--labels", a, b, "--phase", 1, "--box", "2:12,0:3,0:4", "--json", self.at("o.json"), "--quiet",
                       ranks=2), 0)
        with open(self.at("o.json")) as f:
            self.assertAlmostEqual(json.load(f)["results"]["volume_change_percent@2"]["value"], 150)
        for words, code, hint in ((("--labels", a, b), 2, "--phase N"), (("--phase", 1), 2, "--labels"),
                                  (("--labels", a, c, "--phase", 1), 3, "11 voxels along z, the first state has 12"),
                                  (("--labels", a, "--phase", 1, "--box", "0:13,0:1,0:1"), 2, "outside 0:12")):
            self.ends(call("track", *words, "--quiet", ranks=2), code, hint)


if __name__ == "__main__":
    unittest.main()
