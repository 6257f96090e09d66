"""The flux command: exit codes, JSON, files, messages. timeout: 300"""
import json
import os
import sys
import unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from files import Files, flux


class Flux(Files):
    def test_a_straight_channel_has_tortuosity_one_from_labels_of_any_type(self):
        labels = np.zeros((12, 8, 6))
        labels[:, 2:5, 1:3] = 7
        for kind in ("u1", "u2", "i2", "i4", "i8", "f4"):
            name = self.write(labels.astype(kind))
            r = self.results(flux("--input", name, "--conducting", 7, "--json", "-"))
            self.assertAlmostEqual(r["tortuosity_factor"]["value"], 1, 3)
            self.assertAlmostEqual(r["volume_fraction"]["value"], 6 / 48, 12)
            self.assertLessEqual(r["effective_diffusivity"]["lower"], 6 / 48 + 1e-15)
            self.assertGreaterEqual(r["effective_diffusivity"]["upper"], 6 / 48 - 1e-15)

    def test_a_dead_end_is_infinite_and_fine(self):
        labels = np.ones((9, 5, 5), "u1")
        labels[4] = 0
        name = self.write(labels)
        done = flux("--input", name, "--conducting", 1, "--direction", "all", "--json", "-")
        r = self.results(done)
        self.assertEqual(r["effective_diffusivity_z"]["value"], 0)
        self.assertIsNone(r["tortuosity_factor_z"]["value"])
        self.assertEqual(r["tortuosity_factor_z"]["state"], "infinite")
        self.assertEqual(r["percolating_fraction_z"]["value"], 0)
        self.assertAlmostEqual(r["effective_diffusivity_y"]["value"], 8 / 9, 4)
        self.assertIn("no conducting path", done.stderr)

    def test_fields_are_conservative_and_their_mean_is_the_diffusivity(self):
        random = np.random.default_rng(5)
        labels = (random.random((21, 18, 19)) < 0.6).astype("u1")
        name, out = self.write(labels), self.path("out.h5")
        for ranks in (1, 3):
            for axis, word in enumerate("zyx"):
                r = self.results(flux("--input", name, "--conducting", 1, "--direction", word, "--tolerance", 1e-6,
                                      "--output", out, "--json", "-", ranks=ranks))
                with h5py.File(out) as f:
                    q = [f[f"/entry/flux_{a}/data"][:].astype("f8") for a in "zyx"]
                    c = f["/entry/concentration/data"][:]
                    size = f["/entry/flux/data"][:]
                for a in range(3):
                    self.assertEqual(q[a].shape[a], labels.shape[a] + 1)
                    if a != axis:
                        self.assertEqual(abs(np.take(q[a], [0, -1], a)).max(), 0)
                net = sum(np.diff(q[a], axis=a) for a in range(3))
                self.assertLess(abs(net).max(), 1e-5)
                means = q[axis].mean(tuple(a for a in range(3) if a != axis))
                d = r["effective_diffusivity"]
                self.assertLess(np.ptp(means), 1e-6)
                self.assertLess(abs(means[0] / d["value"] - 1), 1e-3)
                self.assertEqual((abs(size) > 0).sum() > 0, True)
                inside = c[np.isfinite(c)]
                self.assertTrue(((inside > 0) & (inside < 1)).all())
                self.assertTrue((np.isfinite(c) <= (labels == 1)).all())

    def test_not_converged_is_exit_six_with_the_interval(self):
        random = np.random.default_rng(7)
        name, out = self.write((random.random((30, 30, 30)) < 0.5).astype("u1")), self.path("o.h5")
        done = flux("--input", name, "--conducting", 1, "--tolerance", 1e-9, "--iterations-max", 1, "--output", out,
                    "--json", self.path("o.json"))
        self.assertEqual(done.returncode, 6, done.stderr)
        with open(self.path("o.json")) as f:
            d = json.load(f)["results"]["effective_diffusivity"]
        self.assertLess(0, d["lower"])
        self.assertLess(d["lower"], d["upper"])
        self.assertTrue(os.path.exists(out))

    def test_box_and_mask(self):
        labels = np.ones((10, 12, 14), "u1")
        labels[:, 6:] = 0
        mask = np.ones(labels.shape, "u1")
        mask[:, 6:] = 0
        name, over = self.write(labels), self.write(mask, "mask.h5")
        r = self.results(flux("--input", name, "--conducting", 1, "--json", "-"))
        self.assertAlmostEqual(r["volume_fraction"]["value"], 0.5, 12)
        r = self.results(flux("--input", name, "--conducting", 1, "--mask", over, "--json", "-"))
        self.assertAlmostEqual(r["volume_fraction"]["value"], 1, 12)
        self.assertAlmostEqual(r["effective_diffusivity"]["value"], 1, 3)
        r = self.results(flux("--input", name, "--conducting", 1, "--box", "2:9,3:9,0:14", "--json", "-"))
        self.assertAlmostEqual(r["volume_fraction"]["value"], 0.5, 12)

    def test_phases_of_their_own_diffusivity(self):
        labels = np.zeros((10, 6, 6), "u1")
        labels[5:] = 2
        name = self.write(labels)
        r = self.results(flux("--input", name, "--diffusivity", "0=1,2=10", "--json", "-"))
        self.assertAlmostEqual(r["effective_diffusivity"]["value"], 2 / 1.1, 3)
        r = self.results(flux("--input", name, "--diffusivity", "0=1,2=10", "--direction", "x", "--json", "-"))
        self.assertAlmostEqual(r["effective_diffusivity"]["value"], 5.5, 3)
        self.assertAlmostEqual(r["tortuosity_factor"]["value"], 1, 3)

    def test_solvers_agree(self):
        random = np.random.default_rng(11)
        name = self.write((random.random((24, 25, 23)) < 0.55).astype("u1"))
        got = []
        for solver in ("multigrid", "krylov", "gamg", "boomeramg"):
            r = self.results(flux("--input", name, "--conducting", 1, "--tolerance", 1e-7, "--solver", solver, "--json", "-"))
            got.append(r["effective_diffusivity"])
        self.assertLessEqual(max(g["lower"] for g in got), min(g["upper"] for g in got))

    def test_options_of_petsc_as_a_block_and_diffusivities_too(self):
        name = self.write((np.random.default_rng(2).random((12, 11, 10)) < 0.6).astype("u1"))
        with open(self.path("p.yaml"), "w") as f:
            f.write("flux:\n  solver: gamg\n  diffusivity: {0: 0.5, 1: 1}\n  petsc_options:\n    pc_gamg_threshold: 0.02\n"
                    "    ksp_type: cg\n")
        r = self.results(flux("--config", self.path("p.yaml"), "--input", name, "--json", "-"))
        own = self.results(flux("--input", name, "--diffusivity", "0=0.5,1=1", "--json", "-"))
        a, b = r["effective_diffusivity"], own["effective_diffusivity"]
        self.assertLessEqual(max(a["lower"], b["lower"]), min(a["upper"], b["upper"]))
        with open(self.path("p.yaml"), "a") as f:
            f.write("    pc_gamg_treshold: 0.1\n")
        done = flux("--config", self.path("p.yaml"), "--input", name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("-pc_gamg_treshold", done.stderr)

    def test_too_many_unknowns_for_petsc_is_said_before_any_work(self):
        with h5py.File(self.path("huge.h5"), "w") as f:
            f.create_dataset("labels", (1300, 1300, 1300), "u1", chunks=(1, 1300, 1300))  # no bytes behind it
        done = flux("--input", self.path("huge.h5"), "--conducting", 1, "--solver", "gamg", "--memory-gb", 1e5)
        if "are labelled" in done.stderr:
            self.skipTest("a build with 64-bit indices")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("64-bit", done.stderr)
        done = flux("--input", self.path("huge.h5"), "--conducting", 1, "--memory-gb", 10)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("GB per rank are needed", done.stderr)

    def test_bad_input_is_one_message(self):
        labels = np.ones((6, 6, 1))
        labels[0] = 0.5
        fractions, flat = self.write(labels, "a.h5"), self.write(np.ones((6, 6, 1), "u1"), "b.h5")
        out = self.path("never.h5")
        cases = [
            (3, "labels", ["--input", fractions, "--conducting", 1]),
            (2, "label 1", ["--input", flat, "--diffusivity=1=-2"]),
            (2, "labelled 9", ["--input", flat, "--conducting", "1,9"]),
            (3, "along x", ["--input", flat, "--conducting", 1, "--direction", "x"]),
            (3, "65534", ["--input", self.write(np.ones((65536, 2, 2), "u1"), "c.h5"), "--conducting", 1]),
            (2, "voxel", ["--input", flat, "--conducting", 1, "--voxel-um", "nan"]),
            (2, "conducting", ["--input", flat]),
            (2, "box", ["--input", flat, "--conducting", 1, "--box", "0:7,0:6,0:1"]),
            (2, "no_such_thing", ["--input", flat, "--conducting", 1, "--solver", "gamg", "--petsc-options=-no_such_thing 3"]),
            (3, "nowhere", ["--input", self.path("nowhere.h5"), "--conducting", 1]),
        ]
        for code, word, words in cases:
            done = flux(*words, "--output", out)
            self.assertEqual(done.returncode, code, f"{words}: {done.stderr}")
            self.assertIn(word, done.stderr)
            self.assertFalse(os.path.exists(out))

    def test_a_fault_on_one_rank_ends_all(self):
        name = self.write(np.ones((12, 12, 12), "u1"))
        for site in ("flux.fine", "flux.graph", "flux.coarsen", "flux.merge", "flux.route", "flux.krylov"):
            os.environ["FAULT"] = f"{site}:1"
            try:
                done = flux("--input", name, "--conducting", 1, "--solver", "krylov", ranks=2)
            finally:
                del os.environ["FAULT"]
            if done.returncode == 0:
                self.skipTest("not a test build")
            self.assertIn(site, done.stderr)


if __name__ == "__main__":
    unittest.main()
