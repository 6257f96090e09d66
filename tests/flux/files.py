"""Shared by flux's tests of the command line: files in a folder of their own, results out."""
import json
import os
import subprocess
import tempfile
import unittest

import h5py

XCSCT = os.environ["XCSCT"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")


def flux(*words, ranks=0):
    start = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return subprocess.run(start + [XCSCT, "flux", *map(str, words)], capture_output=True, text=True, timeout=120)


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, data, name="in.h5", dataset="labels"):
        with h5py.File(self.path(name), "w") as f:
            f[dataset] = data
        return self.path(name)

    def results(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["results"]
