"""A reconstruction that is stopped or killed goes on at the round it was in.
timeout: 300"""
import json, os, signal, subprocess, sys, time, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
from cycles import MPIEXEC, XCSCT, Folder, call, datasets, scan  # noqa: E402


class Resume(Folder):
    def setUp(self):
        super().setUp()
        scan(self.at("scan.h5"))
        self.memory = self.least_memory()

    def words(self, out):
        return ["recon", "--input", self.at("scan.h5"), "--centre", "79.5", "--rings", "none", "--method", "direct",
                "--output", self.at(out)]

    def planned(self, memory):
        code, said, _ = call("plan", *self.words("o.h5"), "--memory-gb", memory, "--json", "-")
        self.assertEqual(code, 0)
        results = json.loads(said)["results"]
        return results["memory_per_rank"]["value"], results["rounds"]["value"]

    def least_memory(self):
        """As many rounds as there can be."""
        least, rounds = self.planned(1e-6)
        self.assertGreater(rounds, 20)
        return least * 1.0001

    def started(self, ranks):
        head = [MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
        return subprocess.Popen(head + [XCSCT, *self.words("o.h5"), "--memory-gb", str(self.memory * ranks)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def noted(self):
        """Slices that were done at each line of the journal."""
        path = self.at("o.h5.rounds")
        if not os.path.exists(path):
            return []
        with open(path) as f:
            return [int(line.split()[0]) for line in f if line.endswith(" .\n")]

    def wait(self, what):
        for _ in range(3000):
            if what():
                return
            time.sleep(0.01)
        self.fail("nothing happens")

    def goes_on_to(self, whole, ranks):
        done = self.noted()[-1]
        job = self.started(ranks)
        _, said = job.communicate(timeout=120)
        self.assertEqual(job.returncode, 0, said)
        if done:  # else it was stopped within its first round
            self.assertIn(f"goes on at slice {done} of 320", said)
        self.assertEqual(datasets(self.at("o.h5")), whole)
        self.assertEqual([n for n in os.listdir(self.folder) if "partial" in n or "rounds" in n], [])
        os.unlink(self.at("o.h5"))

    def test_it_goes_on_to_the_same_bits(self):
        self.ends(call(*self.words("whole.h5"), "--quiet", timeout=100), 0)
        whole = datasets(self.at("whole.h5"))
        job = self.started(1)
        self.wait(lambda: os.path.exists(self.at("o.h5.rounds")))
        job.send_signal(signal.SIGUSR1)
        _, said = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 75, said)
        self.assertFalse(os.path.exists(self.at("o.h5")))
        self.assertGreaterEqual(len(self.noted()), 1)
        self.goes_on_to(whole, 2)
        job = self.started(1)
        self.wait(lambda: self.noted() or job.poll() is not None)
        self.assertIsNone(job.poll(), "it was over before it could be killed")
        job.kill()
        job.communicate()
        self.assertGreater(self.noted()[-1], 0)
        self.goes_on_to(whole, 1)

    def test_a_stage_by_itself_obeys_its_time_limit(self):
        with h5py.File(self.at("l.h5"), "w") as f:
            f["labels"] = (np.random.default_rng(1).random((12, 13, 14)) < 0.8).astype("u1")
        for words in (self.words("o.h5"), ["flux", "--input", self.at("l.h5"), "--conducting", "1", "--output", self.at("o.h5")]):
            self.ends(call(*words, "--max-time", "1e-9", "--quiet", ranks=2), 75, "time limit")
            self.assertFalse(os.path.exists(self.at("o.h5")))


if __name__ == "__main__":
    unittest.main()
