"""The stage on the command line and in a cycle: truth, any ranks, resuming, refusals. timeout: 300 sanitized: full"""
import csv, json, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

SHAPE = (30, 34, 37)


def cloud(shift=(0, 0, 0), seed=1, noise=0.02, shape=SHAPE, blobs=60):
    """Blobs about the middle, moved by `shift` (z, y, x)."""
    draw, grid = np.random.default_rng(5), np.indices(shape).astype("f4")
    v = np.random.default_rng(seed).normal(0, noise, shape)
    for _ in range(blobs):
        at = draw.uniform(-0.5, 0.5, 3) * shape + (np.array(shape) - 1) / 2 + shift
        r2 = sum((g - a) ** 2 for g, a in zip(grid, at)) / draw.uniform(1.4, 2.5) ** 2
        v += np.exp(-r2 / 2)
    return v.astype("f4")


class Align(Folder):
    def put(self, name, volume):
        os.makedirs(self.at("raw"), exist_ok=True)
        with h5py.File(self.at("raw", name), "w") as f:
            f["v"] = volume
        return self.at("raw", name)

    def make_cycle(self, third, more="align: {box: all}\n"):
        for name, volume in (("a.h5", cloud()), ("b.h5", cloud((0.6, -1.3, 2.25), 2)), ("c.h5", third)):
            self.put(name, volume)
        rows = "".join(f"  - {{name: {s}, percent: {i}, volume: raw/{s}.h5}}\n" for i, s in enumerate("abc"))
        return self.write("cycle.yaml", "sample: test\nstates:\n" + rows + more)

    def aligned(self, *names):
        with h5py.File(self.at(*names, "align.h5")) as f:
            return f["entry/aligned/data"][...]

    def test_a_cycle_is_aligned_alike_on_any_ranks_and_segmented_from_it(self):
        path = self.make_cycle(cloud((-1.5, 0.4, 0.9), 3))
        for ranks, out in ((0, "one"), (3, "three")):
            self.ends(call("run", path, "--output", self.at(out), "--quiet", "--until", "segment", ranks=ranks), 0)
        with open(self.at("one/summary.csv")) as f:
            rows = {(r["state"], r["result"]): float(r["value"]) for r in csv.DictReader(f) if r["stage"] == "align"}
        for state, shift in (("b", (0.6, -1.3, 2.25)), ("c", (-1.5, 0.4, 0.9))):
            for axis, want in zip("zyx", shift):
                self.assertAlmostEqual(rows[state, f"shift_{axis}_px"], want, delta=0.05)
            self.assertGreater(rows[state, "quality"], 0.9)
        first = self.aligned("one/a")
        self.assertTrue(np.array_equal(first, cloud()))
        inner = (slice(5, -5),) * 3
        for state in "bc":
            self.assertTrue(np.array_equal(self.aligned("one", state), self.aligned("three", state)))
            self.assertGreater(np.corrcoef(first[inner].ravel(), self.aligned("one", state)[inner].ravel())[0, 1], 0.98)
            with h5py.File(self.at("one", state, "segment.h5")) as f:
                record = f["entry/process/effective_yaml/data"][()].decode()
                self.assertIn(f"{state}/align.h5", record)
        before = os.stat(self.at("one/b/align.h5")).st_mtime_ns
        os.unlink(self.at("one/align.h5"))  # as if killed before the table: finished states stay
        self.ends(call("run", path, "--output", self.at("one"), "--quiet", "--until", "segment"), 0)
        self.assertEqual(os.stat(self.at("one/b/align.h5")).st_mtime_ns, before)
        with open(self.at("one/summary.csv")) as f:
            again = {(r["state"], r["result"]): float(r["value"]) for r in csv.DictReader(f) if r["stage"] == "align"}
        self.assertEqual(rows, again)
        self.assertEqual(self.units("one")["b/segment"], "kept")
        os.unlink(self.at("one/c/align.h5"))  # made again, and no other
        self.ends(call("run", path, "--output", self.at("one"), "--quiet", "--until", "segment", "--dry-run"), 0)
        self.assertTrue(os.path.exists(self.at("one/align.h5")))
        self.ends(call("run", path, "--output", self.at("one"), "--quiet", "--until", "segment", ranks=2), 0)
        self.assertEqual(os.stat(self.at("one/b/align.h5")).st_mtime_ns, before)
        self.assertTrue(np.array_equal(self.aligned("one/c"), self.aligned("three/c")))
        self.assertEqual((self.units("one")["all/align"], self.units("one")["c/segment"]), ("done", "kept"))

    def test_a_state_that_does_not_match_is_refused_with_6_and_left_unaligned(self):
        path = self.make_cycle(np.random.default_rng(9).normal(0, 1, SHAPE).astype("f4"))
        result = call("run", path, "--output", self.at("out"), "--quiet", "--until", "align", ranks=2)
        self.ends(result, 6, "c: correlation 0.", "1 of 2 volumes cannot be aligned")
        self.assertTrue(os.path.exists(self.at("out/b/align.h5")))
        self.assertFalse(os.path.exists(self.at("out/c/align.h5")))
        self.assertEqual(self.units()["all/align"], "below")
        self.ends(call("run", path, "--output", self.at("out"), "--quiet", "--until", "align"), 6, "c: correlation 0.")

    def test_by_hand_volumes_are_numbered(self):
        a, b = self.put("a.h5", cloud()), self.put("b.h5", cloud((0.6, -1.3, 2.25), 2))
        self.ends(call("align", "--volumes", a, b, "--mask-above", "0.4", "--rotation", "none", "--output", self.at("o.h5"),
                       "--json", self.at("o.json"), "--quiet", ranks=2), 0)
        with open(self.at("o.json")) as f:
            results = json.load(f)["results"]
        self.assertAlmostEqual(results["shift_x_px@2"]["value"], 2.25, delta=0.05)
        self.assertEqual(results["rotation_z_deg@2"]["state"], "held")
        for name in ("o.1.h5", "o.2.h5"):
            with h5py.File(self.at(name)) as f:
                self.assertEqual(f["entry/aligned/data"].shape, SHAPE)

    def test_volumes_larger_than_memory_go_in_rounds(self):
        shape = (88, 93, 97)
        a, b = (self.put(name, cloud(at, seed, shape=shape, blobs=250))
                for name, at, seed in (("a.h5", (0, 0, 0), 1), ("b.h5", (0.6, -1.3, 2.25), 2)))
        for box, mask, gb, same in (("24:68,25:70,26:71", "auto", 0.0065, True), ("all", "", 0.008, False)):
            words = ("align", "--volumes", a, b, "--box", box, "--most-px", 6, "--most-deg", 1, "--level-deg", "1,-2")
            words += ("--mask-above", mask) if mask else ()
            code, out, err = call(*words, "--output", self.at("whole.h5"), "--force", "--json", "-", "--quiet")
            self.ends((code, out, err), 0)
            whole = json.loads(out)["results"]
            for ranks in (1, 2, 3, 5) if same else (1, 3):
                more = ("--memory-gb", gb * ranks)
                _, said, _ = call("plan", *words, *more, "--json", "-", ranks=ranks)
                if ranks == 1:
                    self.assertGreater(json.loads(said)["results"]["rounds"]["value"], 5)
                code, out, err = call(*words, *more, "--output", self.at("rounds.h5"), "--force", "--json", "-", ranks=ranks)
                self.ends((code, out, err), 0)
                found = json.loads(out)["results"]
                self.assertEqual("means of 2 voxels" in err, not same, err)
                for i in (1, 2):
                    volumes = []
                    for name in ("whole", "rounds"):
                        with h5py.File(self.at(f"{name}.{i}.h5")) as f:
                            volumes.append(f["entry/aligned/data"][...])
                    if same or i == 1:
                        self.assertTrue(np.array_equal(*volumes), f"volume {i} on {ranks} ranks")
                    else:
                        self.assertLess(np.abs(volumes[0] - volumes[1]).max(), 0.01)
                if same:
                    self.assertEqual(found, whole)
                for axis, want in zip("zyx", (0.6, -1.3, 2.25)):
                    self.assertAlmostEqual(found[f"shift_{axis}_px@2"]["value"], want, delta=0.05)
                    self.assertAlmostEqual(found[f"shift_{axis}_px@2"]["value"], whole[f"shift_{axis}_px@2"]["value"], delta=0.002)
        self.ends(call("align", "--volumes", a, b, "--box", "all", "--most-px", 6, "--memory-gb", 0.012, "--quiet", ranks=2), 4, "are needed",
                  "GB are allowed")

    def test_mistakes_are_told(self):
        a, b = self.put("a.h5", cloud()), self.put("b.h5", cloud()[:-1])
        for words, code, hint in ((("--volumes", a, b), 2, "what keeps still"), (("--box", "all"), 2, "--volumes"),
                                  (("--volumes", a, b, "--box", "all"), 3, "29 voxels along z, the first volume has 30"),
                                  (("--volumes", a, "--box", "0:3,0:3"), 2, "A:B,A:B,A:B"),
                                  (("--volumes", a, "--box", "0:99,0:3,0:3"), 2, "outside 0:30"),
                                  (("--volumes", a, "--mask-above", "bright"), 2, "auto or a grey value"),
                                  (("--volumes", a, a, "--mask-above", "1e6"), 3, "nothing to align by")):
            self.ends(call("align", *words, "--quiet", ranks=2), code, hint)


    def tilt(self, name):
        """What segment finds of the interface of the bright phase."""
        code, out, err = call("segment", "--input", name, "--threshold", 0.5, "--phase", 1, "--slab", "auto", "--median", 0,
                              "--surfaces", "no", "--disc", "31,29,24", "--json", "-", "--quiet")
        self.assertEqual(code, 0, err)
        results = json.loads(out)["results"]
        return tuple(results[f"region_{k}"]["value"] for k in ("tilt_y_deg", "tilt_x_deg", "interface_vox"))

    def test_a_tilted_cell_is_found_and_levelled_in_every_state(self):
        z, y, x = np.indices((50, 60, 64)).astype("f4")
        want = (2.5, -1.5)
        names = []
        for name, shift in (("a", (0, 0, 0)), ("b", (1.4, -2.2, 0.7))):
            zs, ys, xs = z - shift[0], y - 29 - shift[1], x - 31 - shift[2]
            over = 25 + np.tan(np.radians(want[0])) * ys + np.tan(np.radians(want[1])) * xs - zs
            grey = np.clip(over + 0.5, 0, 1) * np.clip(17.5 - over, 0, 1)
            for at in ((12, 14, 18), (13, -16, -9), (11, 5, -20), (14, -8, 12)):  # what tells shifts within slices
                grey = grey + np.exp(-((zs - at[0]) ** 2 + (ys - at[1]) ** 2 + (xs - at[2]) ** 2) / 8)
            names.append(self.put(name + ".h5", grey.astype("f4")))
        found = self.tilt(names[0])
        for got, deg in zip(found, want):
            self.assertAlmostEqual(got, deg, delta=0.1)
        for ranks in (0, 3):
            self.ends(call("align", "--volumes", *names, "--box", "all", "--level-deg", f"{found[0]},{found[1]}", "--output",
                           self.at(f"l{ranks}.h5"), "--quiet", ranks=ranks), 0)
            level = [self.tilt(self.at(f"l{ranks}.{i}.h5")) for i in (1, 2)]
            for state in level:
                self.assertLess(max(abs(state[0]), abs(state[1])), 0.1, state)
            self.assertAlmostEqual(level[0][2], level[1][2], delta=0.1)
        for i in (1, 2):
            volumes = []
            for ranks in (0, 3):
                with h5py.File(self.at(f"l{ranks}.{i}.h5")) as f:
                    volumes.append(f["entry/aligned/data"][...])
            self.assertTrue(np.array_equal(*volumes))
        for ranks in (1, 3):
            self.ends(call("align", "--volumes", *names, "--box", "all", "--level-deg", "auto", "--output", self.at(f"a{ranks}.h5"),
                           "--json", self.at(f"a{ranks}.json"), "--quiet", ranks=ranks), 0)
            for i in (1, 2):
                state = self.tilt(self.at(f"a{ranks}.{i}.h5"))
                self.assertLess(max(abs(state[0]), abs(state[1])), 0.1, state)
            with open(self.at(f"a{ranks}.json")) as f:
                results = json.load(f)["results"]
            for axis, deg in zip("yx", want):
                row = results[f"level_{axis}_deg"]
                self.assertLess(abs(row["value"] - deg), 0.1)
                self.assertTrue(0 < row["sigma"] < 0.05, row)
        for i in (1, 2):
            volumes = []
            for ranks in (1, 3):
                with h5py.File(self.at(f"a{ranks}.{i}.h5")) as f:
                    volumes.append(f["entry/aligned/data"][...])
            self.assertTrue(np.array_equal(*volumes))
        self.ends(call("align", "--volumes", *names, "--box", "all", "--level-deg", "9,9", "--quiet"), 2, "auto, or TY,TX, together within 10 degrees")
        blobs = self.put("blobs.h5", cloud())
        self.ends(call("align", "--volumes", blobs, blobs, "--box", "all", "--level-deg", "auto", "--quiet", ranks=2), 3,
                  "no layers within 5 degrees of z are seen")


if __name__ == "__main__":
    unittest.main()
