"""Reference answers on real volumes: the interval must hold the published or independently computed D_eff."""
import json
import os
import subprocess
import tempfile
import zipfile

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")
DATA = os.path.join(os.environ.get("XCSCT_DATA", ""), "transport")


def references():
    with open(os.path.join(DATA, "references.json")) as f:
        return json.load(f)


def flux(*words, ranks=1):
    done = subprocess.run([MPIEXEC, "-n", str(ranks), XCSCT, "flux", *map(str, words), "--json", "-"], capture_output=True,
                          text=True, timeout=900)
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)["results"]


def labels_of(volume, folder):
    """FILE[:DATASET] of the labels, made from the shipped file where that holds something else."""
    name = volume.split(" ")[0]
    if name.startswith("TF-500"):
        with zipfile.ZipFile(os.path.join(DATA, name + ".zip")) as z:
            member = [m for m in z.namelist() if m.endswith((".tif", ".tiff")) and "__MACOSX" not in m][0]
            return z.extract(member, folder)
    if name.startswith("fiberform"):
        path = os.path.join(folder, "fiberform.h5")
        with h5py.File(os.path.join(DATA, name)) as f, h5py.File(path, "w") as out:
            out["labels"] = (f["/entry/volume/data"][:] < 90).astype("u1")
        return path
    return os.path.join(DATA, name)


def check(test, entry, folder, tolerance, slack=2e-8, ranks=1):
    words = ["--input", labels_of(entry["volume"], folder), "--direction", "zyx"[entry["axis"]], "--tolerance", tolerance,
             "--voxel-um", 1, "--diffusivity", ",".join(f"{k}={v}" for k, v in entry["conductivities"].items())]
    if not at_faces(entry):
        words += ["--fixed", "middles"]
    if entry["sides"] == "periodic":
        words += ["--periodic", "yes"]
    r = flux(*words, ranks=ranks)
    d, truth = r["effective_diffusivity"], entry["D_eff"]
    test.assertLessEqual(d["lower"], truth * (1 + slack), entry)
    test.assertGreaterEqual(d["upper"], truth * (1 - slack), entry)
    test.assertLessEqual(d["upper"] - d["lower"], tolerance * (d["upper"] + d["lower"]))
    test.assertAlmostEqual(r["tortuosity_factor"]["value"] / entry["tau_Dmean_over_Deff"], 1, delta=3 * tolerance)
    test.assertAlmostEqual(r["volume_fraction"]["value"], entry["eps_total"], 9)
    if "tau_percolating" in entry and at_faces(entry):  # of a fixed layer, what conducts inwards counts as percolating
        test.assertAlmostEqual(r["tortuosity_factor_percolating"]["value"] / entry["tau_percolating"], 1, delta=3 * tolerance)
        test.assertAlmostEqual(r["percolating_fraction"]["value"], entry["eps_percolating"], 9)
    return r


def at_faces(entry):
    return "OUTER FACES" in entry["boundary"] or "outer faces" in entry["boundary"]


def temporary():
    return tempfile.TemporaryDirectory()
