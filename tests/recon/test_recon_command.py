"""recon and segment on files: layouts, ranks, the real scans, what is wrong with a file.
timeout: 600 sanitized: full"""
import os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

DATA = os.environ.get("XCSCT_DATA", "")
COLUMNS, ANGLES, ROWS = 48, 60, 7


def attenuation(row, angle):
    """Line integrals of two discs, in units of 1/px times px."""
    s = np.arange(COLUMNS) - 24.3
    total = np.zeros(COLUMNS)
    for x, y, r, mu in ((2.0, -1.0, 15 + 0.3 * row, 0.02), (6.0, 4.0, 4.0, 0.03)):
        d = s - x * np.cos(angle) - y * np.sin(angle)
        total += mu * 2 * np.sqrt(np.maximum(r * r - d * d, 0))
    return total


def frames():
    angles = np.arange(ANGLES) * 180.0 / ANGLES
    rng = np.random.default_rng(5)
    gain = 1 + 0.05 * rng.random((ROWS, COLUMNS))
    dark = 100 + 10 * rng.random((ROWS, COLUMNS))
    data = np.array([[np.exp(-attenuation(r, np.deg2rad(a))) for r in range(ROWS)] for a in angles])
    data = np.round(dark + 30000 * gain * data).astype("u2")
    flat = np.round(dark + 30000 * gain).astype("u2")
    return angles, data, np.array([flat] * 4), np.array([np.round(dark).astype("u2")] * 3)


def exchange(path, **change):
    angles, data, flats, darks = frames()
    with h5py.File(path, "w") as f:
        f["exchange/data"] = data
        f["exchange/theta"] = change.get("angles", angles)
        f["exchange/theta"].attrs["units"] = change.get("units", "degrees")
        if change.get("flats", True):
            f["exchange/data_white"] = flats
        f["exchange/data_dark"] = darks


def nxtomo(path, entry="entry1/tomo_entry", key=None, links=None):
    angles, data, flats, darks = frames()
    everything = np.concatenate([darks, flats, data, flats])
    with h5py.File(path, "w") as f:
        keys = [2] * 3 + [1] * 4 + [0] * ANGLES + [1] * 4
        f[entry + "/instrument/detector/image_key"] = np.array(key or keys, "i4")
        f[entry + "/sample/rotation_angle"] = np.concatenate([np.zeros(7), angles, np.full(4, 180.0)])
        f[entry + "/sample/rotation_angle"].attrs["units"] = "degree"
        if links:
            with h5py.File(links, "w") as g:
                g["entry/frames"] = everything
            f[entry + "/instrument/detector/data"] = h5py.ExternalLink(os.path.basename(links), "/entry/frames")
        else:
            f[entry + "/instrument/detector/data"] = everything


def values(path, name="volume"):
    with h5py.File(path) as f:
        return f["entry/" + name + "/data"][...]


class Recon(Folder):
    def recon(self, source, out, *more, ranks=0):
        return call("recon", "--input", self.at(source), "--output", self.at(out), "--quiet", *more, ranks=ranks)

    def test_all_layouts_and_rank_counts_give_the_same_bits(self):
        exchange(self.at("dx.h5"))
        nxtomo(self.at("nx.nxs"))
        nxtomo(self.at("other.nxs"), "entry")
        nxtomo(self.at("linked.nxs"), "entry", links=self.at("frames.h5"))
        self.ends(self.recon("dx.h5", "one.h5"), 0)
        want = values(self.at("one.h5"))
        self.assertEqual(want.shape, (ROWS, COLUMNS, COLUMNS))
        for source, ranks in (("dx.h5", 2), ("nx.nxs", 3), ("other.nxs", 5), ("linked.nxs", 1), ("nx.nxs", 9)):
            self.ends(self.recon(source, "more.h5", ranks=ranks), 0)
            self.assertTrue(np.array_equal(want, values(self.at("more.h5"))), (source, ranks))

    def test_values_and_places_are_those_of_the_object(self):
        exchange(self.at("dx.h5"))
        self.ends(self.recon("dx.h5", "v.h5", "--centre", 24.3, "--voxel-um", 100), 0)
        v = values(self.at("v.h5"))[0]
        self.assertAlmostEqual(v[20:25, 20:24].mean(), 0.02 / 0.1, delta=0.004)  # 1/mm
        middle = 23.5
        self.assertAlmostEqual(v[int(middle + 4), int(middle + 6)], 0.05 / 0.1, delta=0.05)
        self.assertTrue(os.path.exists(self.at("v.png")))

    def test_one_row_and_a_range_of_rows(self):
        exchange(self.at("dx.h5"))
        self.ends(self.recon("dx.h5", "all.h5", "--centre", 24.3), 0)
        self.ends(self.recon("dx.h5", "some.h5", "--centre", 24.3, "--rows", "2:5", ranks=4), 0)
        self.assertTrue(np.array_equal(values(self.at("all.h5"))[2:4], values(self.at("some.h5"))[:2]))
        self.ends(self.recon("dx.h5", "one.h5", "--centre", 24.3, "--rows", "6:7", ranks=2), 0)
        self.assertEqual(values(self.at("one.h5")).shape[0], 1)

    def test_what_is_wrong_is_said(self):
        exchange(self.at("dx.h5"))
        exchange(self.at("noflats.h5"), flats=False)
        exchange(self.at("units.h5"), units="gon")
        exchange(self.at("short.h5"), angles=np.arange(5.0))
        exchange(self.at("still.h5"), angles=np.zeros(ANGLES))
        nxtomo(self.at("key.nxs"), key=[9] * 71)
        with open(self.at("dx.h5"), "rb") as f, open(self.at("cut.h5"), "wb") as g:
            g.write(f.read()[:20000])
        cases = (("noflats.h5", 3, ("no flats", "--flats")), ("units.h5", 3, ("gon",)),
                 ("short.h5", 3, ("5 rotation angles for 60 frames",)), ("still.h5", 3, ("a scan turns",)),
                 ("key.nxs", 3, ("image key 9",)), ("cut.h5", 3, ("cut.h5",)), ("none.h5", 3, ("none.h5",)))
        for source, code, words in cases:
            for ranks in (0, 2):
                self.ends(self.recon(source, "bad.h5", ranks=ranks), code, *words)
                self.assertFalse(os.path.exists(self.at("bad.h5")), source)
        for option, text, word in (("--rows", "5:3", "A:B"), ("--centre", "left", "auto or a column"),
                                   ("--pad", "50", "at least 96"), ("--filter", "ram", "did you mean ramp"),
                                   ("--flat", "x", "did you mean --flats"), ("--voxel-um", "-1", "above 0")):
            self.ends(self.recon("dx.h5", "bad.h5", option, text), 2, word)
        self.ends(self.recon("dx.h5", "nowhere/bad.h5"), 5, "nowhere")

    def test_a_fault_on_any_rank_ends_all_ranks(self):
        exchange(self.at("dx.h5"))
        for rank in range(3):
            done = call("recon", "--input", self.at("dx.h5"), "--output", self.at("f.h5"), "--quiet", ranks=3,
                        env={"FAULT": f"raw.read:{rank}"})
            self.ends(done, 1, "raw.read")
            self.assertFalse(os.path.exists(self.at("f.h5")))

    def test_segment_agrees_with_numpy_on_any_rank_count(self):
        rng = np.random.default_rng(2)
        with h5py.File(self.at("v.h5"), "w") as f:
            f["grey"] = (rng.random((9, 20, 31)) + 2 * (rng.random((9, 20, 31)) > 0.6)).astype("f4")
        for ranks in (1, 2, 3, 5, 7, 12):
            self.ends(call("segment", "--input", self.at("v.h5"), "--threshold", "1.5", "--median", 0, "--phase", 1,
                           "--output", self.at("s.h5"), "--quiet", ranks=ranks), 0)
            with h5py.File(self.at("v.h5")) as f:
                want = (f["grey"][...] > 1.5).astype("u1")
            self.assertTrue(np.array_equal(values(self.at("s.h5"), "labels"), want))
            got = values(self.at("s.h5"), "components")
            try:
                from scipy import ndimage
            except ImportError:
                continue
            numbered, count = ndimage.label(want, np.ones((3, 3, 3)))
            self.assertEqual(got.max(), count)
            first = [got[numbered == i].min() for i in range(1, count + 1)]
            self.assertEqual(sorted(first), list(range(1, count + 1)))
            self.assertTrue(np.array_equal(got > 0, want > 0))
            places = [np.flatnonzero(got.ravel() == i)[0] for i in range(1, count + 1)]
            self.assertEqual(places, sorted(places), "raster order of the first voxel")


@unittest.skipUnless(os.path.exists(os.path.join(DATA, "ct", "tooth.h5")), "real data are not here (XCSCT_DATA)")
class RealScans(Folder):
    def centre(self, source, *more, ranks=2):
        import json
        code, out, err = call("recon", "--input", os.path.join(DATA, "ct", source), "--output", self.at("r.h5"),
                              "--json", "-", "--quiet", *more, ranks=ranks, timeout=400)
        self.assertEqual(code, 0, err)
        return json.loads(out)["results"]["centre_px"]["value"]

    def test_centres_lie_where_independent_methods_put_them(self):
        for source, low, high, more in (("tooth.h5", 294.7, 296.5, ()), ("tooth_nxtomo.nxs", 294.7, 296.5, ()),
                                        ("dendrite_sinogram.h5", 626.8, 628.2, ()),
                                        ("neutron_sinogram_360.tif", 244.5, 246.3, ("--arc", 360, "--flats", "none"))):
            centre = self.centre(source, *more)
            self.assertTrue(low <= centre <= high, (source, centre))

    def test_the_tooth_in_both_layouts_has_the_same_bits(self):
        """tooth.h5 holds quarters of counts, its NXtomo twin whole ones: the same once they are rounded."""
        with h5py.File(os.path.join(DATA, "ct", "tooth.h5")) as f, h5py.File(self.at("whole.h5"), "w") as g:
            for name in ("data", "data_white", "data_dark"):
                g["exchange/" + name] = np.round(f["exchange/" + name][...]).astype("u2")
            g["exchange/theta"] = f["exchange/theta"][...]
            g["exchange/theta"].attrs["units"] = "degrees"
        nexus = os.path.join(DATA, "ct", "tooth_nxtomo.nxs")
        self.ends(call("recon", "--input", self.at("whole.h5"), "--output", self.at("a.h5"), "--quiet"), 0)
        self.ends(call("recon", "--input", nexus, "--output", self.at("b.h5"), "--quiet", ranks=3), 0)
        self.assertTrue(np.array_equal(values(self.at("a.h5")), values(self.at("b.h5"))))

    def test_diamonds_split_layout_is_read_through_its_links(self):
        code, out, err = call("recon", "--input", os.path.join(DATA, "ct", "k11_diad", "k11-18014.nxs"), "--output",
                              self.at("k.h5"), "--quiet", ranks=2)
        self.assertEqual(code, 0, err)
        self.assertEqual(values(self.at("k.h5")).shape, (22, 26, 26))


if __name__ == "__main__":
    unittest.main()
