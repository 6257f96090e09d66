"""Two stages under valgrind: nothing uninitialised is used, nothing outside is touched. They read no HDF5, since the
child that looks through such files first is this program started anew, which valgrind does not follow.
label: full
timeout: 1800"""
import os, shutil, subprocess, sys, unittest

from hostile import COUNTING, SPECTRUM, Folder, frames, text

SUPPRESSIONS = ("/usr/share/openmpi/openmpi-valgrind.supp",
                os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "valgrind.supp")))


class Valgrind(Folder):
    def setUp(self):
        if not shutil.which("valgrind") or os.environ.get("XCSCT_BUILD") == "Sanitize":
            print("skipped: valgrind is not here, or the build has sanitizers of its own")
            sys.exit(77)
        super().setUp()

    def is_clean(self, *words):
        # valgrind knows no AVX-512
        done = subprocess.run(["valgrind", "-q", "--error-exitcode=99", "--leak-check=no",
                               *(f"--suppressions={name}" for name in SUPPRESSIONS if os.path.exists(name)),
                               os.environ["XCSCT"], *words, "--isa", "baseline", "--quiet", "--output", self.at("o.h5"), "--force"],
                              capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])

    def test_frames_become_counts(self):
        frames(self.at("f.bin"))
        self.is_clean(*COUNTING, "--gain-kev", "0.05", "--frames", self.at("f.bin"))

    def test_a_spectrum_becomes_resistances(self):
        text(SPECTRUM)(self.at("eis.csv"))
        self.is_clean("echem", "--impedance", self.at("eis.csv"))


if __name__ == "__main__":
    unittest.main()
