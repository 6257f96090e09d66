"""Malformed inputs of every reader, made here from good ones, and what the program must say about each."""
import os, random, struct, sys, warnings

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import Folder, call  # noqa: E402

CUTS, FLIPS = 64, 24

# ---- good files ---------------------------------------------------------------------------------------


def labels(path):
    z, y, x = np.indices((6, 7, 8))
    with h5py.File(path, "w") as f:
        f["labels"] = ((x + y) // 4 % 2).astype("u1")


def volume(path):
    with h5py.File(path, "w") as f:
        f["volume"] = np.random.default_rng(1).random((6, 7, 8)).astype("f4")


SCAN_KEYS = np.array([2, 2, 1, 1] + [0] * 12, "i4")


def scan_frames():
    """Darks, flats and projections of a bar, by SCAN_KEYS."""
    data = np.full((16, 3, 16), 900, "u2")
    data[SCAN_KEYS == 2] = 100
    data[SCAN_KEYS == 0, :, 5:11] = 500
    return data


def scan(path):
    angles = np.arange(12) * 15.0
    with h5py.File(path, "w") as f:
        tomo = f.create_group("entry")
        tomo.attrs["NX_class"] = "NXentry"
        tomo["definition"] = "NXtomo"
        detector = f.create_group("entry/instrument/detector")
        detector["data"] = scan_frames()
        detector["image_key"] = SCAN_KEYS
        f["entry/sample/rotation_angle"] = np.concatenate([np.zeros(4), angles])
        f["entry/sample/rotation_angle"].attrs["units"] = "degrees"


def tiff(path):
    """Two pages of 5 x 6 bytes."""
    data, at, n = b"II*\0" + struct.pack("<I", 8), 8, 2
    for page in range(n):
        entries = [(256, 4, 6), (257, 4, 5), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, at + 114),
                   (277, 3, 1), (278, 4, 5), (279, 4, 30)]
        after = at + 114 + 30 if page + 1 < n else 0
        data += struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
        data += struct.pack("<I", after) + bytes(range(page, page + 30))
        at += 114 + 30
    with open(path, "wb") as f:
        f.write(data)


CYCLE = """sample: one
beam: {energy_keV: 115, beam_deg: 90}
states:
  - {name: pristine, percent: 0, step: charge, volume: v.h5}
  - {name: full, percent: 100, step: discharge, volume: v.h5}
segment: {classes: 3, median: 3}
flux:
  conducting: [1, 2]
  direction: z
"""
SPECTRUM = "frequency_hz,z_real_ohm,z_imag_ohm\n" + "".join(
    f"{10 ** (5 - k / 4):.6g},{10 + 5 / (1 + (k / 9) ** 2):.6g},{-5 * k / 9 / (1 + (k / 9) ** 2):.6g}\n" for k in range(20))
GAMRY = ("EXPLAIN\r\nTAG\tCURVE\r\nZCURVE\tTABLE\r\n\tPt\tTime\tFreq\tZreal\tZimag\r\n\t#\ts\tHz\tohm\tohm\r\n" + "".join(
    f"\t{k}\t{k}\t{10 ** (5 - k / 4):.6g}\t{10 + 5 / (1 + (k / 9) ** 2):.6g}\t{-5 * k / 9 / (1 + (k / 9) ** 2):.6g}\r\n" for k in range(20)))


def frames(path):
    """400 frames of 8 x 8 pixels with one hit each."""
    dice = np.random.default_rng(1)
    data = np.zeros((400, 64), "<u2")
    data[np.arange(400), dice.integers(64, size=400)] = dice.integers(1400, 2200, 400)
    data.tofile(path)
    with open(os.path.join(os.path.dirname(path), "gain.txt"), "w") as f:
        f.write(GAIN)


def frames_beside(path):
    """A map of gains, and the frames that it belongs to."""
    frames(os.path.join(os.path.dirname(path), "f.bin"))
    with open(path, "w") as f:
        f.write(GAIN)


def hxt(path):
    """Spectra of 4 x 4 pixels in 40 bins about the line."""
    edges = 70 + np.arange(40.0)
    counts = np.random.default_rng(2).poisson(30 + 300 * np.exp(-((edges - 94) / 2) ** 2), (4, 4, 40)).astype("<f8")
    with open(path, "wb") as f:
        f.write(b"HEXITECH" + struct.pack("<Q9Ii100s16sIII", 3, *[0] * 9, 0, b"", b"", 4, 4, 40))
        f.write(edges.astype("<f8").tobytes() + counts.tobytes())


GAIN = "\n".join(" ".join(["0.05"] * 8) for _ in range(8)) + "\n"
COUNTING = ("compton", "--rows", "8", "--columns", "8", "--materials", "lithium")


def text(words):
    def make(path):
        with open(path, "w", newline="") as f:
            f.write(words)
    return make


# reader: file name, its maker, the command that reads it
READERS = {
    "flux": ("labels.h5", labels, ("flux", "--conducting", "1", "--voxel-um", "1", "--input")),
    "surface": ("labels.h5", labels, ("surface", "--phase", "1", "--voxel-um", "1", "--labels")),
    "segment": ("volume.h5", volume, ("segment", "--input")),
    "recon": ("scan.nxs", scan, ("recon", "--rings", "none", "--centre", "8", "--input")),
    "tiff": ("volume.tif", tiff, ("segment", "--input")),
    "yaml": ("cycle.yaml", text(CYCLE), ("check",)),
    "csv": ("eis.csv", text(SPECTRUM), ("echem", "--impedance")),
    "frames": ("f.bin", frames, (*COUNTING, "--gain-kev", "0.05", "--frames")),
    "hxt": ("s.hxt", hxt, (*COUNTING, "--spectra")),
    "gain": ("gain.txt", frames_beside, (*COUNTING, "--frames", "f.bin", "--gain")),
    "dta": ("eis.dta", text(GAMRY), ("echem", "--impedance")),
}

# ---- ways to spoil them ---------------------------------------------------------------------------------


def cut(reader, at):
    """The first at/CUTS of a good file."""
    def make(path):
        READERS[reader][1](path)
        os.truncate(path, os.path.getsize(path) * at // CUTS)
    return make


def flip(reader, turn):
    """One to four bytes changed; the first kilobytes of an HDF5 file hold what describes it."""
    def make(path):
        READERS[reader][1](path)
        dice = random.Random(f"{reader} {turn}")
        with open(path, "r+b") as f:
            size = os.path.getsize(path)
            for _ in range(dice.randint(1, 4)):
                f.seek(dice.randrange(min(size, 3000)))
                f.write(bytes([dice.randrange(256)]))
    return make


def hdf5(fill):
    def make(path):
        with h5py.File(path, "w") as f, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fill(f)
    return make


def loop(f):
    f["a"], f["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


def group_in_itself(f):
    f.create_group("g")
    f["g/again"] = f["g"]


def external_loop(f):
    f["out"] = h5py.ExternalLink(os.path.basename(f.filename), "/out")


def huge(f):
    f.create_dataset("huge", (1 << 20, 1 << 20, 1 << 20), "u1", chunks=(1, 64, 64))


def large(f):
    f.create_dataset("large", (1 << 14, 1 << 14, 1 << 14), "u1", chunks=(1, 64, 64))


def deep(f):
    here = f
    for i in range(300):
        here = here.create_group("g")


def compound(f):
    f["table"] = np.zeros((2, 3, 4), [("a", "f4"), ("b", "i4")])


def own_class(f):
    f["v"] = h5py.Empty("f4")


# name: maker, and the words its message holds; every reader of HDF5 meets each
STRUCTURES = {
    "nothing in it": (hdf5(lambda f: None), ()),
    "a loop of links": (hdf5(loop), ()),
    "a group in itself": (hdf5(group_in_itself), ()),
    "an external loop": (hdf5(external_loop), ()),
    "a dangling link": (hdf5(lambda f: f.__setitem__("labels", h5py.ExternalLink("gone.h5", "/x"))), ()),
    "dimensions beyond any file": (hdf5(huge), ()),
    "dimensions beyond this memory": (hdf5(large), ()),
    "three hundred groups deep": (hdf5(deep), ()),
    "a compound type": (hdf5(compound), ()),
    "text": (hdf5(lambda f: f.__setitem__("v", np.array([[[b"a"]]]))), ()),
    "complex numbers": (hdf5(lambda f: f.__setitem__("v", np.zeros((2, 3, 4), "c8"))), ()),
    "a null space": (hdf5(own_class), ()),
    "no voxels": (hdf5(lambda f: f.__setitem__("v", np.zeros((0, 3, 4), "u1"))), ()),
    "one number": (hdf5(lambda f: f.__setitem__("v", np.float32(3))), ()),
    "seven axes": (hdf5(lambda f: f.__setitem__("v", np.zeros((1,) * 7, "u1"))), ()),
    "two candidates": (hdf5(lambda f: [f.__setitem__(n, np.zeros((2, 2, 2), "u1")) for n in "pq"]), ("p", "q")),
    "no HDF5 at all": (text("these are words\n"), ()),
    "an empty file": (text(""), ()),
}
YAMLS = {
    "tabs": ("states:\n\t- name: a\n", "1"), "no end": ("states: [", ""), "a bomb of aliases": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{c}: &{c} [" + ",".join(["*" + p] * 9) + "]\n" for p, c in zip("abcdefgh", "bcdefghi")) + "states: *i\n", ""),
    "an alias of itself": ("states: &s [*s]\n", ""), "an unknown alias": ("states: *nobody\n", ""),
    "two documents": (CYCLE + "---\n" + CYCLE, ""), "a number": ("17\n", ""), "a list": ("- 1\n- 2\n", ""),
    "zero bytes": ("states:\0\n", ""), "no UTF-8": ("sample: \udcff\udcfe\n", ""), "a tag": ("states: !!python/object:os.system x\n", ""),
    "depth": ("states: " + "[" * 3000 + "]" * 3000 + "\n", ""), "a merge": ("<<: {a: 1}\nstates: []\n", ""),
    "a long key": ("k" * 100000 + ": 1\n", ""), "nothing": ("", ""), "only a comment": ("# nothing\n", ""),
    "an upward name": (CYCLE.replace("pristine", "../../etc"), "4:"), "a name of dots": (CYCLE.replace("pristine", ".."), "4:"),
    "a repeated state": (CYCLE.replace("full", "pristine"), "5:"), "no number": (CYCLE.replace("115", "much"), "2:"),
    "not a number": (CYCLE.replace("115", ".nan"), "2:"), "infinite": (CYCLE.replace("percent: 100", "percent: .inf"), "5:"),
    "out of bounds": (CYCLE.replace("classes: 3", "classes: 99999999999999999999"), "6:"),
    "a map for a number": (CYCLE.replace("classes: 3", "classes: {a: 1}"), "6:"),
}
TABLES = {
    "nothing": "", "a head alone": SPECTRUM.split("\n")[0] + "\n", "no head": "1,2,3\n4,5,6\n",
    "another head": "apples,pears\n1,2\n", "words for numbers": SPECTRUM.replace("10,", "ten,"),
    "not finite": SPECTRUM.splitlines()[0] + "\n" + "nan,inf,-inf\n" * 9, "half a row": SPECTRUM + "12,",
    "a negative frequency": SPECTRUM.splitlines()[0] + "\n" + "-1,2,3\n" * 9, "zero bytes": SPECTRUM.splitlines()[0] + "\n" + "\0\0\0\n" * 9,
    "huge exponents": SPECTRUM.splitlines()[0] + "\n" + "1e999,1,1\n" * 9, "a line without end": "1" * 200000,
    "too many columns": ",".join(["x"] * 5000) + "\n" + ",".join(["1"] * 5000) + "\n",
}


HEAD = b"HEXITECH" + struct.pack("<Q9Ii100s16s", 3, *[0] * 9, 0, b"", b"")


def raw(make_bytes):
    def make(path):
        with open(path, "wb") as f:
            f.write(make_bytes)
    return make




def about_the_line(count):
    """One pixel of 40 bins from 70 keV on."""
    return HEAD + struct.pack("<III", 1, 1, 40) + struct.pack("<80d", *range(70, 110), *[count] * 40)


HXTS = {
    "nothing": b"", "a head alone": HEAD, "another version": HEAD.replace(b"\3\0\0\0\0\0\0\0", b"\7\0\0\0\0\0\0\0", 1),
    "no pixels": HEAD + struct.pack("<III", 0, 4, 40), "more pixels than can be": HEAD + struct.pack("<III", 1 << 31, 1 << 31, 1 << 31),
    "sizes whose product is over": HEAD + struct.pack("<III", 65535, 65535, 1 << 20) + b"\0" * 800,
    "bins that go down": HEAD + struct.pack("<III", 1, 1, 3) + struct.pack("<6d", 3, 2, 1, 1, 1, 1),
    "bins that are no numbers": HEAD + struct.pack("<III", 1, 1, 3) + struct.pack("<6d", *[float("nan")] * 3, 1, 1, 1),
    "counts that are no numbers": about_the_line(float("nan")), "counts below nothing": about_the_line(-1),
    "counts beyond a count": about_the_line(1e300),
}
GAINS = {
    "nothing": "", "one row": "0.05 " * 8 + "\n", "words": GAIN.replace("0.05", "gain", 1), "not a number": GAIN.replace("0.05", "nan", 1),
    "infinite": GAIN.replace("0.05", "inf", 1), "a row too long": GAIN.replace("0.05", "0.05 0.05", 1), "below nothing": GAIN.replace("0.05", "-0.05"),
    "all dead": GAIN.replace("0.05", "0"), "huge": GAIN.replace("0.05", "1e300"), "zero bytes": "\0" * 500, "a line without end": "0.05 " * 100000,
}
FRAMES = {"nothing": b"", "part of a frame": b"\1" * 127, "an odd byte": b"\1" * 12801, "nothing but zeros": b"\0" * 1280, "nothing but ones": b"\xff" * 1280}


def wrong_key(f):
    scan_of(f, key=np.full(16, 7, "i4"))


def scan_of(f, **change):
    f["entry/definition"] = "NXtomo"
    f["entry/instrument/detector/data"] = change.get("data", scan_frames())
    f["entry/instrument/detector/image_key"] = change.get("key", SCAN_KEYS)
    f["entry/sample/rotation_angle"] = change.get("angle", np.arange(16) * 12.0)


SCANS = {
    "keys of no meaning": hdf5(wrong_key), "fewer keys than frames": hdf5(lambda f: scan_of(f, key=np.zeros(5, "i4"))),
    "fewer angles than frames": hdf5(lambda f: scan_of(f, angle=np.zeros(5))),
    "angles that are not numbers": hdf5(lambda f: scan_of(f, angle=np.full(16, np.nan))),
    "keys of text": hdf5(lambda f: scan_of(f, key=np.array([b"x"] * 16))),
    "angles as a table": hdf5(lambda f: scan_of(f, angle=np.zeros((16, 2)))),
    "two-axis frames": hdf5(lambda f: scan_of(f, data=np.zeros((16, 16), "u2"))),
    "no projections": hdf5(lambda f: scan_of(f, key=np.ones(16, "i4"))),
    "no flats": hdf5(lambda f: scan_of(f, key=np.zeros(16, "i4"))),
}


def cases():
    """(name, reader, maker, words of the message, may the program be content with it)."""
    for reader in READERS:
        for at in range(CUTS) if reader in ("segment", "recon") else range(0, CUTS, 4):
            yield f"{reader}: cut to {at}/{CUTS}", reader, cut(reader, at), (), reader in ("yaml", "csv", "dta", "frames", "gain")
        for turn in range(FLIPS if reader != "surface" else FLIPS // 3):
            yield f"{reader}: bytes changed, {turn}", reader, flip(reader, turn), (), True
    for reader in ("flux", "surface", "segment", "recon"):
        for name, (make, words) in STRUCTURES.items():
            yield f"{reader}: {name}", reader, make, words, False
    for name, (words, place) in YAMLS.items():
        yield f"yaml: {name}", "yaml", yaml(words), (place,) if ":" in place else (), name == "two documents"
    for name, words in TABLES.items():
        yield f"csv: {name}", "csv", text(words), (), name == "half a row"
        yield f"dta: {name}", "dta", text(words), (), name == "half a row"
    for name, words in HXTS.items():
        yield f"hxt: {name}", "hxt", raw(words), (), False
    for name, words in GAINS.items():
        yield f"gain: {name}", "gain", gain_of(words), (), name == "not a number"  # one dead pixel
    for name, words in FRAMES.items():
        yield f"frames: {name}", "frames", raw(words), (), name.startswith("nothing but")
    yield from findings()
    for name, make in SCANS.items():
        yield f"recon: {name}", "recon", make, (), name == "two-axis frames"  # a sinogram, too


def findings():
    """What the fuzzers found."""
    found = os.path.join(os.path.dirname(os.path.abspath(__file__)), "findings")
    for reader in sorted(os.listdir(found)):
        for name in sorted(os.listdir(os.path.join(found, reader))):
            with open(os.path.join(found, reader, name), "rb") as f:
                yield f"{reader}: {name}", reader, raw(f.read()), (), False


def gain_of(words):
    def make(path):
        frames_beside(path)
        with open(path, "w") as f:
            f.write(words)
    return make


def yaml(words):
    def make(path):
        with open(path, "wb") as f:
            f.write(words.encode("utf-8", "surrogateescape"))
    return make


class Hostile(Folder):
    def meets(self, chosen):
        """Every chosen case ends by itself within 20 s, with 2 or 3 (4: too big for this machine) and one
        message, which names the file or the memory it would take; where a change may leave a good file, also with 0 or 6."""
        wrong = []
        for name, reader, make, words, content in chosen:
            file, _, command = READERS[reader]
            path = self.at(file)
            make(path)
            before = os.listdir(self.folder)
            try:
                code, _, said = call(*[self.at(w) if w == "f.bin" else w for w in command], path, "--quiet", timeout=20)
            except Exception as error:  # a hang is one finding among others
                wrong.append(f"{name}: {type(error).__name__}")
                continue
            good = code in (2, 3) or (content and code in (0, 4, 6)) or (code == 4 and "beyond" in name)
            if code and code != 6:
                good = good and (file in said or code == 4 or "look at the gains" in said) and said.count("xcsct: error:") == 1 and all(w in said for w in words)
            if not good or os.listdir(self.folder) != before:
                wrong.append(f"{name}: exit {code}: {said[-600:]}")
            os.unlink(path)
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
        return len(chosen)
