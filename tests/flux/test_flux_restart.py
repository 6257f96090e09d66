"""A killed solution goes on, a state starts from the one before. timeout: 900"""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")


class Restart(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        field = np.random.default_rng(4).random((64, 60, 62))
        for a in range(3):
            field = field + np.roll(field, 1, a) + np.roll(field, 2, a)
        self.field = field
        self.input = self.write(field > np.quantile(field, 0.72))

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, labels, name="in.h5"):
        with h5py.File(self.path(name), "w") as f:
            f["labels"] = labels.astype("u1")
        return self.path(name)

    def words(self, output, *more, ranks=0):
        start = [MPIEXEC, "-n", str(ranks)] if ranks else []
        return start + [XCSCT, "flux", "--input", self.input, "--conducting", "1", "--tolerance", "1e-8", "--output", output,
                        *map(str, more), "--json", "-"]

    def run_all(self, *args, **more):
        done = subprocess.run(self.words(*args, **more), capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["results"], done.stderr

    def kill_at_first_checkpoint(self, output, *more):
        process = subprocess.Popen(self.words(output, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not os.path.exists(output + ".checkpoint"):
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def test_a_killed_solution_goes_on_to_the_same_interval(self):
        whole, _ = self.run_all(self.path("whole.h5"), "--checkpoint-s", 0)
        output = self.path("o.h5")
        self.kill_at_first_checkpoint(output, "--checkpoint-s", 1e-9)
        if not os.path.exists(output + ".checkpoint"):
            self.skipTest("it ended before it was killed")
        self.assertFalse(os.path.exists(output))
        again, told = self.run_all(output, "--checkpoint-s", 1e-9)
        self.assertIn("goes on from iteration", told)
        self.assertFalse(os.path.exists(output + ".checkpoint"))
        a, b = whole["effective_diffusivity"], again["effective_diffusivity"]
        self.assertLessEqual(max(a["lower"], b["lower"]), min(a["upper"], b["upper"]))
        self.assertLessEqual(again["iterations"]["value"], whole["iterations"]["value"])

    def test_directions_that_are_done_are_not_done_again_and_other_work_is_not_taken(self):
        output = self.path("o.h5")
        done = subprocess.run(self.words(output, "--direction", "all", "--fields", "none", "--checkpoint-s", 1e-9, "--max-time", 1e-9),
                              capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.kill_at_first_checkpoint(output, "--direction", "all", "--fields", "none", "--checkpoint-s", 1e-9)
        if not os.path.exists(output + ".checkpoint"):
            self.skipTest("it ended before it was killed")
        _, told = self.run_all(output, "--checkpoint-s", 1e-9, "--periodic", "yes")
        self.assertNotIn("goes on", told)

    def test_a_state_starts_from_the_one_before_where_that_is_nearer(self):
        first, _ = self.run_all(self.path("first.h5"))
        self.input = self.write(self.field > np.quantile(self.field, 0.7195), "next.h5")
        for ranks in (0, 3):
            cold, _ = self.run_all(self.path("cold.h5"), ranks=ranks)
            warm, told = self.run_all(self.path("warm.h5"), "--start", self.path("first.h5"), ranks=ranks)
            a, b = cold["effective_diffusivity"], warm["effective_diffusivity"]
            self.assertLessEqual(max(a["lower"], b["lower"]), min(a["upper"], b["upper"]))
            self.assertLessEqual(warm["iterations"]["value"], cold["iterations"]["value"])
            self.assertIn("starts from the state before", told)
        self.input = self.write(self.field[:50] > 0, "short.h5")
        done = subprocess.run(self.words(self.path("n.h5"), "--start", self.path("first.h5")), capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 3)
        self.assertIn("voxels along z", done.stderr)


if __name__ == "__main__":
    unittest.main()
