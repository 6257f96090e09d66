"""What a command says and leaves behind when an input or the disk is not as it should be: one message, the
right exit code, nothing under the final name. timeout: 300"""
import fcntl
import os
import socket
import subprocess
import tempfile
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")


def run(*words, ranks=0):
    start = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return subprocess.run(start + [XCSCT, *map(str, words)], capture_output=True, text=True, timeout=60)


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.good = self.path("good.h5")
        with h5py.File(self.good, "w") as file:
            file["entry/labels/data"] = np.ones((6, 5, 4), "u1")
            file["words"] = "no numbers"
            file["table"] = np.ones((3, 2))

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def refused(self, code, said, source=None, output=None, ranks=0):
        """Runs flux; checks code, words, one message, and that the output folder is as before."""
        output = output or self.path("out.h5")
        before = self.listing()
        done = run("flux", "--input", source or self.good, "--conducting", 1, "--output", output, ranks=ranks)
        self.assertEqual(done.returncode, code, done.stderr)
        for words in said:
            self.assertIn(words, done.stderr)
        self.assertEqual(done.stderr.count("xcsct: error:"), 1, done.stderr)
        self.assertEqual(self.listing(), before)

    @staticmethod
    def bytes_of(name):
        with open(name, "rb") as file:
            return file.read()

    def listing(self):
        return sorted(os.path.join(at, name) for at, _, files in os.walk(self.folder.name) for name in files)

    def test_inputs_that_cannot_be_read(self):
        with open(self.good, "rb") as whole, open(self.path("cut.h5"), "wb") as cut:
            cut.write(whole.read()[:-100])
        with open(self.path("notes.txt"), "w") as file:
            file.write("hello")
        open(self.path("empty.h5"), "w").close()
        os.symlink("loop.h5", self.path("loop.h5"))
        for name, said in (("cut.h5", "truncated"), ("notes.txt", "HDF5"), ("empty.h5", "empty"),
                           ("gone.h5", "No such file"), ("loop.h5", "symbolic links"), (".", "folder")):
            with self.subTest(name=name):
                self.refused(3, [self.path(name), said], self.path(name), ranks=2 if name == "cut.h5" else 0)

    def test_datasets_that_do_not_serve(self):
        with h5py.File(self.path("odd.h5"), "w") as file:
            file["nan"] = np.full((3, 3, 3), np.nan)
            file["half"] = np.full((3, 3, 3), 0.5, "f4")
            file["four"] = np.ones((2, 2, 2, 2))
        for name, said in ((self.good + ":/label", "no dataset /label"),
                           (self.good + ":/entry/label/data", "did you mean /entry/labels/data?"),
                           (self.good + ":/words", "no numbers"), (self.good + ":/entry", "group"),
                           (self.path("odd.h5") + ":/four", "4 axes (2 x 2 x 2 x 2), not 3"),
                           (self.path("odd.h5") + ":/nan", "nan at (0, 0, 0)"),
                           (self.path("odd.h5") + ":/half", "0.5 at (0, 0, 0)"),
                           (self.path("odd.h5"), "/half (3 x 3 x 3, float32)")):
            with self.subTest(name=name):
                self.refused(3, [said], name)

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_a_file_without_permission(self):
        os.chmod(self.good, 0)
        self.refused(3, ["Permission denied"])

    def test_output_places_that_cannot_be_written(self):
        os.mkdir(self.path("dir.h5"))
        with h5py.File(self.path("theirs.h5"), "w") as file:
            file["x"] = 1
        for output, said in ((self.path("gone", "out.h5"), "not there"), (self.path("dir.h5"), "is a folder"),
                             (os.path.join(self.good, "out.h5"), "not"), ("/proc/out.h5", "/proc"),
                             (self.path("theirs.h5"), "--force")):
            with self.subTest(output=output):
                self.refused(5, [said], output=output)

    def test_the_second_of_two_runs_refuses_and_a_dead_lock_is_taken_over(self):
        lock = self.path("out.h5.lock")
        with open(lock, "w") as held:
            held.write(f"{socket.gethostname()} {os.getpid()}\n")
            held.flush()
            fcntl.flock(held, fcntl.LOCK_EX)
            self.refused(5, [f"process {os.getpid()} on {socket.gethostname()}"], ranks=2)
        done = run("flux", "--input", self.good, "--conducting", 1, "--output", self.path("out.h5"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("is taken over", done.stderr)
        self.assertFalse(os.path.exists(lock))

    def test_a_full_disk(self):
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], capture_output=True).returncode:
            self.skipTest("no tmpfs can be mounted here")
        self.addCleanup(subprocess.run, ["umount", small])
        with h5py.File(self.path("large.h5"), "w") as file:
            file["labels"] = np.ones((90, 80, 70), "u1")
        output = os.path.join(small, "out.h5")
        done = run("flux", "--input", self.good, "--conducting", 1, "--output", output)
        self.assertEqual(done.returncode, 0, done.stderr)
        older = self.bytes_of(output)
        for ranks in (0, 2):
            self.refused(4, [output], self.path("large.h5"), output, ranks)
        self.assertEqual(self.bytes_of(output), older)


if __name__ == "__main__":
    unittest.main()
