"""Registration on a made cell with a flat, from a wrong start: scale, shift and turn to a tenth of a Compton pixel, the
height of the slabs to 2 um.
label: full
timeout: 1800"""
import csv, math, os, re, sys, unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

RADIUS_UM, CELL_UM = 440, 8000  # of the pin, and of the cell that it stands for
TURN_DEG, LOW_UM = 1.5, 6  # how wrong the start is


class Registration(Folder):
    def test_it_comes_out_to_a_tenth_of_a_pixel(self):
        twin = ("--columns", 320, "--radius-um", RADIUS_UM, "--projections", 400, "--flat", 0.1, "--frames", 0)
        code, _, said = call("twin", *twin, "--output", self.at("twin"), "--quiet", ranks=2, timeout=900)
        self.assertEqual(code, 0, said)
        text = self.read("twin", "cycle.yaml").replace("correlate: {", f"correlate: {{rotation_deg: {TURN_DEG}, ")
        text = re.sub(r"z_um: ([0-9.]+)", lambda m: f"z_um: {float(m[1]) - LOW_UM:.2f}", text)
        self.write("twin/moved.yaml", text)
        code, _, said = call("run", self.at("twin/moved.yaml"), "--until", "correlate", "--report", "no", "--output", self.at("out"),
                             "--quiet", ranks=2, timeout=1500)
        self.assertEqual(code, 0, said)
        with open(self.at("out/summary.csv")) as f:
            got = {r["result"]: (float(r["value"]), float(r["sigma"] or "nan")) for r in csv.DictReader(f) if r["state"] == "all"
                   and r["value"]}
        scale = RADIUS_UM / CELL_UM
        pixel_mm, radius_px = scale * 0.25 * 160 / 150, CELL_UM / (250 * 160 / 150)
        off_px = {"registration_scale": (got["registration_scale"][0] / scale - 1) * radius_px,
                  "registration_rotation_deg": math.radians(got["registration_rotation_deg"][0]) * radius_px,
                  "registration_x_mm": got["registration_x_mm"][0] / pixel_mm,
                  "registration_y_mm": got["registration_y_mm"][0] / pixel_mm}
        print({k: round(v, 3) for k, v in off_px.items()}, "pixels;", got["slab_shift_um"], "um", file=sys.stderr)
        for name, off in off_px.items():
            self.assertLess(abs(off), 0.1, name)
            self.assertTrue(got[name][1] > 0, name)
        self.assertLess(abs(got["slab_shift_um"][0] - LOW_UM), 2)


if __name__ == "__main__":
    unittest.main()
