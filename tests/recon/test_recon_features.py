"""recon's loading, corrections, axes, scans side by side, phases and output on files. timeout: 600 sanitized: full"""
import json, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

COLUMNS, ANGLES, ROWS, AXIS = 64, 90, 5, 31.8
DISCS = ((2.0, -1.0, 19.0, 0.02), (6.0, 4.0, 5.0, 0.03))


def attenuation(columns=COLUMNS, axis=AXIS, tilt=0.0, turn=180.0, angles=ANGLES, blur=2):
    """Line integrals [angle, row, column], averaged over the pixel; the axis moves by `tilt` a row."""
    theta = np.deg2rad(np.arange(angles) * turn / angles)[:, None, None]
    row = np.arange(ROWS)[None, :, None]
    total = np.zeros((angles, ROWS, columns))
    for k in range(-blur, blur + 1):
        s = np.arange(columns)[None, None, :] + 0.2 * k - axis - tilt * (row - 0.5 * (ROWS - 1))
        for x, y, r, mu in DISCS:
            d = s - x * np.cos(theta) - y * np.sin(theta)
            total += mu * 2 * np.sqrt(np.maximum(r * r - d * d, 0)) / (2 * blur + 1)
    return np.rad2deg(theta[:, 0, 0]), total


def light(seed=5):
    rng = np.random.default_rng(seed)
    return 30000 * (1 + 0.05 * rng.random((ROWS, COLUMNS))), 100 + 10 * rng.random((ROWS, COLUMNS))


def counts(total, gain, dark):
    return dark + gain * np.exp(-total)


def nxtomo(path, frames, keys, theta, entry="entry1/tomo_entry", **more):
    with h5py.File(path, "w") as f:
        f[entry + "/instrument/detector/data"] = frames
        if keys is not None:
            f[entry + "/instrument/detector/image_key"] = np.array(keys, "i4")
        if more.get("control") is not None:
            f[entry + "/instrument/detector/image_key_control"] = np.array(more["control"], "i4")
        if theta is not None:
            f[entry + "/sample/rotation_angle"] = theta
            if more.get("units", "degree"):
                f[entry + "/sample/rotation_angle"].attrs["units"] = more.get("units", "degree")
        for name, value in more.get("extra", {}).items():
            f[name] = value


def exchange(path, total, theta, gain, dark, **more):
    with h5py.File(path, "w") as f:
        f["exchange/data"] = more.get("frames", counts(total, gain, dark)).astype("f4")
        f["exchange/theta"] = theta
        if more.get("units", "degrees"):
            f["exchange/theta"].attrs["units"] = more.get("units", "degrees")
        f["exchange/data_white"] = more.get("flats", np.array([dark + gain] * 3)).astype("f4")
        f["exchange/data_dark"] = more.get("darks", np.array([dark] * 3)).astype("f4")
        if "monitor" in more:
            f["exchange/monitor"] = more["monitor"]


class Features(Folder):
    def recon(self, source, *more, ranks=0, code=0, words=(), out="o.h5"):
        done = call("recon", "--input", self.at(source), "--output", self.at(out), "--quiet", "--json",
                    self.at("r.json"), *more, ranks=ranks)
        self.ends(done, code, *words)
        if code:
            return None
        with h5py.File(self.at(out)) as f:
            return f["entry/volume/data"][...]

    def result(self, name):
        with open(self.at("r.json")) as f:
            return json.load(f)["results"][name]["value"]

    def standard(self, *more):
        theta, total = attenuation()
        gain, dark = light()
        exchange(self.at("dx.h5"), total, theta, gain, dark)
        return self.recon("dx.h5", "--centre", AXIS, *more), theta, total, gain, dark

    def close(self, got, want, share=2e-3):
        self.assertLess(np.abs(got - want).max(), share * want.max())

    def test_flats_are_interpolated_in_time_and_bad_ones_left_out(self):
        want, theta, total, gain, dark = self.standard()
        beam = 1 - 0.3 * np.linspace(0, 1, ANGLES + 6)  # falls by 30 % over the scan
        head, tail = [dark + gain * beam[i] for i in range(3)], [dark + gain * beam[-3 + i] for i in range(3)]
        scan = counts(total, gain * beam[3:-3, None, None], dark)
        frames = np.concatenate([head, scan, tail, [dark] * 3])
        keys = [1] * 3 + [0] * ANGLES + [1] * 3 + [2] * 3
        angles = np.concatenate([np.zeros(3), theta, np.full(6, 180.0)])
        nxtomo(self.at("nx.nxs"), frames.astype("f4"), keys, angles)
        self.close(self.recon("nx.nxs", "--centre", AXIS), want)
        drift = self.recon("nx.nxs", "--centre", AXIS, "--flat-drift", "none")
        self.assertGreater(np.abs(drift - want).max(), 0.05 * want.max())
        for ranks in (2, 3):  # a shutter that stayed shut, a sample that had not left
            bad = frames.copy()
            bad[1] = dark
            bad[ANGLES + 4] *= 0.8
            bad[ANGLES + 7] = 20000
            nxtomo(self.at("bad.nxs"), bad.astype("f4"), keys, angles)
            self.close(self.recon("bad.nxs", "--centre", AXIS, ranks=ranks), want, 0.01)
            self.assertEqual((self.result("rejected_flats"), self.result("rejected_darks")), (2, 1))

    def test_flats_in_other_files_with_and_without_a_key(self):
        want, theta, total, gain, dark = self.standard()
        scan = counts(total, gain, dark).astype("f4")
        nxtomo(self.at("scan.nxs"), scan, None, theta, "entry")
        nxtomo(self.at("light.nxs"), np.array([dark, dark + gain, dark]).astype("f4"), [2, 1, 2], np.zeros(3), "entry")
        with h5py.File(self.at("light.h5"), "w") as f:
            f["flat"], f["dark"] = np.array([dark + gain] * 2).astype("f4"), dark.astype("f4")
        for flats, darks in (("light.nxs", "light.nxs"), ("light.h5:flat", "light.h5:dark"), ("dx.h5", "dx.h5")):
            got = self.recon("scan.nxs", "--centre", AXIS, "--flats", self.at(flats), "--darks", self.at(darks))
            self.close(got, want, 1e-5)
        self.recon("scan.nxs", code=3, words=("no flats",))
        self.recon("scan.nxs", "--flats", self.at("light.nxs"), "--darks", self.at("scan.nxs"), "--centre", AXIS)
        nxtomo(self.at("none.nxs"), scan[:3], [0, 0, 2], np.zeros(3), "entry")
        self.recon("scan.nxs", "--flats", self.at("none.nxs"), code=3, words=("holds no flats", "image key 1"))
        with h5py.File(self.at("shape.h5"), "w") as f:
            f["flat"] = np.ones((2, ROWS, COLUMNS + 1), "f4")
        self.recon("scan.nxs", "--flats", self.at("shape.h5"), code=3, words=("pixels, the projections",))
        self.recon("scan.nxs", "--flats", self.at("light.h5:dark"), "--darks", self.at("light.h5:flat"), code=3,
                   words=("no brighter than the darks",))

    def test_other_places_layouts(self):
        want, theta, total, gain, dark = self.standard()
        frames = np.concatenate([[dark], [dark + gain], counts(total, gain, dark), counts(total[:1], gain, dark) * 2])
        angles = np.concatenate([[0, 0], theta, [0]])
        keys = [2, 1] + [0] * (ANGLES + 1)  # ESRF: the last frame is there to align
        nxtomo(self.at("esrf.nx"), frames.astype("f4"), keys, angles, "entry0000", control=keys[:-1] + [-1])
        self.close(self.recon("esrf.nx", "--centre", AXIS), want, 1e-5)
        with h5py.File(self.at("maxiv.h5"), "w") as f:  # MAX IV: frames alone, each kind a file
            f["entry/instrument/orca/data"] = counts(total, gain, dark).astype("f4")
            f["entry/measurement/orca"] = h5py.SoftLink("/entry/instrument/orca/data")
            f["entry/measurement/hrsrot"] = theta
        for name, value in (("white.h5", dark + gain), ("black.h5", dark)):
            with h5py.File(self.at(name), "w") as f:
                f["entry/measurement/orca"] = np.array([value] * 2).astype("f4")
        apart = ("--flats", self.at("white.h5"), "--darks", self.at("black.h5"), "--centre", AXIS)
        self.close(self.recon("maxiv.h5", "--angles", "entry/measurement/hrsrot", *apart, ranks=2), want, 1e-5)
        self.close(self.recon("maxiv.h5", "--arc", 180, *apart), want, 1e-5)
        self.recon("maxiv.h5", *apart, code=3, words=("MAX IV", "no rotation angles", "--arc"))

    def test_angles_of_all_kinds_give_the_same_slices(self):
        want, theta, total, gain, dark = self.standard()
        turned = theta + 47 * 360.0  # an absolute encoder's
        for angles, units in ((np.deg2rad(theta), "rad"), (np.deg2rad(theta), ""), (theta, ""), (turned, "deg")):
            exchange(self.at("a.h5"), total, angles, gain, dark, units=units)
            self.close(self.recon("a.h5", "--centre", AXIS), want, 1e-4)
        exchange(self.at("down.h5"), total[::-1], theta[::-1], gain, dark)
        self.close(self.recon("down.h5", "--centre", AXIS), want, 1e-4)
        keep = np.sort(np.random.default_rng(1).choice(ANGLES, 80, replace=False))
        exchange(self.at("uneven.h5"), total[keep], theta[keep], gain, dark)
        self.close(self.recon("uneven.h5", "--centre", AXIS), want, 0.2)  # fewer angles: streaks at the edges
        full, whole = attenuation(turn=360.0, angles=2 * ANGLES)
        exchange(self.at("full.h5"), whole, full, gain, dark)
        self.close(self.recon("full.h5", "--centre", AXIS), want, 0.05)  # half the samples lie between the others

    def test_layouts_that_cannot_be_each_have_their_words(self):
        _, theta, total, gain, dark = self.standard()
        good = counts(total, gain, dark).astype("f4")
        frames, keys = np.concatenate([[dark + gain], good]).astype("f4"), [1] + [0] * ANGLES
        angles = np.concatenate([[0], theta])
        nxtomo(self.at("k.nxs"), frames, keys[:-1], angles)
        self.recon("k.nxs", code=3, words=("90 image keys for 91 frames", "k.nxs"))
        nxtomo(self.at("k.nxs"), frames, [1] * ANGLES + [0], angles)
        self.recon("k.nxs", code=3, words=("1 projections among 91 frames",))
        nxtomo(self.at("k.nxs"), frames, keys, angles[:7])
        self.recon("k.nxs", code=3, words=("7 rotation angles for 91 frames, 90 of them projections",))
        nxtomo(self.at("k.nxs"), frames, keys, np.where(np.arange(91) == 9, np.nan, angles))
        self.recon("k.nxs", code=3, words=("angle of frame 9 is not finite",))
        nxtomo(self.at("k.nxs"), np.where(np.arange(91)[:, None, None] == 0, np.nan, frames).astype("f4"), keys, angles)
        self.recon("k.nxs", code=3, words=("none of the 1 flats is finite",))
        nxtomo(self.at("k.nxs"), frames[:, :, :3], keys, angles)
        self.recon("k.nxs", code=3, words=("3 columns", "at least 4"))
        with h5py.File(self.at("four.h5"), "w") as f:
            f["data"] = np.zeros((2, 3, 4, 5), "f4")
        self.recon("four.h5:data", code=3, words=("4 axes",))
        with h5py.File(self.at("lost.nxs"), "w") as f:
            e = "entry1/tomo_entry/"
            f[e + "sample/rotation_angle"] = theta
            f[e + "instrument/detector/data"] = h5py.ExternalLink("/nowhere/at/all/frames.h5", "/frames")
        self.recon("lost.nxs", code=3, words=("frames.h5",))
        with h5py.File(self.at("two.h5"), "w") as f:
            f["a"], f["b"] = good, good
        self.recon("two.h5", code=3, words=("a (", "b ("))
        self.recon("two.h5:a", "--flats", "none", code=3, words=("no rotation angles",))
        self.recon("dx.h5", "--angles", "not/there", code=3, words=("not/there",))
        self.recon("dx.h5", "--image-key", "not/there", code=3, words=("not/there",))
        self.recon("dx.h5", "--monitor", "not/there", code=3, words=("not/there", "monitor"))

    def test_dead_and_hot_pixels_zingers_and_values_without_logarithm(self):
        want, theta, total, gain, dark = self.standard()
        rng = np.random.default_rng(3)
        frames = counts(total, gain, dark)
        frames += rng.normal(0, 30, frames.shape)
        flats, darks = np.array([dark + gain] * 3), np.array([dark] * 3)
        exchange(self.at("n.h5"), total, theta, gain, dark, frames=frames)
        noisy = self.recon("n.h5", "--centre", AXIS)
        flats[:, 1, 20], darks[:, 1, 20], frames[:, 1, 20] = 5, 5, 5          # dead
        flats[:, 2, 41], darks[:, 2, 41], frames[:, 2, 41] = 64000, 63900, 64000  # hot
        hits = [(rng.integers(3, ANGLES - 3), rng.integers(ROWS), rng.integers(2, COLUMNS - 2)) for _ in range(25)]
        for hit in hits:
            frames[hit] += 60000
        frames[5, 0, 30], frames[6, 3, 10], frames[7, 4, 50] = np.nan, -1000, 0
        exchange(self.at("bad.h5"), total, theta, gain, dark, frames=frames, flats=flats, darks=darks)
        got = self.recon("bad.h5", "--centre", AXIS, "--zingers", "angle", ranks=2)
        self.assertEqual(self.result("repaired_pixels"), 2)
        self.assertGreaterEqual(self.result("repaired_values"), 3)
        self.assertGreaterEqual(self.result("zingers"), 20)
        self.close(got, noisy, 0.2)
        left = self.recon("bad.h5", "--centre", AXIS, "--bad-pixels", "none")
        self.assertGreater(np.abs(left - noisy).max(), 3 * np.abs(got - noisy).max())

    def test_a_beam_that_flickers_is_followed_by_monitor_or_air(self):
        want, theta, total, gain, dark = self.standard()
        beam = 1 + 0.2 * np.sin(np.arange(ANGLES))
        exchange(self.at("b.h5"), total, theta, gain, dark, frames=counts(total, gain * beam[:, None, None], dark),
                 monitor=beam * 7e5)
        plain = self.recon("b.h5", "--centre", AXIS)
        self.assertGreater(np.abs(plain - want).max(), 0.02 * want.max())
        air = self.recon("b.h5", "--centre", AXIS, "--air", "0:6")
        self.close(air, want, 1e-3)
        seen = self.recon("b.h5", "--centre", AXIS, "--monitor", "exchange/monitor")
        # against the mean of the projections: an offset that is the same in all
        offset = np.log(beam.mean())
        exchange(self.at("c.h5"), total - offset, theta, gain, dark)
        self.close(seen, self.recon("c.h5", "--centre", AXIS), 1e-3)
        keys = [1] + [0] * ANGLES
        frames = np.concatenate([[dark + gain], counts(total, gain * beam[:, None, None], dark)])
        nxtomo(self.at("m.nxs"), frames.astype("f4"), keys, np.concatenate([[0], theta]),
               extra={"entry1/monitor": np.concatenate([[5.0], 5 * beam])})
        with h5py.File(self.at("d.h5"), "w") as f:
            f["dark"] = dark.astype("f4")
        got = self.recon("m.nxs", "--centre", AXIS, "--monitor", "entry1/monitor", "--darks", self.at("d.h5:dark"))
        self.close(got, want, 1e-3)

    def test_crop_bin_every_nth(self):
        want, theta, total, gain, dark = self.standard()
        part = self.recon("dx.h5", "--centre", AXIS, "--columns", "4:60")
        self.assertEqual(part.shape, (ROWS, 56, 56))
        self.assertAlmostEqual(self.result("centre_px"), AXIS, delta=1e-9)
        half = self.recon("dx.h5", "--centre", AXIS, "--bin", 2, ranks=2)
        self.assertEqual(half.shape, (2, 32, 32))
        self.assertAlmostEqual(self.result("centre_px"), AXIS, delta=1e-9)
        self.assertAlmostEqual(half[0, 10:14, 10:14].mean() / 2, 0.02, delta=0.001)  # 1/px of the binned pixel
        thin = self.recon("dx.h5", "--centre", AXIS, "--every", 2)
        exchange(self.at("t.h5"), total[::2], theta[::2], gain, dark)
        self.assertTrue(np.array_equal(thin, self.recon("t.h5", "--centre", AXIS)))
        self.recon("dx.h5", "--columns", "60:70", code=2, words=("recon.columns",))
        self.recon("dx.h5", "--every", 90, code=2, words=("recon.every",))
        self.recon("dx.h5", "--bin", 6, code=2, words=("recon.bin",))

    def test_tilted_axes_and_methods(self):
        want = self.standard()[0]
        gain, dark = light()
        for method in ("vo", "entropy", "phase", "auto"):
            self.recon("dx.h5", "--centre-method", method, "--centre-rows", 5)
            self.assertAlmostEqual(self.result("centre_px"), AXIS, delta=0.6 if method == "phase" else 0.25)
        theta, total = attenuation(tilt=0.4)
        exchange(self.at("tilt.h5"), total, theta, gain, dark)
        got = self.recon("tilt.h5", "--centre", AXIS, "--tilt", 0.4, ranks=2)
        self.close(got[1:4], want[1:4], 0.1)
        self.assertLess(np.sqrt(np.mean((got - want) ** 2)), 0.01 * want.max())
        self.recon("tilt.h5", "--tilt", "auto")
        self.assertAlmostEqual(self.result("tilt_px"), 0.4, delta=0.1)
        self.assertAlmostEqual(self.result("centre_px"), AXIS, delta=0.3)
        self.recon("dx.h5", "--centre-method", "overlap", code=2, words=("360 degrees",))
        self.recon("dx.h5", "--centre-range", "40:30", code=2, words=("centre_range",))
        done = call("recon", "--input", self.at("dx.h5"), "--centre-range", "40:55", "--json", self.at("r.json"))
        self.ends(done, 0)
        self.assertIn("edge of the range", done[2])

    def test_scans_side_by_side_are_one(self):
        theta, total = attenuation(columns=150, axis=74.3)
        _, dark = light()
        with h5py.File(self.at("whole.h5"), "w") as f:
            f["exchange/data"], f["exchange/theta"] = total.astype("f4"), theta
            f["exchange/theta"].attrs["units"] = "degrees"
        scans = []
        for name, first in (("m.h5", 45), ("l.h5", 0), ("r.h5", 90)):
            scans.append(self.at(name))
            with h5py.File(self.at(name), "w") as f:
                f["exchange/data"], f["exchange/theta"] = total[:, :, first:first + 60].astype("f4"), theta
                f["exchange/theta"].attrs["units"] = "degrees"
        kind = ("--kind", "attenuation")
        want = self.recon("whole.h5", "--centre", 74.3, *kind)
        got = self.recon("m.h5", "--beside", *scans[1:], "--beside-px", "-45,45", "--centre", 74.3 - 45, *kind, ranks=2)
        self.close(got, want, 1e-4)
        got = self.recon("m.h5", "--beside", *scans[1:], "--centre", 74.3 - 45, *kind)
        self.assertAlmostEqual(self.result("beside_1_px"), -45, delta=0.1)
        self.assertAlmostEqual(self.result("beside_2_px"), 45, delta=0.1)
        self.assertLessEqual(abs(got.shape[1] - 150), 1)  # hundredths of a column may leave one less
        self.assertAlmostEqual(got[:, 70:78, 62:70].mean(), 0.02, delta=2e-4)
        self.recon("m.h5", "--beside", scans[1], "--beside-px", "-70", *kind, code=2, words=("unseen",))
        self.recon("m.h5", "--beside", scans[1], "--beside-px", "4,5", *kind, code=2, words=("1 numbers",))
        with h5py.File(self.at("o.h5"), "w") as f:
            f["exchange/data"], f["exchange/theta"] = total[::2, :, :60].astype("f4"), theta[::2]
        self.recon("m.h5", "--beside", self.at("o.h5"), *kind, code=3, words=("45 projections",), out="p.h5")

    def test_output_as_whole_numbers_cropped_and_masked(self):
        want = self.standard()[0]
        got = self.recon("dx.h5", "--centre", AXIS, "--crop", "10:50,20:44", ranks=3)
        self.assertTrue(np.array_equal(got, want[:, 10:50, 20:44]))
        for kind, most in (("uint16", 65535), ("uint8", 255)):
            got = self.recon("dx.h5", "--centre", AXIS, "--type", kind, "--window", "-0.01:0.04", ranks=2)
            self.assertEqual(got.dtype, np.dtype(kind))
            self.assertTrue(np.array_equal(got, np.floor(np.clip((want.astype("f8") + 0.01) / 0.05, 0, 1) * most + 0.5)))
            self.assertEqual(self.result("clipped"), np.sum((want < -0.01) | (want > 0.04)))
            with h5py.File(self.at("o.h5")) as f:
                real = got * f["entry/volume/scaling_factor"][()] + f["entry/volume/offset"][()]
            inside = (want > -0.01) & (want < 0.04)
            self.assertLess(np.abs(real - want)[inside].max(), 0.06 / most)
            self.ends(call("validate", self.at("o.h5")), 0)
        disc = self.recon("dx.h5", "--centre", AXIS, "--disc", 0.8)
        y, x = np.mgrid[0:COLUMNS, 0:COLUMNS] - 0.5 * (COLUMNS - 1)
        out = np.hypot(x, y) > 0.8 * 0.5 * COLUMNS
        self.assertTrue(np.array_equal(disc, np.where(out, 0, want)))
        self.recon("dx.h5", "--type", "uint8", code=2, words=("recon.window",))
        self.recon("dx.h5", "--window", "0:1", code=2, words=("recon.type",))
        self.recon("dx.h5", "--crop", "0:10", code=2, words=("A:B,C:D",))

    def test_phases_are_retrieved_on_whole_projections_alike_on_any_ranks(self):
        theta, total = attenuation(blur=15)
        gain, dark = light()
        exchange(self.at("dx.h5"), total, theta, gain, dark)
        # what a wave shows at a distance, backwards: the transmission through the inverse of the filter
        t = np.exp(-np.pad(total, ((0, 0), (40, 40), (0, 0)), mode="edge"))
        length2 = (1.239841984e-3 / 20 * 50e3 * 5 / (4 * np.pi)) / 1.5 ** 2
        v, u = np.meshgrid(2 * np.pi * np.fft.fftfreq(t.shape[1]), 2 * np.pi * np.fft.fftfreq(COLUMNS), indexing="ij")
        seen = np.fft.ifft2(np.fft.fft2(t) * (1 + length2 * (u * u + v * v))).real[:, 40:-40]
        exchange(self.at("p.h5"), total, theta, gain, dark, frames=counts(-np.log(seen), gain, dark))
        more = ("--centre", AXIS, "--voxel-um", 1.5)
        phase = ("--phase", "paganin", "--energy-kev", 20, "--distance-mm", 50, "--delta-beta", 5)
        want = self.recon("dx.h5", *more)
        got = self.recon("p.h5", *more, *phase)
        self.close(got, want, 0.01)
        for ranks in (2, 3, 5):
            self.assertTrue(np.array_equal(got, self.recon("p.h5", *more, *phase, ranks=ranks)))
        part = self.recon("p.h5", *more, *phase, "--rows", "2:4")
        self.assertTrue(np.array_equal(got[2:4], part))
        # rays that hit the camera are gone before the filter would spread them
        frames = counts(-np.log(seen), gain, dark)
        rng = np.random.default_rng(5)
        hits = {(rng.integers(3, ANGLES - 3), rng.integers(ROWS), rng.integers(2, COLUMNS - 2)) for _ in range(12)}
        for hit in hits:
            frames[hit] += 60000
        exchange(self.at("z.h5"), total, theta, gain, dark, frames=frames)
        hurt = self.recon("z.h5", *more, *phase)
        for how in ("angle", "both"):
            clean = self.recon("z.h5", *more, *phase, "--zingers", how, "--zinger-sd", 40)
            self.assertEqual(self.result("zingers"), len(hits), how)
            self.assertLess(np.abs(clean - got).max(), 0.05 * np.abs(hurt - got).max(), how)
            for ranks in (2, 5):
                self.assertTrue(np.array_equal(clean, self.recon("z.h5", *more, *phase, "--zingers", how, "--zinger-sd", 40,
                                                                 ranks=ranks)))
        self.recon("p.h5", *phase, "--centre", AXIS, code=2, words=("voxel_um",))
        self.recon("p.h5", *more, "--phase", "paganin", code=2, words=("energy_kev",))

    def test_iterations_on_files_and_what_does_not_go_together(self):
        want = self.standard()[0]
        got = self.recon("dx.h5", "--centre", AXIS, "--method", "cgls", "--iterations", 12, "--rows", "0:2", ranks=2)
        self.assertLess(np.sqrt(np.mean((got - want[:2]) ** 2)), 0.1 * want.max())
        self.recon("dx.h5", "--tv", 0.1, code=2, words=("sirt or cgls",))
        self.recon("dx.h5", "--method", "sirt", "--truncated", "taper", code=2, words=("truncated",))

    def test_the_strip_of_trial_axes(self):
        self.standard()
        for ranks in (0, 3):
            done = call("centre", self.at("dx.h5"), "--output", self.at("s.png"), "--steps", 6, "--tile", 64, "--json",
                        self.at("r.json"), ranks=ranks)
            self.ends(done, 0)
            self.assertAlmostEqual(self.result("centre_px"), AXIS, delta=0.25)
            self.assertAlmostEqual(self.result("centre_entropy_px"), AXIS, delta=0.5)
            with open(self.at("s.png"), "rb") as f:
                picture = f.read()
            self.assertEqual(picture[:4], b"\x89PNG")
            self.assertEqual((int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")),
                             (5 * 68 - 4, 2 * 68 - 4))
        for more, word in ((("--range", "9:4"), "centre.range"), (("--row", 77), "centre.row"),
                           (("--range", "-9:4"), "centre.range")):
            self.ends(call("centre", self.at("dx.h5"), "--output", self.at("t.png"), *more), 2, word)
            self.assertFalse(os.path.exists(self.at("t.png")))


if __name__ == "__main__":
    unittest.main()
