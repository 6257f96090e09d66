"""Every place of the source where a fault can be asked for, and a command that passes it."""
import glob, os, re, shutil

import h5py
import numpy as np

from hostile import COUNTING, CYCLE, Folder, SPECTRUM, call, frames, hxt, labels, scan, text, volume

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
RANKS = 3
TWIN = ("twin", "--columns", "24", "--projections", "6", "--frames", "3", "--frame-darks", "2",
        "--xcs-disc-counts", "0", "--xcs-last-kev", "80", "--xcs-bin-kev", "0.5")


def cycle(path):
    """Two states with a volume, run through segment and track."""
    volume(os.path.join(os.path.dirname(path), "v.h5"))
    text(CYCLE.replace("flux:\n  conducting: [1, 2]\n  direction: z\n", "track: {phase: 1}\n"))(path)


def cycle_of_scans(path):
    scan(os.path.join(os.path.dirname(path), "v.h5"))
    text(CYCLE.split("segment:")[0].replace("volume:", "tomogram:") + "recon: {rings: none, centre: 8}\nalign: {}\n")(path)


def blobs(path):
    """Smooth blobs, and beside them the same a voxel further."""
    z, y, x = np.indices((28, 30, 32))
    dice = np.random.default_rng(4)
    grey = sum(np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 12) for a, b, c in dice.uniform(6, 24, (30, 3)))
    for name, shift in ((path, 0), (os.path.join(os.path.dirname(path), "moved.h5"), 1)):
        with h5py.File(name, "w") as f:
            f["v"] = np.roll(grey, shift, 2).astype("f4")


def porous(path):
    with h5py.File(path, "w") as f:
        f["labels"] = (np.random.default_rng(1).random((14, 15, 16)) < 0.7).astype("u1")


def seen(path):
    """Two states with labels of a layered cell, momentum factors and densities of three slabs: all that correlate reads."""
    folder, dice = os.path.dirname(path), np.random.default_rng(2)
    z, y, x = np.indices((44, 24, 24))
    cell = np.hypot(y - 11.5, x - 11.5) < 10
    with h5py.File(os.path.join(folder, "l.h5"), "w") as f:
        made = f.create_dataset("labels", data=(cell * np.select(
            [z < 20, z < 26], [1, 2], 2 + (dice.random(z.shape) < 0.63))).astype("u1"))
        made.attrs["element_size_um"] = (5.0, 100.0, 100.0)
    with h5py.File(os.path.join(folder, "c.h5"), "w") as f:
        for name, value in (("emf", (1.5, 2.05, 2.23)), ("density", (4.06, 1.83, 1.44))):
            shape = np.array(value)[:, None, None] * np.ones((3, 12, 12))
            f[f"entry/{name}/data"] = shape * (1 + 0.01 * dice.normal(size=shape.shape))
            f[f"entry/{name}/data_errors"] = 0.01 * shape
    given = "{name: %s, percent: %d, step: charge, labels: 'l.h5:/labels', emf: 'c.h5:/entry/emf/data', density: 'c.h5:/entry/density/data'}"
    text("sample: one\nbeam: {beam_deg: 90}\nstates:\n"
         + "".join(f"  - {given % state}\n" for state in (("pristine", 0), ("full", 100)))
         + "correlate: {heights_um: '65,2.5,-25', draws: 20, fraction_error: 0.02}\n")(path)


# what a command works on, the command, where its output goes
COMMANDS = [
    (volume, "volume.h5", ("segment", "--chain", "paper"), "--input", "o.h5"),
    (labels, "labels.h5", ("flux", "--conducting", "1", "--voxel-um", "1"), "--input", "o.h5"),
    (labels, "labels.h5", ("surface", "--phase", "1", "--voxel-um", "1"), "--labels", "o.h5"),
    (scan, "scan.nxs", ("recon", "--rings", "none", "--centre", "8"), "--input", "o.h5"),
    (text(SPECTRUM), "eis.csv", ("echem",), "--impedance", "o.h5"),
    (frames, "f.bin", (*COUNTING, "--gain-kev", "0.05", "--round-s", "0"), "--frames", "o.h5"),
    (hxt, "s.hxt", COUNTING, "--spectra", "o.h5"),
    (cycle, "cycle.yaml", ("run", "--stages", "segment,track"), "", "out"),
    (cycle_of_scans, "cycle.yaml", ("run", "--until", "align"), "", "out"),
    (blobs, "blobs.h5", ("align", "--box", "all", "--most-px", "4", "--volumes", "moved.h5"), "", "o.h5"),
    (volume, "volume.h5", ("segment", "--phase-opening-vox", "1", "--fill-holes", "yes"), "--input", "o.h5"),
    (porous, "labels.h5", ("flux", "--conducting", "1", "--solver", "krylov"), "--input", "o.h5"),
    (porous, "labels.h5", ("flux", "--conducting", "1", "--electrode", "high"), "--input", "o.h5"),
    (seen, "cycle.yaml", ("run", "--stages", "correlate"), "", "out"),
    (volume, "volume.h5", ("export",), "", "o.tif"),
    (None, "", TWIN, "", "twin"),
]


def sites_of_source():
    """Names in the source, of folders that some command reaches."""
    found = set()
    for path in glob.glob(os.path.join(TOP, "src", "*", "*.c")):
        with open(path) as f:
            found |= set(re.findall(r'(?:fault_here\(|ON_ROOT\(\w+(?:->\w+)?,\s*)"([a-z_]+\.[a-z_]+)"', f.read()))
    return found


class Faults(Folder):
    def words(self, at):
        make, file, command, option, output = COMMANDS[at]
        if make:
            make(self.at(file))
        given = (option, self.at(file)) if option else (self.at(file),) if file else ()
        command = tuple(self.at(w) if w == "moved.h5" else w for w in command)
        return command + given + ("--output", self.at(output), "--force", "--quiet")

    def passed(self, at):
        """The places that a command passes, in their order."""
        listed = self.at("sites")
        code, _, said = call(*self.words(at), ranks=RANKS, env={"XCSCT_FAULT_LIST": listed})
        self.assertIn(code, (0, 6), said)
        names = list(dict.fromkeys(self.read(listed).split())) if os.path.exists(listed) else []
        os.path.exists(listed) and os.unlink(listed)
        return names

    def fault_is_told_by_all(self, at, site, rank):
        for folder in ("twin", "out"):
            shutil.rmtree(self.at(folder), ignore_errors=True)
        output = self.at(COMMANDS[at][4])
        if os.path.isfile(output):
            os.unlink(output)
        code, _, said = call(*self.words(at), ranks=RANKS, env={"FAULT": f"{site}:{rank}"}, timeout=30)
        where = f"{COMMANDS[at][2][0]} with a fault at {site} on rank {rank}: "
        self.assertEqual(code, 1, where + said)
        self.assertEqual(said.count("xcsct: error:"), 1, where + said)
        self.assertIn(f"fault asked for at {site}", said, where)
        self.assertFalse(os.path.isfile(output), where + "a file under the final name")
        self.assertEqual([n for _, _, names in os.walk(self.folder) for n in names
                          if any(w in n for w in ("partial", "lock", "rounds"))], [], where)
