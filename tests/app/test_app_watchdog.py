"""Ranks that lose each other are noticed, and each says where it stands.
timeout: 200"""
import os, subprocess, time, unittest

from hostile import Folder, call, labels

WORDS = ("flux", "--conducting", "1", "--voxel-um", "1", "--output")


class Watchdog(Folder):
    def setUp(self):
        super().setUp()
        labels(self.at("labels.h5"))
        self.words = (*WORDS, self.at("o.h5"), "--input", self.at("labels.h5"), "--quiet")

    def hangs(self, at):
        begun = time.monotonic()
        code, _, said = call(*self.words, "--watchdog", "2", ranks=3, env={"FAULT": f"{at}:hang"}, timeout=60)
        if code == 0:
            self.skipTest("built without XCSCT_FAULTS")
        self.assertNotEqual(code, 0, said)
        self.assertLess(time.monotonic() - begun, 40)
        self.assertIn("ranks no longer come together (--watchdog 2 s)", said)
        return said

    def test_a_rank_that_hangs_is_told_apart_from_those_that_wait(self):
        said = self.hangs("store.begin:1")
        self.assertIn("rank 1 has not come to an agreement for", said)
        for rank in (0, 2):
            self.assertRegex(said, f"rank {rank} waits for the others at store_begin.c:[0-9]+ since")
        self.assertFalse(os.path.exists(self.at("o.h5")))

    def test_the_others_speak_when_rank_0_hangs(self):
        self.assertRegex(self.hangs("store.open:0"), "rank 1 waits for the others at store_[a-z]+.c:[0-9]+ since")

    def test_who_is_in_time_is_left_alone(self):
        self.ends(call(*self.words, "--watchdog", "0.5", ranks=2), 0)
        self.ends(call(*self.words, "--watchdog", "0", ranks=2), 0)

    def test_ranks_that_agree_at_different_places_are_noticed(self):
        """What a mistake in the source would do, in the harness of test_base_status."""
        program = os.path.join(os.path.dirname(os.environ["XCSCT"]), "tests", "test_base_places")
        done = subprocess.run([os.environ.get("MPIEXEC", "mpirun"), "-n", "3", program], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "XCSCT_DEBUG_AGREE": "1", "PLACES_APART": "1"})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ranks agree at different places", done.stderr)
        self.assertRegex(done.stderr, "rank 0 agrees at .*test_base_places.c:[0-9]+")
        self.assertRegex(done.stderr, "rank 2 agrees at .*test_base_places.c:[0-9]+")


if __name__ == "__main__":
    unittest.main()
