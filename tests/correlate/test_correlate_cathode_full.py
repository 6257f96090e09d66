"""What counting of 500 s allows to see of the components: from pristine to fully charged the cathode's factor falls while
those of the regions rise, and the lithium's stays. Each state is unmixed with the volume fractions that were put into it,
so that the errors are those of counting alone; eight cells are taken together.
label: full
timeout: 3600"""
import concurrent.futures, csv, json, math, os, sys, unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

SEEDS = range(1, 9)
# 600 counts of lithium in the middle pixel: with absorption and background means of 560 (anode) to 1110 (cathode) in 500 s
TWIN = ("twin", "--ct", "no", "--frames", 0, "--xcs-counts", 600, "--quiet")
PAIR = ("pristine", "fully_charged")
COMPONENTS = ("Li", "SPE", "cathode")
NAMES = ("field_emf_region2", "field_emf_region3", "emf_Li", "emf_cathode")
CYCLE = """sample: one state
beam: {{energy_keV: 115, beam_deg: 90}}
states:
  - name: {state}
    percent: {percent}
    step: charge
    compton:
{slabs}calibration: {{disc: raw/disc.h5, disc_exposure_s: 83333.3}}
correlate: {{fractions: "{fractions}", fraction_error: 0, calibration_percent: 0, radii_mm: "8,9,7"}}
"""


class Cathode(Folder):
    def numbers(self, folder, state, truth):
        """Value and error of each name, the state unmixed by its own fractions."""
        fractions = ";".join(",".join(f"{truth[f'fraction_{c}_region{r}']['value']:.6g}" for c in COMPONENTS)
                             for r in (1, 2, 3))
        slabs = "".join(f"      - {{region: r{r}, z_um: {z}, spectra: [raw/{state}_r{r}.h5], exposure_s: 500}}\n"
                        for r, z in ((1, 104), (2, 41), (3, 14)))
        cycle = os.path.join(folder, f"{state}.yaml")
        with open(cycle, "w") as f:
            f.write(CYCLE.format(state=state, percent=100 * PAIR.index(state), slabs=slabs, fractions=fractions))
        out = os.path.join(folder, f"out_{state}")
        code, _, said = call("run", cycle, "--stages", "compton,correlate", "--report", "no", "--output", out, "--quiet",
                             timeout=1200)
        self.assertEqual(code, 0, said)
        with open(os.path.join(out, "summary.csv")) as f:
            rows = {row["result"]: row for row in csv.DictReader(f)}
        return {name: (float(rows[name]["value"]), float(rows[name]["sigma"])) for name in NAMES}

    def changes(self, seed):
        """Of each name: change, its error, the change that was put in (NaN of regions: correlate's field is not the
        twin's)."""
        folder = self.at(str(seed))
        code, _, said = call(*TWIN, "--seed", seed, "--output", folder, timeout=600)
        self.assertEqual(code, 0, said)
        with open(os.path.join(folder, "truth.json")) as f:
            states = json.load(f)["states"]
        first, last = (self.numbers(folder, state, states[state]) for state in PAIR)
        for name in os.listdir(os.path.join(folder, "raw")):
            os.unlink(os.path.join(folder, "raw", name))
        put_in = {name: states[PAIR[1]][name]["value"] - states[PAIR[0]][name]["value"] if "region" not in name else math.nan
                  for name in NAMES}
        return {name: (last[name][0] - first[name][0], math.hypot(last[name][1], first[name][1]), put_in[name])
                for name in NAMES}

    def test_the_cathode_changes_against_the_regions_and_lithium_does_not(self):
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            cells = list(two.map(self.changes, SEEDS))
        n, together, pull, alone = len(cells), {}, {}, {}
        for name in NAMES:
            change, error, put_in = np.array([cell[name] for cell in cells]).T
            together[name] = np.sum(change / error ** 2) / math.sqrt(np.sum(1 / error ** 2))
            alone[name] = float(np.mean(put_in / error))
            pull[name] = (change - put_in) / error
            print(f"{name}: change {np.mean(change):+.4f}, one cell's error {np.mean(error):.4f} (scatter "
                  f"{np.std(change, ddof=1):.4f}), put in {put_in[0]:+.4f}, which is {alone[name]:+.2f} sigma of one cell; "
                  f"{n} cells together {together[name]:+.2f} sigma, mean pull {np.mean(pull[name]):+.2f}, "
                  f"rms {np.sqrt(np.mean(pull[name] ** 2)):.2f}", file=sys.stderr)
        for name in ("field_emf_region2", "field_emf_region3"):
            self.assertGreater(together[name], 3, name)
        # one cell does not tell the cathode's change, eight do: 5 % on one side
        self.assertLess(together["emf_cathode"], -1.645)
        self.assertTrue(-1.4 < alone["emf_cathode"] < -0.9, alone)
        self.assertLess(abs(together["emf_Li"]), 2.576)
        for name in ("emf_Li", "emf_cathode"):
            self.assertLess(abs(np.mean(pull[name])) * math.sqrt(n), 2.576, name)
            # 0.5 % and 99.5 % of chi-square with 8 degrees of freedom
            self.assertTrue(1.34 < np.sum(pull[name] ** 2) < 21.96, (name, pull[name]))


if __name__ == "__main__":
    unittest.main()
