"""Small cycles whose states bring their own volumes, and calls of the program."""
import json, os, shutil, subprocess, tempfile, unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")
SANITIZED = os.environ.get("XCSCT_BUILD") == "Sanitize"


def volume(path, n=12, seed=1):
    """Slabs of two greys with noise, float32 [n, n+1, n+2]."""
    noise = np.random.default_rng(seed).random((n, n + 1, n + 2))
    z, y, x = np.indices(noise.shape)
    with h5py.File(path, "w") as f:
        f["v"] = (noise + 2 * ((x + y + z) // 5 % 2)).astype("f4")


def scan(path, columns=160, angles=120, rows=320, seed=3):
    """A tomography scan of noise in Data Exchange's layout; its centre is (columns - 1) / 2."""
    with h5py.File(path, "w") as f:
        f["exchange/data"] = np.random.default_rng(seed).integers(900, 3000, (angles, rows, columns), "u2")
        f["exchange/theta"] = np.arange(angles) * 180.0 / angles
        f["exchange/data_white"] = np.full((2, rows, columns), 4000, "u2")
        f["exchange/data_dark"] = np.full((2, rows, columns), 100, "u2")


def call(*words, ranks=0, env=None, timeout=120):
    """Exit code, stdout, stderr of the program; ranks = 0: without mpirun. Sanitized it may take four times as long."""
    head = [MPIEXEC, "-n", str(ranks)] if ranks else []
    done = subprocess.run(head + [XCSCT] + [str(w) for w in words], capture_output=True, text=True,
                          timeout=timeout * (4 if SANITIZED else 1), env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


class Folder(unittest.TestCase):
    """A test with a scratch folder, gone at its end."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="xcsct-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def at(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
        with open(self.at(name), "w") as f:
            f.write(text)
        return self.at(name)

    def read(self, *names):
        with open(self.at(*names)) as f:
            return f.read()

    def cycle(self, states=("a", "b"), n=12, more=""):
        lines = []
        os.makedirs(self.at("raw"), exist_ok=True)
        for i, state in enumerate(states):
            volume(self.at("raw", state + ".h5"), n, i)
            lines.append(f"  - {{name: {state}, percent: {i % 101}, volume: raw/{state}.h5}}")
        return self.write("cycle.yaml", "sample: test\nstates:\n" + "\n".join(lines) + "\n" + more)

    def status(self, out="out"):
        with open(self.at(out, "status.json")) as f:
            return json.load(f)

    def units(self, out="out"):
        """{state/stage: done|kept|...}"""
        return {u["state"] + "/" + u["stage"]: u["is"] for u in self.status(out)["units"]}

    def ends(self, result, code, *words):
        """The program ended with this code and one message that holds the words."""
        self.assertEqual(result[0], code, result)
        for word in words:
            self.assertIn(word, result[2])
        self.assertEqual(result[2].count("xcsct: error:") + result[2].count("xcsct: stopped:"),
                         1 if code else 0, result[2])


def datasets(path):
    """Every dataset of a product's group as bytes, without provenance."""
    found = {}

    def see(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("entry/process"):
            found[name] = (item.shape, str(item.dtype), item[()].tobytes())

    with h5py.File(path, "r") as f:
        f.visititems(see)
    return found
