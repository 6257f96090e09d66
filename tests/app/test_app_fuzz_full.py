"""Ten minutes of random inputs for every reader (XCSCT_FUZZ_S: other seconds).
label: full
timeout: 7200"""
import os, subprocess, sys, unittest

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Fuzz(unittest.TestCase):
    def test_nothing_is_found(self):
        done = subprocess.run([os.path.join(TOP, "tests", "fuzz.sh"), os.environ.get("XCSCT_FUZZ_S", "600")],
                              capture_output=True, text=True)
        if done.returncode == 77:
            self.skipTest(done.stderr)
        print(done.stdout, file=sys.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
