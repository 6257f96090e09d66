"""kill -9 at any moment: run again continues, and ends with the same bits.
timeout: 400"""
import os, random, shutil, signal, subprocess, time, unittest

import h5py

from cycles import MPIEXEC, XCSCT, Folder, datasets, scan

KILLS = int(os.environ.get("XCSCT_KILLS", "5"))
STATES = ("a", "b", "c")
STAGES = ("recon", "segment", "flux")
BLOCKS = ("recon: {centre: 31.5, rings: none, method: direct}\nsegment: {median: 3}\n"
          "flux: {conducting: [1], direction: z, tolerance: 1e-3}\n")


def ranks_of(mpirun):
    """Processes that mpirun started."""
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(mpirun)], capture_output=True, text=True)
    return [int(pid) for pid in out.stdout.split()]


class Kill(Folder):
    def words(self, out):
        return [MPIEXEC, "-n", "2", XCSCT, "run", self.at("cycle.yaml"), "--output", self.at(out),
                "--stages", ",".join(STAGES), "--quiet"]

    def scans(self):
        for i, state in enumerate(STATES):
            scan(self.at(state + ".h5"), 64, 60, 64, i)
        self.write("cycle.yaml", "states:\n" + "".join(f"  - {{name: {s}, tomogram: {s}.h5}}\n" for s in STATES) + BLOCKS)

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

    def whole_under_their_names(self):
        for state in STATES:
            for stage in STAGES:
                path = self.at("out", state, stage + ".h5")
                if os.path.exists(path):
                    h5py.File(path, "r").close()

    def ends_as_undisturbed(self):
        self.undisturbed("out")
        for state in STATES:
            for stage in ("recon", "segment"):
                self.assertEqual(datasets(self.at("out", state, stage + ".h5")), datasets(self.at("whole", state, stage + ".h5")))
            with h5py.File(self.at("out", state, "flux.h5")) as a, h5py.File(self.at("whole", state, "flux.h5")) as b:
                name = "entry/results/effective_diffusivity"
                self.assertAlmostEqual(a[name][()], b[name][()], delta=1e-3 * abs(b[name][()]) + 1e-12)
        lines = [line.split()[1:4] for line in self.read("out/journal/run.log").splitlines()]
        for state in STATES:
            for stage in STAGES:
                self.assertLessEqual(lines.count(["done", state, stage]), 1, "a finished unit was redone")
        left = [name for state in STATES for name in os.listdir(self.at("out", state)) if not name.endswith((".h5", ".png"))]
        self.assertEqual(left, [], "partial files, journals and locks are left behind")

    def test_a_killed_run_goes_on_to_the_same_bits(self):
        self.scans()
        seconds = self.undisturbed("whole")
        dice, cycles = random.Random(KILLS), 0
        for i in range(KILLS):
            self.kill_once(("one", "all", "mpirun")[i % 3], dice.uniform(0.1, 0.9) * seconds)
            self.whole_under_their_names()
            if os.path.exists(self.at("out", STATES[-1], "flux.h5")) and i < KILLS - 1:  # all is done: again from nothing
                self.ends_as_undisturbed()
                shutil.rmtree(self.at("out"))
                cycles += 1
        self.ends_as_undisturbed()
        print(f"{KILLS} kills, {cycles + 1} cycles of {seconds:.1f} s")


if __name__ == "__main__":
    unittest.main()
