"""The whole chain on a small twin: truth, rank counts, resuming, and the program's own words.
timeout: 1800 sanitized: full"""
import csv, json, os, re, shutil, sys, tempfile, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import SANITIZED, Folder, call  # noqa: E402


class Chain(Folder):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="xcsct-")
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.twin = os.path.join(cls.shared, "twin")
        code, _, said = call("twin", "--size", "small", "--output", cls.twin, "--quiet", ranks=3, timeout=600)
        assert code == 0, said

    def again_on_one_rank(self, cycle):
        """Everything but the spectra of all states save one, which are the most work (test_app_chain_full.py: all)."""
        shutil.copytree(self.at("out"), self.at("three"))
        for folder, _, names in os.walk(self.at("out")):
            for name in names:
                if name.endswith(".h5") and (name != "compton.h5" or folder == self.at("out/charging_I")):
                    os.unlink(os.path.join(folder, name))
        self.ends(call("run", cycle, "--output", self.at("out"), "--quiet", timeout=600), 0)
        units = self.units()
        self.assertEqual((units["pristine/recon"], units["all/align"], units["all/correlate"]), ("done",) * 3)
        self.assertEqual((units["pristine/compton"], units["charging_I/compton"]), ("kept", "done"))
        return "three", "out"

    def test_the_twin_s_truth_comes_out_within_its_errors_on_any_ranks(self):
        cycle = os.path.join(self.twin, "cycle.yaml")
        self.ends(call("run", cycle, "--output", self.at("out"), "--quiet", ranks=3, timeout=600), 0)
        with open(os.path.join(self.twin, "truth.json")) as f:
            truth = json.load(f)["states"]
        with open(self.at("out/summary.csv")) as f:
            rows = {(r["state"], r["result"]): r for r in csv.DictReader(f)}
        roughness = []
        for state in ("pristine", "fully_charged", "fully_discharged"):
            for name in ("Ra_um", "Rq_um", "R_s", "R_ct"):
                row = rows[state, name]
                pull = (float(row["value"]) - truth[state][name]["value"]) / float(row["sigma"])
                self.assertLess(abs(pull), 4, (state, name, row["value"], truth[state][name]["value"]))
            self.assertAlmostEqual(float(rows[state, "Ra_um"]["value"]), truth[state]["Ra_um"]["value"], delta=0.25)
            roughness.append(float(rows[state, "Ra_um"]["value"]))
            for phase in range(4):
                name = f"phase_fraction_{phase}"
                # voxels that the can's and the layers' edges cross have greys of other phases: 8 % is what thresholds give
                self.assertAlmostEqual(float(rows[state, name]["value"]), truth[state][name]["value"], delta=0.08)
            for axis in "zyx":
                tau = rows[state, "tortuosity_factor_" + axis]
                low, high = float(tau["lower"]), float(tau["upper"])
                self.assertTrue(low <= float(tau["value"]) <= high and 1 <= high < 1.6 and high / low < 1.0003, tau)
        for state in ("fully_charged", "fully_discharged"):
            for axis in "zyx":  # voxels of 3.24 um; the can is round, so its turn is held
                shift = float(rows[state, f"shift_{axis}_px"]["value"])
                self.assertAlmostEqual(shift, truth[state][f"shift_{axis}_um"]["value"] / 3.24, delta=0.06)
            self.assertGreater(float(rows[state, "quality"]["value"]), 0.98)
        self.assertLess(roughness[0], roughness[2], "the anode is rougher after the cycle")
        self.correlated(rows, truth)
        if SANITIZED:
            return
        self.same_bits(*self.again_on_one_rank(cycle))

    def same_bits(self, three, one):
        """What three ranks and one have made is the same to the bit, but for the flux."""
        for state, stage, product in (("charging_I", "compton", "emf"), ("charging_I", "compton", "profile"),
                                      *((state, *of) for state in ("pristine", "fully_discharged") for of in (
                                          ("recon", "volume"), ("align", "aligned"), ("segment", "labels"),
                                          ("segment", "components"), ("surface", "height")))):
            with h5py.File(self.at(three, state, stage + ".h5")) as a, h5py.File(self.at(one, state, stage + ".h5")) as b:
                same = np.array_equal(a[f"entry/{product}/data"][...], b[f"entry/{product}/data"][...], equal_nan=True)
                self.assertTrue(same, (state, product))
        with h5py.File(self.at(three, "correlate.h5")) as a, h5py.File(self.at(one, "correlate.h5")) as b:
            flux = 14  # correlate_maps.def: it agrees within its interval, all others have the same bits
            for name in ("data", "data_errors"):
                first, other = (np.delete(f[f"entry/maps/{name}"][...], flux, 1) for f in (a, b))
                self.assertTrue(np.array_equal(first, other, equal_nan=True), ("correlate", name))
            first, other = (f["entry/maps/data"][:, flux] for f in (a, b))
            self.assertGreater(np.isfinite(first).sum(), 0)
            # a solution whose D_eff is right to 1e-4 is right to the root of that from place to place
            np.testing.assert_allclose(first, other, rtol=1e-2)

    def correlated(self, rows, truth):
        """What the imposed truth does in the momentum factors comes out, and where nothing was imposed nothing does."""
        number = lambda state, name: (float(rows[state, name]["value"]), float(rows[state, name]["sigma"]))
        for state in truth:
            for name in truth[state]:
                if not re.fullmatch("emf_(Li|SPE|cathode)|fraction_.*", name) or not float(rows[state, name]["sigma"]) > 0:
                    continue
                value, sigma = number(state, name)
                self.assertLess(abs(value - truth[state][name]["value"]), 4 * sigma, (state, name, value, sigma))
        up = [number(s, "field_emf_region2")[0] for s in ("pristine", "charging_I", "charging_II", "fully_charged")]
        down = [number(s, "field_emf_region2")[0] for s in ("fully_charged", "discharging_II", "fully_discharged")]
        self.assertEqual(up, sorted(up), "region 2 rises on charge")
        self.assertEqual(down, sorted(down, reverse=True), "region 2 falls on discharge")
        lithium = [number(s, "emf_Li")[0] for s in truth]
        self.assertLess(max(lithium) - min(lithium), 0.02, "the lithium itself stays what it is")
        fixed = [number(s, "emf_cathode_fixed")[0] for s in ("pristine", "fully_charged")]
        own = [number(s, "emf_cathode")[0] for s in ("pristine", "fully_charged")]
        self.assertGreater(fixed[1] - fixed[0], 0.02, "fractions held fixed mistake the rise for chemistry")
        self.assertLess(own[1] - own[0], 0.01)
        for state in truth:
            if state == "pristine":
                continue
            value, sigma = number(state, "left_right_change_region2")
            if state.startswith("discharging") or state == "fully_discharged":
                self.assertGreater(value, 5 * sigma, "the right half keeps its lithium on discharge")
            else:
                self.assertLess(abs(value), 4 * sigma, "halves alike on charge")
        self.assertLess(abs(number("all", "slab_shift_um")[0]), 2)
        for state, low in (("fully_charged", False), ("fully_discharged", True)):
            row = rows[state, "r_emf_region2_growth"]
            self.assertEqual(float(row["lower"]) > 0, low, row)

    def test_the_twin_is_the_same_on_any_rank_count(self):
        if SANITIZED:
            self.skipTest("slow under sanitizers")
        one, three = self.at("twin"), self.twin
        self.ends(call("twin", "--output", one, "--quiet", ranks=1, timeout=600), 0)
        for name in ("cycle.yaml", "truth.json", "raw/pristine_eis.csv"):
            self.assertEqual(self.read(one, name), self.read(three, name))
        for name, data in (("pristine_ct.nxs", "entry/instrument/detector/data"), ("charging_II_r2.h5", "pixel_spectra")):
            with h5py.File(f"{one}/raw/{name}") as a, h5py.File(f"{three}/raw/{name}") as b:
                self.assertTrue(np.array_equal(a[data][...], b[data][...]))
        with h5py.File(f"{one}/raw/pristine_ct.nxs") as a:
            self.assertEqual(a["entry/definition"][()], b"NXtomo")
        with open(f"{one}/raw/pristine_r2.bin", "rb") as a, open(f"{three}/raw/pristine_r2.bin", "rb") as b:
            self.assertEqual(a.read(), b.read())


class Words(Folder):
    def test_version_names_revision_libraries_and_instruction_set(self):
        code, out, err = call("--version")
        self.assertEqual((code, err), (0, ""))
        for word in ("xcsct ", "revision", "HDF5 1.", "PETSc 3.", "FFTW 3.", "instruction set: "):
            self.assertIn(word, out)

    def test_mistakes_end_with_2_on_every_rank_and_name_the_nearest(self):
        for words, hint in ((("segmnt",), "did you mean segment"), (("segment", "--clases", "3"), "did you mean --classes"),
                            (("segment", "--classes", "99"), "lies outside 2..5"), (("segment", "--classes"), "needs a value"),
                            (("segment", "loose"), "belongs to no option"), (("segment",), "--input"),
                            (("flux", "--input", "x", "--isa", "sse"), "auto|baseline|avx2|avx512")):
            for ranks in (0, 3):
                self.ends(call(*words, ranks=ranks), 2, hint)

    def test_a_typo_in_a_yaml_file_is_told_with_its_place(self):
        path = self.write("p.yaml", "segment:\n  clases: 3\n")
        self.ends(call("segment", "--config", path, "--input", "x"), 2, "p.yaml:2:3", "did you mean classes?", "  clases: 3", "^")

    def test_help_lists_every_option_with_its_default(self):
        code, out, err = call("help", "surface")
        self.assertEqual((code, err), (0, ""))
        for word in ("--voxel-um", "--subvoxel", "(default: auto)", "--memory-gb"):
            self.assertIn(word, out)

    def test_json_goes_to_standard_output_and_the_table_to_the_other(self):
        with h5py.File(self.at("v.h5"), "w") as f:
            f["v"] = np.arange(64, dtype="f4").reshape(4, 4, 4)
        code, out, err = call("segment", "--input", self.at("v.h5"), "--median", 0, "--json", "-", ranks=2)
        self.assertEqual(code, 0, err)
        results = json.loads(out)["results"]
        self.assertEqual(results["components"]["value"], 1)
        self.assertAlmostEqual(results["phase_fraction_0"]["value"], 0.5, delta=0.02)
        self.assertIn("phase_fraction_0", err)

    def test_memory_that_is_not_there_is_refused_before_reading(self):
        with h5py.File(self.at("v.h5"), "w") as f:
            f.create_dataset("v", (500, 500, 500), "f4", chunks=(10, 500, 500))
        self.ends(call("segment", "--input", self.at("v.h5"), "--memory-gb", "0.1"), 4, "are needed", "--memory-gb")

    def test_surface_needs_a_voxel_size_and_a_volume_for_sub_voxels(self):
        with h5py.File(self.at("l.h5"), "w") as f:
            f["l"] = np.ones((4, 4, 4), "u1")
        self.ends(call("surface", "--labels", self.at("l.h5")), 2, "--voxel-um")
        self.ends(call("surface", "--labels", self.at("l.h5"), "--voxel-um", 1, "--subvoxel", "yes"), 2, "--volume")

    def test_values_that_cannot_be_classified_are_named(self):
        for name, data, word in (("nan", [[[1, float("nan")]]], "is NaN"), ("flat", [[[1, 1]]], "constant")):
            with h5py.File(self.at(name + ".h5"), "w") as f:
                f["v"] = np.array(data, "f4")
            self.ends(call("segment", "--input", self.at(name + ".h5"), "--output", self.at("s.h5"), ranks=2), 3, word)
            self.assertFalse(os.path.exists(self.at("s.h5")))


if __name__ == "__main__":
    unittest.main()
