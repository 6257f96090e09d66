"""The twin's Compton spectra against kinematics and profiles calculated here on their own. timeout: 900 sanitized: full"""
import functools, json, math, os, shutil, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import SANITIZED, Folder, call  # noqa: E402

MC2, AU, BEAM = 510.99895, 137.035999, 115.0
SIDE = 80
STATES = ("pristine", "charging_I", "charging_II", "fully_charged", "discharging_I", "discharging_II", "fully_discharged")
CLEAN = ("--ct", "no", "--frames", 0, "--xcs-poisson", "no", "--xcs-background-percent", 0, "--xcs-step-percent", 0,
         "--xcs-gain-error", 0, "--xcs-first-kev", 84, "--xcs-last-kev", 104)
# width at 59.54 keV that becomes 0.79 keV at the line
NARROW = math.sqrt(0.79**2 - 8 * math.log(2) * 0.1 * 4.64e-3 * (93.874 - 59.541))


def places():
    """Middles of what the pixels see, mm along the beam and across it, as [row, column]."""
    at = (np.arange(SIDE) - 39.5) * 0.25 * 160 / 150
    return -at[None, :] + 0 * at[:, None], -at[:, None] + 0 * at[None, :]


def angles():
    along, across = places()
    return np.arccos(-along / np.sqrt(along**2 + across**2 + 160**2))


def line(angle):
    return BEAM / (1 + BEAM / MC2 * (1 - np.cos(angle)))


def momentum(energy, angle):
    """Exact p_z in a.u. (Holm 1988)."""
    k1, k2, c = BEAM / MC2, energy / MC2, 1 - np.cos(angle)
    q = np.sqrt((k1 - k2) ** 2 + 2 * k1 * k2 * c)
    return AU * (q / 2 - (k1 - k2) * np.sqrt(0.25 + 1 / (2 * k1 * k2 * c)))


def cross_section(energy, angle):
    """Ribberfors 1975, per J, any unit."""
    a, b, cosine = BEAM / MC2, energy / MC2, np.cos(angle)
    p = momentum(energy, angle) / AU
    q = np.sqrt(a * a + b * b - 2 * a * b * cosine)
    r = a * (np.sqrt(1 + p * p) + (a - b * cosine) * p / q)
    s = r - a * b * (1 - cosine)
    d = 1 / r - 1 / s
    return b / (q * np.sqrt(1 + p * p)) * (r / s + s / r + 2 * d + d * d)


@functools.lru_cache
def edges(first, width, bins, angle):
    """Of bins [pixel, bin]: 1 / cross-section, and for |p| < 1 and 1 < |p| < 5 the parts of each bin inside and their
    first moments about its middle."""
    energy, angle = first + width * np.arange(bins), (angles().ravel() if angle is None else np.array([angle]))[:, None]
    low, high = momentum(energy - width / 2, angle), momentum(energy + width / 2, angle)

    def inside(a, b):
        left, right = np.clip((a - low) / (high - low), 0, 1), np.clip((b - low) / (high - low), 0, 1)
        return np.array([right - left, ((right - 0.5) ** 2 - (left - 0.5) ** 2) / 2])
    return 1 / cross_section(energy, angle), inside(-1, 1), inside(-5, -1) + inside(1, 5)


def factor(spectra, bins, mask=None, angle=None):
    """Of the pixels in mask, each summed in p_z at its own angle; the spectrum is straight within a bin."""
    per, low, high = edges(bins[0], bins[1] - bins[0], bins.size, angle)
    spectra = spectra.reshape(-1, bins.size)
    if mask is not None:
        mask = mask.ravel()
        spectra, per, low, high = spectra[mask], per[mask], low[:, mask], high[:, mask]
    value = spectra * per
    slope = np.gradient(value, axis=-1)
    return ((value * low[0] + slope * low[1]).sum()) / ((value * high[0] + slope * high[1]).sum())


class Twin(Folder):
    def make(self, name, *words, ranks=0, clean=True):
        self.ends(call("twin", "--output", self.at(name), "--quiet", *(CLEAN if clean else ("--ct", "no", "--frames", 0)),
                       *words, ranks=ranks, timeout=600), 0)

    def spectra(self, twin, name):
        with h5py.File(self.at(twin, "raw", name + ".h5")) as f:
            return f["pixel_spectra"][0].astype(float), f["spectra_bins"][...]

    def truth(self, twin):
        with open(self.at(twin, "truth.json")) as f:
            return json.load(f)


class Disc(Twin):
    def test_lines_lie_where_the_pinhole_sends_them(self):
        self.make("t", "--xcs-counts", 0, "--xcs-dead-percent", 0, "--xcs-bin-kev", 0.1)
        spectra, bins = self.spectra("t", "disc")
        # the blurred line is highest a little off the free electron's energy; alike in all columns
        rows = spectra[38:42].sum(axis=0)
        peak = []
        for column in range(SIDE):
            i = rows[column].argmax()
            curve = np.polyfit(bins[i - 4:i + 5], rows[column][i - 4:i + 5], 2)
            peak.append(-curve[1] / (2 * curve[0]))
        off = np.array(peak) - line(angles()[39])
        self.assertLess(np.abs(off).max(), 0.06)
        self.assertLess(np.ptp(off), 0.01)
        self.assertAlmostEqual(peak[0], 92.75, delta=0.06)
        self.assertAlmostEqual(peak[79], 95.02, delta=0.06)

    def test_factors_of_elements_are_those_of_their_profiles(self):
        for material, expected in (("lithium", 2.263), ("carbon", 1.850), ("iron", 0.773))[:1 if SANITIZED else 3]:
            self.make(material, "--xcs-counts", 0, "--xcs-fwhm-kev", NARROW, "--xcs-fwhm-spread", 0, "--xcs-disc", material)
            spectra, bins = self.spectra(material, "disc")
            got = factor(spectra, bins)
            self.assertAlmostEqual(got / expected, 1, delta=0.004, msg=material)
            self.assertAlmostEqual(got / self.truth(material)["sample"]["emf_disc"]["value"], 1, delta=5e-4, msg=material)
            if material == "lithium":
                disc = np.hypot(*places()) < 8
                blurred = factor(spectra[disc].sum(axis=0), bins, angle=math.pi / 2)
                self.assertLess(blurred, 0.85 * got, "summed in energy, the angles blur the line")

    def test_counts_are_those_asked_for_and_fall_as_the_fourth_power_of_the_cosine(self):
        self.make("t", "--xcs-counts", 0, "--xcs-dead-percent", 0, "--xcs-flat-spread", 0, "--xcs-attenuation", "no")
        spectra, bins = self.spectra("t", "disc")
        inside = np.abs(momentum(bins, angles()[..., None])) < 5
        counts = (spectra * inside).sum(axis=-1)
        self.assertAlmostEqual(counts[39:41, 39:41].mean() / 1e5, 1, delta=0.003)
        along, across = places()
        cosine = 160 / np.sqrt(along**2 + across**2 + 160**2)
        # at the corner the angle, and with it the cross-section, is another one
        self.assertAlmostEqual(counts[0, 40] / counts[40, 40] / cosine[0, 40] ** 4, 1, delta=0.004)
        self.assertAlmostEqual((counts[40, 0] + counts[40, 79]) / (2 * counts[40, 40]) / cosine[40, 0] ** 4, 1, delta=0.01)

    def test_tails_and_lines_are_what_was_asked_for(self):
        words = ("--xcs-counts", 0, "--xcs-dead-percent", 0, "--xcs-first-kev", 64, "--xcs-last-kev", 124, "--xcs-bin-kev", 0.25)
        self.make("plain", *words)
        self.make("tail", *words, "--xcs-tail-percent", 20)
        self.make("lines", *words, "--xcs-lines-percent", 50)
        plain, bins = self.spectra("plain", "disc")
        tail, lines = self.spectra("tail", "disc")[0], self.spectra("lines", "disc")[0] - plain
        middle = (40, 40)
        self.assertAlmostEqual(tail[middle].sum() / plain[middle].sum(), 1, delta=0.002)
        lost = (bins * (plain[middle] - tail[middle])).sum() / plain[middle].sum()
        self.assertAlmostEqual(lost, 0.2 * 1.5, delta=0.02)
        for energy, share in ((115, 1), (91.83, 0.1), (84.94, 0.17), (74.97, 0.5)):
            at = np.argmin(np.abs(bins - energy))
            self.assertAlmostEqual(lines[:, :, at].mean() / (0.5 * plain[38:42, 38:42].mean(axis=(0, 1)).max()) / share, 1, delta=0.12)


class Cells(Twin):
    def test_region_factors_are_the_truth_s_and_the_table_s(self):
        table = {1: (2.047, 2.070, 2.105, 2.120, 2.114, 2.099, 2.091), 2: (2.238, 2.244, 2.254, 2.258, 2.256, 2.250, 2.246)}
        self.make("t", "--xcs-fwhm-kev", NARROW, "--xcs-attenuation", "no", "--xcs-disc-counts", 0)
        truth = self.truth("t")["states"]
        middle = np.hypot(*places()) < 6
        for s, state in enumerate(STATES):
            for region in range(3):
                spectra, bins = self.spectra("t", f"{state}_r{region + 1}")
                all_of_it = factor(spectra, bins)
                self.assertAlmostEqual(all_of_it / truth[state][f"emf_detector_region{region + 1}"]["value"], 1, delta=5e-4)
                if region in table:
                    got = factor(spectra, bins, middle)
                    self.assertAlmostEqual(got, table[region][s], delta=0.005, msg=(state, region))
                for name in (f"region{region + 1}", "Li", "SPE", "cathode"):
                    self.assertAlmostEqual(truth[state]["emf_detector_" + name]["value"] / truth[state]["emf_" + name]["value"],
                                           1, delta=5e-4, msg="the resolution is the reference's")
        cathode = [truth[state]["emf_cathode"]["value"] for state in STATES]
        for got, expected in zip(cathode, (1.0682, 1.0667, 1.0626, 1.0603, 1.0619, 1.0657, 1.0673)):
            self.assertAlmostEqual(got, expected, delta=0.002)
        self.assertEqual(len({truth[state]["emf_Li"]["value"] for state in STATES}), 1)

    def test_attenuation_the_disc_s_edge_and_the_two_halves_are_in_the_maps(self):
        self.make("t", "--xcs-disc-counts", 0, "--xcs-dead-percent", 0, "--xcs-flat-spread", 0, "--xcs-fwhm-spread", 0,
                  "--xcs-bin-kev", 0.25)
        spectra, bins = self.spectra("t", "pristine_r3")
        counts, (along, across) = spectra.sum(axis=-1), places()
        r = np.hypot(along, across)
        self.assertEqual(counts[r > 9.5].max(), 0)
        edge = np.argmin(np.abs(across[:, 40] - 8))
        profile = counts[:, 40] / counts[40, 40]
        self.assertTrue(0.1 < profile[edge] < 0.9, profile[edge])
        # between two places inside the foil on one line along the beam
        i, j = 20, 59
        expected = math.exp(-0.0067 * (along[40, i] - along[40, j]))
        self.assertAlmostEqual(counts[40, i] / counts[40, j] / expected, 1, delta=0.03)
        truth = self.truth("t")["states"]
        for state in STATES:
            spectra, bins = self.spectra("t", state + "_r2")
            half = 7 * 0.95
            right, left, ring = [factor(spectra, bins, m) for m in
                                 ((r < half) & (across > 0.5), (r < half) & (across < -0.5), (r > 7.35) & (r < 7.65))]
            if state == "pristine":
                still = ring
            self.assertAlmostEqual(ring / still, 1, delta=0.002, msg="nothing rises beyond the cathode")
            if state.startswith("discharging") or state == "fully_discharged":
                self.assertGreater(right, left + 0.008, state)
            else:
                self.assertAlmostEqual(right, left, delta=0.002)
            whole = factor(spectra, bins)
            self.assertAlmostEqual(whole / truth[state]["emf_detector_region2"]["value"], 1, delta=5e-4)


class Files(Twin):
    def test_the_layout_is_odin_data_s_with_poisson_counts_and_dead_pixels(self):
        self.make("t", clean=False, ranks=2)
        self.make("e", "--xcs-poisson", "no", "--xcs-counts", 0, clean=False)
        with h5py.File(self.at("t/raw/pristine_r2.h5")) as f:
            counts, bins, summed = f["pixel_spectra"], f["spectra_bins"][...], f["summed_spectra"]
            self.assertEqual((counts.shape, counts.dtype, summed.dtype), ((1, 80, 80, 250), np.float32, np.uint64))
            self.assertTrue(np.allclose(bins, 70.1 + 0.2 * np.arange(250), rtol=0, atol=1e-9))
            counts = counts[0].astype(float)
            self.assertTrue(np.array_equal(counts.sum(axis=(0, 1)), summed[...]))
        self.assertTrue(np.array_equal(counts, np.round(counts)) and counts.min() >= 0)
        dead = counts.sum(axis=-1) == 0
        self.assertTrue(10 < dead.sum() < 60, dead.sum())
        disc, expected = self.spectra("t", "disc")[0], self.spectra("e", "disc")[0]
        for each in (disc, expected):
            self.assertTrue(np.array_equal(each.sum(axis=-1) == 0, dead))
        self.assertLess(abs(disc.sum() - expected.sum()), 5 * math.sqrt(expected.sum()))
        live = ~dead
        pull = (disc[live] - expected[live]) / np.sqrt(expected[live])
        self.assertLess(abs(pull.mean()), 5 / math.sqrt(pull.size))
        self.assertAlmostEqual((pull**2).mean(), 1, delta=0.005)
        other = self.spectra("t", "pristine_r3")[0]
        self.assertFalse(np.array_equal(other, counts))
        self.assertLess(sum(os.path.getsize(self.at("t/raw", n)) for n in os.listdir(self.at("t/raw"))), 80e6)
        code, out, err = call("check", self.at("t/cycle.yaml"))
        self.assertEqual(code, 0, err)
        yaml = self.read("t", "cycle.yaml")
        for word in ("{region: interphase, z_um: 41.02, spectra: [raw/fully_discharged_r2.h5], exposure_s: 500}",
                     "calibration: {disc: raw/disc.h5, disc_exposure_s: 2500}"):
            self.assertIn(word, yaml)

    def test_files_are_the_same_on_any_rank_count(self):
        words = ("--xcs-first-kev", 86, "--xcs-last-kev", 102, "--xcs-bin-kev", 1)
        several = (3,) if SANITIZED else (2, 3)
        for ranks in (1,) + several:
            self.make(f"t{ranks}", *words, clean=False, ranks=ranks)
        for ranks in several:
            for name in ["cycle.yaml", "truth.json"]:
                self.assertEqual(self.read("t1", name), self.read(f"t{ranks}", name))
            for name in ("disc", "discharging_II_r1", "fully_discharged_r3"):
                with h5py.File(self.at(f"t1/raw/{name}.h5")) as a, h5py.File(self.at(f"t{ranks}/raw/{name}.h5")) as b:
                    for key in ("pixel_spectra", "summed_spectra", "spectra_bins"):
                        self.assertTrue(np.array_equal(a[key][...], b[key][...]), (ranks, name, key))

    def test_a_failure_on_one_rank_ends_all(self):
        for site in ("twin.xcs", "twin.spectra", "store.spectra"):
            result = call("twin", "--ct", "no", "--frames", 0, "--output", self.at("f"), "--quiet", ranks=3,
                          env={"FAULT": site + (":0" if site.startswith("store") else ":1")})
            self.ends(result, 1, site)
            self.assertFalse(any(n.endswith(".partial") for n in os.listdir(self.at("f/raw"))), site)
            shutil.rmtree(self.at("f"))

    def test_without_it_no_state_has_a_compton_acquisition(self):
        self.make("t", "--xcs", "no", clean=False)
        self.assertNotIn("compton", self.read("t", "cycle.yaml"))
        self.make("t", "--xcs", "no", "--seed", 2, clean=False)  # an own folder is taken again
        self.assertIn("seed 2", self.read("t", "cycle.yaml"))
        self.ends(call("twin", "--output", self.at("u"), "--xcs-bin-kev", 5, "--xcs-first-kev", 90, "--xcs-last-kev", 100), 2,
                  "16 to 8192")


if __name__ == "__main__":
    unittest.main()
