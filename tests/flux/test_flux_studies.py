"""Tensor, electrode, sub-volumes, thresholds. timeout: 900 sanitized: full"""
import itertools
import os
import sys
import unittest

import h5py
import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as linear

sys.path.insert(0, os.path.dirname(__file__))
from files import Files, flux


def periodic_tensor(d, spacing):
    """By a direct solution, one voxel grounded per unit gradient; flux means give the tensor."""
    n, size = d.shape, d.size
    number = np.arange(size).reshape(n)
    rows, cols, values, force = [], [], [], np.zeros((3, size))
    faces = []
    for a in range(3):
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where((d > 0) & (np.roll(d, -1, a) > 0), 2 / (1 / d + 1 / np.roll(d, -1, a)), 0).ravel()
        p, q = number.ravel(), np.roll(number, -1, a).ravel()
        w = g / spacing[a] ** 2
        rows += [p, q, p, q]
        cols += [p, q, q, p]
        values += [w, w, -w, -w]
        # u falls by the spacing along +a under a unit gradient: u_p - u_q = chi_p - chi_q + h
        np.add.at(force[a], p, -w * spacing[a])
        np.add.at(force[a], q, w * spacing[a])
        faces.append((p, q, g, w))
    matrix = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (size, size))
    matrix = matrix + sparse.identity(size) * 1e-13 * matrix.diagonal().max()
    tensor = np.zeros((3, 3))
    for j in range(3):
        chi = linear.spsolve(matrix.tocsc(), force[j])
        for i in range(3):
            p, q, g, w = faces[i]
            tensor[i, j] = (g * ((chi[p] - chi[q]) / spacing[i] + (i == j))).mean()
    return tensor


class Studies(Files):
    def test_tensor_holds_a_direct_solution(self):
        random = np.random.default_rng(12)
        slanted = np.add.outer(np.add.outer(np.arange(9) * 2, np.arange(8)), np.arange(10)) % 5 < 3
        for labels, law, spacing in ((np.where(random.random((9, 8, 10)) < 0.75, 1, 0) * slanted, {1: 1.0}, (1, 1, 1)),
                                     (random.integers(0, 3, (6, 7, 8)), {0: 0.2, 1: 1.0, 2: 3.0}, (2.0, 1.0, 1.5))):
            d = np.zeros(labels.shape)
            for label, value in law.items():
                d[labels == label] = value
            truth = periodic_tensor(d, spacing)
            name = self.write(labels.astype("u1"))
            for ranks in (1, 3):
                r = self.results(flux("--input", name, "--diffusivity", ",".join(f"{k}={v}" for k, v in law.items()), "--tensor", "yes",
                                      "--voxel-um", ",".join(map(str, spacing[::-1])), "--tolerance", 1e-6, "--json", "-", ranks=ranks))
                for i, j in itertools.combinations_with_replacement(range(3), 2):
                    t = r["tensor_" + "zyx"[i] + "zyx"[j]]
                    slack = 1e-9 * truth.max()
                    self.assertLessEqual(t["lower"] - slack, truth[i, j], (i, j, ranks))
                    self.assertGreaterEqual(t["upper"] + slack, truth[i, j], (i, j, ranks))
                    self.assertLess(t["upper"] - t["lower"], 2e-5 * truth.max())
            self.assertGreater(abs(truth[0, 1]), 1e-4)

    def test_tensor_of_layers_is_series_and_parallel_and_none_where_nothing_winds_round(self):
        labels = np.ones((8, 6, 6), "u1")
        labels[4:] = 2
        r = self.results(flux("--input", self.write(labels), "--diffusivity", "1=1,2=4", "--tensor", "yes", "--json", "-"))
        for name, value in (("zz", 1.6), ("yy", 2.5), ("xx", 2.5), ("zy", 0), ("zx", 0), ("yx", 0)):
            self.assertLessEqual(r["tensor_" + name]["lower"], value + 1e-9)
            self.assertGreaterEqual(r["tensor_" + name]["upper"], value - 1e-9)
        labels[4:] = 0
        r = self.results(flux("--input", self.write(labels), "--conducting", 1, "--tensor", "yes", "--json", "-", ranks=2))
        self.assertLess(r["tensor_zz"]["upper"], 1e-8)
        self.assertEqual(r["tensor_zz"]["lower"], 0)
        self.assertAlmostEqual(r["tensor_xx"]["value"], 0.5, 4)

    def test_electrode_of_straight_pores_and_of_dead_ends(self):
        # two-dimensional pores of 10 voxels' width; values of an independent sparse solution, and of TauFactor's
        # scheme, whose ladder has whole instead of half resistors at its ends
        n, ladder = 100, 1 + 3 / 200 + 1 / 20000
        for length, truth, theirs in ((100, 1.0018255107625456, 0.98697), (75, 0.6014068485500138, 0.59249)):
            labels = np.zeros((n, n, 1), "u1")
            labels[:length, 45:55] = 1
            for side, data in (("low", labels), ("high", labels[::-1])):
                r = self.results(flux("--input", self.write(data), "--conducting", 1, "--electrode", side, "--tolerance", 1e-6,
                                      "--json", "-", ranks=2))
                tau = r["electrode_tortuosity"]
                self.assertLessEqual(tau["lower"], truth * (1 + 1e-9))
                self.assertGreaterEqual(tau["upper"], truth * (1 - 1e-9))
                self.assertLess(tau["upper"] / tau["lower"] - 1, 3e-6)
            self.assertAlmostEqual(tau["value"] / ladder, theirs, 4)
        r = self.results(flux("--input", self.write(np.ones((6, 6, 6), "u1")), "--conducting", 1, "--electrode", "low", "--json", "-"))
        self.assertEqual(r["electrode_tortuosity"]["state"], "no walls")
        self.assertIsNone(r["electrode_tortuosity"]["value"])

    def test_equal_sub_volumes_have_no_spread_and_unequal_ones_have(self):
        cell = (np.random.default_rng(8).random((16, 16, 16)) < 0.6).astype("u1")
        name, out = self.write(np.tile(cell, (4, 2, 2))), self.path("o.h5")
        for ranks in (1, 3):
            r = self.results(flux("--input", name, "--conducting", 1, "--representative", 100, "--output", out, "--fields", "none",
                                  "--tolerance", 1e-6, "--json", "-", ranks=ranks))
            alone = self.results(flux("--input", self.write(cell, "one.h5"), "--conducting", 1, "--tolerance", 1e-6, "--json", "-"))
            small = r["tortuosity_factor_of_16_vox"]
            self.assertAlmostEqual(small["value"] / alone["tortuosity_factor"]["value"], 1, 5)
            self.assertLess(small["sigma"], 1e-5)
            with h5py.File(out) as f:
                table = {k: v[:] for k, v in f["/entry/flux_representative"].items()}
            self.assertEqual(list(table["edge_z"]), [32, 16])
            self.assertEqual(list(table["boxes"]), [8, 16])
            self.assertEqual(list(table["percolating"]), [8, 16])
            self.assertTrue(np.allclose(table["conducting"], cell.mean()))
        striped = np.zeros((16, 32, 16), "u1")
        striped[:, :16] = 1
        r = self.results(flux("--input", self.write(striped), "--conducting", 1, "--representative", 8, "--representative-least-vox", 8,
                              "--output", out, "--force", "yes", "--json", "-"))
        with h5py.File(out) as f:
            table = {k: v[:] for k, v in f["/entry/flux_representative"].items()}
        self.assertEqual((table["boxes"][0], table["percolating"][0]), (8, 4))
        self.assertAlmostEqual(table["diffusivity"][0], 0.5, 4)
        self.assertAlmostEqual(table["diffusivity_sd"][0], np.std([0, 1] * 4, ddof=1), 4)

    def surfaces(self, labels, *words, ranks=0):
        conducting = int(labels.max())
        return self.results(flux("--input", self.write(labels.astype("u1")), "--conducting", conducting, "--surfaces", "yes", *words,
                                 "--json", "-", ranks=ranks))

    def test_areas_of_cubes_planes_and_spheres_and_lines_where_three_labels_meet(self):
        cube = np.zeros((20, 20, 20))
        cube[5:15, 5:15, 5:15] = 1
        for ranks in (1, 3):
            r = self.surfaces(cube, "--voxel-um", 2, ranks=ranks)
            self.assertAlmostEqual(r["contact_faces_0_1"]["value"], 0.075 / 2, 12)
            self.assertEqual(r["contact_faces_0_1"]["unit"], "1/um")
            self.assertEqual(r["triple_line"]["value"], 0)
        radius = 7
        z, y, x = np.ogrid[:20, :20, :20]
        ball = (z - 9.5) ** 2 + (y - 9.5) ** 2 + (x - 9.5) ** 2 <= radius ** 2
        truth = 4 * np.pi * radius ** 2 / 8000
        r = self.surfaces(ball)
        self.assertAlmostEqual(r["contact_faces_0_1"]["value"] / truth, 1.5201, 4)
        self.assertAlmostEqual(r["contact_0_1"]["value"] / truth, 1, delta=0.02)
        z, y, x = np.ogrid[:40, :60, :50]  # the same sphere in voxels of 2 x 1 x 1.5
        far = ((z - 19.5) * 2) ** 2 + (y - 29.5) ** 2 + ((x - 24.5) * 1.5) ** 2 <= 25 ** 2
        r = self.surfaces(far, "--voxel-um", "1.5,1,2", ranks=2)
        self.assertAlmostEqual(r["surface_1"]["value"] / (4 * np.pi * 625 / (40 * 60 * 50 * 3)), 1, delta=0.02)
        corners = np.zeros((2, 2, 2))
        corners[0] = 1
        corners[:, 0] = 2
        r = self.surfaces(corners)  # one line of two voxels; a third of the six edges inside
        self.assertAlmostEqual(r["triple_line"]["value"], 2 / 8, 12)
        self.assertAlmostEqual(r["triple_line_0_1_2"]["value"], 2 / 8, 12)
        wedge = np.zeros((6, 16, 10))
        wedge[:, :8, :5], wedge[:, :8, 5:] = 1, 2
        r = self.surfaces(wedge, ranks=2)
        self.assertAlmostEqual(r["triple_line"]["value"], 6 / wedge.size, 12)
        self.assertAlmostEqual(r["contact_faces_0_1"]["value"], 30 / wedge.size, 12)
        self.assertAlmostEqual(r["contact_faces_1_2"]["value"], 48 / wedge.size, 12)

    def test_a_threshold_a_little_lower_and_higher(self):
        grey = np.zeros((8, 40, 6), "f4")
        grey[:] = np.arange(40)[None, :, None]  # parallel plates: D_eff is the conducting share
        labels = (grey > 19.5).astype("u1")
        name, volume = self.write(labels), self.write(grey, "grey.h5", "volume")
        for ranks in (1, 2):
            r = self.results(flux("--input", name, "--conducting", 1, "--threshold-error", 4, "--threshold", 19.5, "--grey", volume,
                                  "--json", "-", ranks=ranks))
            d = r["effective_diffusivity_threshold"]
            self.assertAlmostEqual(d["value"], 20 / 40, 4)
            self.assertAlmostEqual(d["lower"], 16 / 40, 4)
            self.assertAlmostEqual(d["upper"], 24 / 40, 4)
            self.assertAlmostEqual(r["tortuosity_factor_threshold"]["value"], 1, 3)
        done = flux("--input", name, "--conducting", 1, "--threshold-error", 4, "--grey", volume)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--threshold", done.stderr)
        self.assertEqual(flux("--input", name, "--conducting", 1, "--threshold-error", 4, "--threshold", 19.5).returncode, 2)
        self.assertEqual(flux("--input", name, "--conducting", 1, "--threshold", 19.5).returncode, 2)
        small = self.write(grey[:4], "small.h5", "volume")
        self.assertEqual(flux("--input", name, "--conducting", 1, "--threshold-error", 4, "--threshold", 19.5, "--grey", small).returncode, 3)


if __name__ == "__main__":
    unittest.main()
