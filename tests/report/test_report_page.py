"""The report: whole HTML, nothing loaded, hostile text harmless, what is missing said in its place. timeout: 900 sanitized: full"""
import csv, json, os, re, shutil, sys, tempfile, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
sys.path.insert(0, os.path.dirname(__file__))
from cycles import SANITIZED, Folder, call  # noqa: E402
from pages import Page, check_figures, png_shape  # noqa: E402

BLOCKS = ('segment: {threshold: "1.5", phase: 1}\nsurface: {phase: 1, block_vox: 4}\ntrack: {phase: 1}\n'
          'flux: {conducting: "1", direction: all}\n')


def layered(path, rise, n=24):
    """Metal below a wavy surface, float32 [n, n, n]."""
    noise = np.random.default_rng(1).normal(0, 0.05, (n, n, n))
    z, y, x = np.indices(noise.shape)
    with h5py.File(path, "w") as f:
        f["v"] = (noise + 1 + (z < 10 + rise + 2 * np.sin(x / 3.0) * np.cos(y / 4.0))).astype("f4")
        f["v"].attrs["voxel_um"] = [2.0, 2.0, 2.0]


def impedance(path, r_ct):
    w = 2 * np.pi * np.logspace(5, -1, 40)
    z = 20 + 1 / (1 / r_ct + 2e-5 * (1j * w) ** 0.9)
    with open(path, "w") as f:
        f.write("frequency_Hz,z_real_Ohm,z_imag_Ohm\n")
        f.writelines(f"{a / 2 / np.pi:.6e},{b.real:.6e},{b.imag:.6e}\n" for a, b in zip(w, z))


class Reported(Folder):
    def cycle_of(self, sample="cell 1", broken=None, states=(("new", 0, 0), ("half_full", 50, 1), ("full", 100, 2)), more=BLOCKS):
        os.makedirs(self.at("raw"), exist_ok=True)
        lines = []
        for k, (name, percent, rise) in enumerate(states):
            layered(self.at(f"raw/{name}.h5"), rise)
            impedance(self.at(f"raw/{name}.csv"), 100 + 50 * k)
            lines.append(f"  - {{name: {name}, percent: {percent}, step: charge, volume: raw/{name}.h5, impedance: raw/{name}.csv}}")
        if broken:
            self.write(f"raw/{broken}.h5", "this is no HDF5 file")
        return self.write("cycle.yaml", f"sample: {json.dumps(sample)}\nstates:\n" + "\n".join(lines) + "\n" + more)

    done = None  # one plain run serves all tests

    def run_cycle(self, **of):
        if of or not Reported.done:
            code, _, said = call("run", self.cycle_of(**of), "--output", self.at("out"), "--quiet", timeout=250)
            self.assertEqual(code, 0, said)
        if not of and not Reported.done:
            Reported.done = tempfile.mkdtemp(prefix="xcsct-")
            shutil.copytree(self.folder, Reported.done, dirs_exist_ok=True)
        elif not of:
            shutil.copytree(Reported.done, self.folder, dirs_exist_ok=True)
            kept = self.read("out/journal/cycle.yaml").split("\n", 1)[1]
            self.write("out/journal/cycle.yaml", f"# kept by run, from {self.at('cycle.yaml')}\n{kept}")
            self.ends(call("report", self.at("out"), "--quiet"), 0)

    @classmethod
    def tearDownClass(cls):
        if cls.done:
            shutil.rmtree(cls.done, ignore_errors=True)

    def page(self):
        text = self.read("out", "report.html")
        page = Page(text)
        self.assertEqual(page.faults, [])
        return page, text

    def test_the_page_is_whole_and_its_figures_open(self):
        self.run_cycle()
        page, text = self.page()
        counts = check_figures(self, self.at("out", "figures"))
        self.assertGreaterEqual(counts["svg"], 8, counts)
        self.assertGreaterEqual(counts["png"], 12, counts)
        for words in ("cell 1", "Answer", "Roughness Ra", "half full", "Growth of the lithium in three dimensions", "Quality checks",
                      "Versions and checksums"):
            self.assertIn(words, page.text())
        self.assertIn("prefers-color-scheme:dark", text)
        # the table says what the summary says
        with open(self.at("out/summary.csv")) as f:
            rows = {(r["state"], r["result"]): r for r in csv.DictReader(f)}
        for state in ("new", "half_full", "full"):
            row = rows[state, "Ra_um"]
            places = max(0, 1 - int(np.floor(np.log10(float(row["sigma"])))))
            self.assertIn(f"{float(row['value']):.{places}f} ± {float(row['sigma']):.{places}f}", page.text())
        self.assertEqual(png_shape(self.at("out/figures/ct_xy_new.png")), (24, 24))
        # by hand, on any ranks: the same page
        for ranks in (2, 3, 5) if not SANITIZED else (2,):
            self.ends(call("report", self.at("out"), "--quiet", ranks=ranks), 0)
            self.assertEqual(self.read("out", "report.html"), text, ranks)

    def test_hostile_text_is_shown_and_does_nothing(self):
        evil = "<script>alert('x')</script>\"&amp;<img src=x onerror=y>"
        self.run_cycle(sample=evil)
        status = self.status()
        status["units"][0]["why"] = evil
        status["units"][0]["is"] = "failed"
        self.write("out/status.json", json.dumps(status))
        with open(self.at("out/summary.csv"), "a") as f:
            f.write(f"new,surface,emf,1,0.1,,,<b>unit</b>,{evil}\n<i>state</i>,surface,Ra_um,1,0.1,,,um,\nnew,flux,r_<u>x,,,,,,<q>{evil}\n")
        self.ends(call("report", self.at("out"), "--quiet"), 0)
        page, text = self.page()
        self.assertNotIn("script", page.tags)
        self.assertNotIn("img", page.tags)
        self.assertIn(evil, page.text())
        self.assertNotIn("<b>unit", text)
        self.assertNotIn("<i>state", text)
        check_figures(self, self.at("out", "figures"))

    def test_what_failed_or_is_missing_is_said_and_the_rest_stands(self):
        code, _, said = call("run", self.cycle_of(broken="half_full"), "--output", self.at("out"), "--quiet", timeout=250)
        self.assertEqual(code, 3, said)
        page, text = self.page()
        cards = re.findall(r'<section class="card">.*?</section>', text, re.S)
        self.assertEqual(len(cards), 3)
        self.assertIn("failed", cards[1])
        self.assertIn("half_full.h5", cards[1])
        self.assertNotIn("failed", cards[0])
        self.assertIn("Roughness Ra", cards[0])
        self.assertIn("Roughness Ra", cards[2])
        # a state whose files are gone altogether, and one whose file is cut short
        shutil.rmtree(self.at("out", "full"))
        path = self.at("out", "new", "segment.h5")
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) // 2)
        self.ends(call("report", self.at("out"), "--quiet", ranks=2), 0)
        self.page()

    def test_a_folder_without_results_is_refused(self):
        os.makedirs(self.at("empty"))
        code, _, said = call("report", self.at("empty"), ranks=2)
        self.assertEqual(code, 3)
        self.assertEqual(said.count("xcsct: error:"), 1, said)
        self.assertIn("no results", said)
        self.assertEqual(os.listdir(self.at("empty")), [])
        self.assertEqual(call("report")[0], 2)

    def test_the_truth_stands_beside_the_results_with_pulls(self):
        self.run_cycle()
        with open(self.at("out/summary.csv")) as f:
            rows = {(r["state"], r["result"]): r for r in csv.DictReader(f)}
        row = rows["full", "R_ct"]
        value, sigma = float(row["value"]), float(row["sigma"])
        truth = {"states": {"full": {"R_ct": {"value": value + 2.5 * sigma, "unit": "Ohm"}}}}
        self.write("truth.json", json.dumps(truth))
        code, told, said = call("report", self.at("out"), "--truth", self.at("truth.json"), "--quiet")
        self.assertEqual(code, 0, said)
        line = [l for l in told.splitlines() if l.startswith("full/R_ct")]
        self.assertTrue(line and line[0].endswith("-2.50"), told)
        page, _ = self.page()
        self.assertIn("−2.5 σ", page.text())

    def test_rows_of_a_sweep_stand_side_by_side(self):
        self.run_cycle()
        self.write("out/sweep.csv", "row,flux.conducting,flux.box,state,stage,result,value,sigma,lower,upper,unit,remark\n"
                   '0,"1","all",new,flux,effective_diffusivity_z,0.43712,,0.43706,0.43712,,\n'
                   '1,"1,2","2:9,0:9,0:9",full,flux,effective_diffusivity_z,0.97899,,0.97895,0.97899,,\n'
                   '1,"1,2","2:9,0:9,0:9",full,recon,centre_px,8,,,,px,\n')
        self.ends(call("report", self.at("out"), "--quiet"), 0)
        page, text = self.page()
        self.assertRegex(text, r'<td class="l">1,2</td><td class="l">2:9,0:9,0:9</td><td class="l">full</td><td '
                               r'class="l">effective_diffusivity_z</td><td>0.97899 \[0.97895, 0.97899\]</td>')
        self.assertIn("0.43712 [0.43706, 0.43712]", page.text())
        self.assertNotIn("centre_px</td>", text)
        code, _, said = call("report", self.at("out"), "--sweep", self.at("none.csv"), "--quiet", ranks=2)
        self.assertEqual(code, 3, said)

    def test_a_fault_on_any_rank_ends_all(self):
        self.run_cycle()
        before = self.read("out", "report.html")
        for rank in (0, 1):
            code, _, said = call("report", self.at("out"), ranks=2, env={"FAULT": f"report.page:{rank}"}, timeout=60)
            if code == 0:
                self.skipTest("built without XCSCT_FAULTS")
            self.assertEqual(code, 1)
            self.assertEqual(said.count("xcsct: error:"), 1, said)
            self.assertEqual(self.read("out", "report.html"), before)


if __name__ == "__main__":
    unittest.main()
