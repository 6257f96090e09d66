"""kill -9 at any moment: run again continues, and ends with the same bits.
timeout: 400"""
import os, random, signal, subprocess, time, unittest

import h5py

from cycles import MPIEXEC, XCSCT, Folder, datasets

KILLS = int(os.environ.get("XCSCT_KILLS", "5"))
STATES = ("a", "b", "c")
BLOCKS = "segment: {median: 3}\nflux: {conducting: [1], direction: z, tolerance: 1e-3}\n"


def ranks_of(mpirun):
    """Processes that mpirun started."""
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(mpirun)], capture_output=True, text=True)
    return [int(pid) for pid in out.stdout.split()]


class Kill(Folder):
    def words(self, out):
        return [MPIEXEC, "-n", "2", XCSCT, "run", self.at("cycle.yaml"), "--output", self.at(out),
                "--stages", "segment,flux", "--quiet"]

    def undisturbed(self, out):
        begun = time.monotonic()
        done = subprocess.run(self.words(out), capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        return time.monotonic() - begun

    def kill_once(self, kind, after):
        job = subprocess.Popen(self.words("out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        ranks = ranks_of(job.pid)
        victims = {"one": ranks[:1], "all": ranks, "mpirun": [job.pid]}[kind]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        job.wait(timeout=60)
        for _ in range(100):  # ranks end by themselves when their mpirun is gone
            if not any(os.path.exists(f"/proc/{pid}") for pid in ranks):
                break
            time.sleep(0.1)
        self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in ranks), "ranks outlive their job")

    def test_a_killed_run_goes_on_to_the_same_bits(self):
        self.cycle(STATES, 48, BLOCKS)
        seconds = self.undisturbed("whole")
        dice = random.Random(KILLS)
        for i in range(KILLS):
            self.kill_once(("one", "all", "mpirun")[i % 3], dice.uniform(0.1, 1.0) * seconds)
            for state in STATES:  # under its name a result is whole
                for stage in ("segment", "flux"):
                    path = self.at("out", state, stage + ".h5")
                    if os.path.exists(path):
                        h5py.File(path, "r").close()
        self.undisturbed("out")
        for state in STATES:
            self.assertEqual(datasets(self.at("out", state, "segment.h5")),
                             datasets(self.at("whole", state, "segment.h5")))
            with h5py.File(self.at("out", state, "flux.h5")) as a, h5py.File(self.at("whole", state, "flux.h5")) as b:
                name = "entry/results/effective_diffusivity_z" if "entry/results/effective_diffusivity_z" in a else "entry/results/effective_diffusivity"
                self.assertAlmostEqual(a[name][()], b[name][()], delta=1e-3 * abs(b[name][()]) + 1e-12)
        begun = [line.split()[1:4] for line in self.read("out/journal/run.log").splitlines()]
        for state in STATES:
            for stage in ("segment", "flux"):
                self.assertLessEqual(begun.count(["done", state, stage]), 1, "a finished unit was redone")
        left = [name for state in STATES for name in os.listdir(self.at("out", state)) if not name.endswith(".h5")]
        self.assertEqual(left, [], "partial files and locks are left behind")


if __name__ == "__main__":
    unittest.main()
