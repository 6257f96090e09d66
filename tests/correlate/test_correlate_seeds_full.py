"""Twenty made cells by their spectra alone: numbers whose errors are those of counting scatter as these say, and cells
that do not change raise alarms at the stated rate.
label: full
timeout: 3600"""
import concurrent.futures, csv, json, math, os, re, sys, unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

SEEDS = range(1, 21)
# counts of a pixel in 500 s, see twin's xcs_counts; frames are for the event chain alone
TWIN = ("twin", "--ct", "no", "--frames", 0, "--xcs-counts", 600, "--quiet")
STATES = ("pristine", "charging_I", "charging_II", "fully_charged", "discharging_I", "discharging_II", "fully_discharged")


def binomial_range(n, p, outside=0.001):
    """The counts that a binomial number leaves with at most this chance on either side."""
    chance = [math.comb(n, k) * p ** k * (1 - p) ** (n - k) for k in range(n + 1)]
    below = np.cumsum(chance)
    low = int(np.searchsorted(below, outside / 2))
    return low, int(np.searchsorted(below, 1 - outside / 2))


def chi2_range(n):
    """1 % and 99 % of chi-square with n degrees of freedom, by its sum of n normal squares (Wilson and Hilferty 1931,
    right to 0.2 at n = 20)."""
    return [n * (1 - 2 / (9 * n) + z * math.sqrt(2 / (9 * n))) ** 3 for z in (-2.3263, 2.3263)]


class Seeds(Folder):
    def cell(self, seed, change):
        """A cell made and evaluated: its folder."""
        folder = self.at(f"{change}{seed}")
        code, _, said = call(*TWIN, "--seed", seed, "--change", change, "--output", folder, timeout=600)
        self.assertEqual(code, 0, said)
        stages = "compton,correlate,echem" if change == "yes" else "compton,correlate"
        code, _, said = call("run", os.path.join(folder, "cycle.yaml"), "--stages", stages, "--report", "no", "--output",
                             os.path.join(folder, "out"), "--quiet", timeout=1200)
        self.assertEqual(code, 0, said)
        for name in os.listdir(os.path.join(folder, "raw")):
            os.unlink(os.path.join(folder, "raw", name))
        return folder

    def cells(self, change):
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            return list(two.map(lambda seed: self.cell(seed, change), SEEDS))

    def test_chi_square_of_numbers_with_counting_errors_lies_in_its_range(self):
        pulls = {}
        for folder in self.cells("yes"):
            with open(os.path.join(folder, "truth.json")) as f:
                truth = json.load(f)["states"]
            with open(os.path.join(folder, "out", "summary.csv")) as f:
                for row in csv.DictReader(f):
                    name = row["result"]
                    if not re.fullmatch(r"emf_region\d|emf_detector_region\d|R_s|R_ct", name) or not row["sigma"]:
                        continue
                    known = truth[row["state"]][name]["value"]
                    pulls.setdefault((row["state"], name), []).append((float(row["value"]) - known) / float(row["sigma"]))
        self.assertEqual(len(pulls), len(STATES) * 8)
        low, high = chi2_range(len(SEEDS))
        outside = {}
        for key, values in pulls.items():
            self.assertEqual(len(values), len(SEEDS), key)
            chi2 = sum(v * v for v in values)
            if not low <= chi2 <= high:
                outside[key] = (round(chi2, 1), round(float(np.mean(values)), 2))
        every = np.concatenate(list(pulls.values()))
        print(f"{len(pulls)} numbers, {len(SEEDS)} seeds: chi-square outside {low:.1f}..{high:.1f}: {outside}; "
              f"rms of all pulls {np.sqrt(np.mean(every ** 2)):.3f}, mean {np.mean(every):+.3f}", file=sys.stderr)
        self.assertLessEqual(len(outside), 0.05 * len(pulls), outside)

    def test_cells_without_change_raise_alarms_at_the_stated_rate(self):
        p = {"changes": [], "left_right_change": [], "moran_change": []}
        for folder in self.cells("no"):
            with open(os.path.join(folder, "out", "correlate_changes.csv")) as f:
                for row in csv.DictReader(f):
                    # pairs that share no state, so that they are independent
                    if (row["from"], row["to"]) in ((STATES[0], STATES[1]), (STATES[2], STATES[3]), (STATES[4], STATES[5])):
                        p["changes"].append(float(row["p"]))
            with open(os.path.join(folder, "out", "correlate_heterogeneity.csv")) as f:
                for row in csv.DictReader(f):
                    if row["state"] == STATES[1]:
                        p["left_right_change"].append(float(row["left_right_change_p"]))
                        p["moran_change"].append(float(row["moran_change_p"]))
        self.assertEqual([len(v) for v in p.values()], [180, 60, 60])
        for what, values in p.items():
            for rate in (0.05, 0.2):
                low, high = binomial_range(len(values), rate)
                alarms = sum(v <= rate for v in values)
                print(f"{what}: {alarms} alarms of {len(values)} at {rate}, {low} to {high} are chance", file=sys.stderr)
                self.assertTrue(low <= alarms <= high, (what, rate, alarms))


if __name__ == "__main__":
    unittest.main()
