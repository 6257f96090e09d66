"""The batch scripts on a real, private SLURM of two pretended nodes.
label: full
timeout: 1200"""
import csv, os, shutil, subprocess, sys, time, unittest

from cycles import XCSCT, Folder, datasets

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SLURM = os.path.join(TOP, "tests", "slurm.sh")
CONF = {}
SCALE = "surface: {voxel_um: 2}\n"


def setUpModule():
    if os.geteuid() != 0 or not shutil.which("sbatch") or not shutil.which("munged", path="/usr/sbin:/sbin:" + os.environ["PATH"]):
        print("skipped: a private SLURM needs root, slurm-wlm and munge")
        sys.exit(77)
    subprocess.run([SLURM, "start"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    words = subprocess.run([SLURM, "env"], check=True, capture_output=True, text=True).stdout.split()
    CONF["SLURM_CONF"] = words[1].split("=", 1)[1]


def tearDownModule():
    subprocess.run([SLURM, "stop"], timeout=120)


def slurm(*words, env=None):
    all_env = {**os.environ, **CONF, "XCSCT": XCSCT, "XCSCT_JOBS": os.path.join(TOP, "jobs"), **(env or {})}
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=60, env=all_env)
    if done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


class Slurm(Folder):
    def queue_empties(self, seconds=240):
        for _ in range(2 * seconds):
            if not slurm("squeue", "-h").strip():
                return
            time.sleep(0.5)
        self.fail(slurm("squeue") + self.logs())

    def logs(self):
        folder = self.at("out/journal")
        return "".join(self.read("out/journal", n) for n in sorted(os.listdir(folder)) if n.startswith("slurm"))

    def chain(self, *before):
        return slurm(os.path.join(TOP, "jobs", "chain.sh"), *before, self.at("cycle.yaml"), self.at("out"),
                     "--ntasks=2", "--time=10")

    def batch(self, script, *words, options=(), env=None):
        os.makedirs(self.at("out/journal"), exist_ok=True)
        return slurm("sbatch", "--parsable", "--export=ALL", "--output=" + self.at("out/journal/slurm-%A_%a.log"),
                     "--ntasks=2", "--time=10", *options, os.path.join(TOP, "jobs", script),
                     self.at("cycle.yaml"), self.at("out"), *words, env=env).strip()

    def wait_for(self, what, seconds=60):
        for _ in range(10 * seconds):
            if what():
                return
            time.sleep(0.1)
        self.fail("nothing happens: " + slurm("squeue"))

    def is_running(self, job):
        return slurm("squeue", "-h", "-j", job, "-o", "%T").strip() == "RUNNING"

    def test_a_chain_does_all_states_and_then_the_rest(self):
        self.cycle(("a", "b", "c"), more=SCALE)
        self.chain()
        self.queue_empties()
        self.assertEqual({self.units()[s + "/segment"] for s in "abc"}, {"kept"}, self.logs())
        self.assertEqual({self.units("out/" + s)[s + "/segment"] for s in "abc"}, {"done"})
        self.assertEqual(self.status()["phase"], "finished")
        self.assertEqual(self.status()["ranks"], 2)

    def test_a_chain_of_a_sweep_collects_its_rows(self):
        self.cycle(("a",), more=SCALE + "sweep: {segment.classes: [2, 3]}\n")
        self.chain("--sweep")
        self.queue_empties()
        self.assertTrue(os.path.exists(self.at("out/sweep.csv")), self.logs())
        with open(self.at("out/sweep.csv")) as f:
            self.assertEqual({(r["row"], r["segment.classes"]) for r in csv.DictReader(f)}, {("0", "2"), ("1", "3")})

    def test_a_member_that_fails_ends_the_chain(self):
        self.cycle(("a", "b"), more=SCALE)
        self.write("raw/b.h5", "no volume")
        self.chain()
        self.queue_empties()
        self.assertNotIn("a/segment", self.units(), "the last job, of all stages and states, must not run")
        self.assertEqual(self.status("out/a")["phase"], "finished")
        self.assertEqual(self.status("out/b")["phase"], "failed")
        self.assertIn("b/segment", self.logs())

    def test_a_signal_before_the_limit_requeues_the_job_and_it_goes_on(self):
        for launch in ("srun --mpi=pmix", "mpirun"):
            shutil.rmtree(self.at("out"), ignore_errors=True)
            self.cycle([f"s{i:02d}" for i in range(24)], 24)
            job = self.batch("cycle.sbatch", "--stages", "segment", env={"XCSCT_LAUNCH": launch})
            self.wait_for(lambda: "done s02" in (self.read("out/journal/run.log") if os.path.exists(self.at("out/journal/run.log")) else ""))
            slurm("scancel", "--batch", "--signal=USR1", job)
            self.queue_empties()
            journal = self.read("out/journal/run.log")
            self.assertEqual(journal.count("begins"), 2, journal)
            self.assertIn("queued again", self.logs())
            for i in range(24):
                self.assertEqual(journal.count(f"done s{i:02d} segment"), 1, "no state is done twice")
            self.assertEqual(self.status()["phase"], "finished")

    def test_the_time_limit_of_a_job_does_not_lose_work(self):
        self.cycle([f"s{i:03d}" for i in range(100)], 80)
        self.batch("cycle.sbatch", "--stages", "segment", options=("--time=1", "--signal=B:USR1@55"))
        self.queue_empties(400)
        self.assertTrue(os.path.exists(self.at("out/status.json")), self.logs()[-2000:])
        self.assertEqual(self.status()["phase"], "finished", self.logs()[-2000:])
        self.assertIn("queued again", self.logs(), "the limit came before the end")
        journal = self.read("out/journal/run.log")
        for i in range(100):
            self.assertEqual(journal.count(f"done s{i:03d} segment"), 1)

    def test_a_cancelled_job_can_be_run_again(self):
        self.cycle([f"s{i:02d}" for i in range(12)], 24)
        job = self.batch("cycle.sbatch", "--stages", "segment")
        self.wait_for(lambda: os.path.exists(self.at("out/s01/segment.h5")))
        slurm("scancel", job)
        self.queue_empties()
        self.batch("cycle.sbatch", "--stages", "segment")
        self.queue_empties()
        self.assertEqual(self.status()["phase"], "finished", self.logs())

    def test_twelve_rows_of_a_sweep_of_which_two_are_killed(self):
        self.cycle(("a",), 24, "sweep: {segment.chain: [measure, paper], segment.classes: [2, 3, 4], "
                               "segment.min_voxels: [1, 9]}\n")
        words = ("--until", "segment")
        job = self.batch("sweep_array.sbatch", *words, options=("--array=0-11",))
        for row in (3, 8):
            self.wait_for(lambda: self.is_running(f"{job}_{row}") or os.path.exists(self.at(f"out/rows/{row:05d}/status.json")))
            slurm("scancel", "--signal=KILL", "--full", f"{job}_{row}")
        self.queue_empties()
        self.batch("sweep_array.sbatch", *words, options=("--array=0-11",))
        self.queue_empties()
        out = slurm(XCSCT, "sweep", self.at("cycle.yaml"), "--output", self.at("out"), "--collect")
        with open(self.at("out/manifest.tsv")) as f:
            self.assertEqual({r["status"] for r in csv.DictReader(f, delimiter="\t")}, {"finished"}, self.logs()[-3000:])
        with open(self.at("out/sweep.csv")) as f:
            self.assertEqual({r["row"] for r in csv.DictReader(f)}, {str(i) for i in range(12)}, out)

    def test_two_nodes_give_the_bits_of_one_process(self):
        self.cycle(("a",), 24)
        self.batch("cycle.sbatch", "--stages", "segment", options=("--nodes=2", "--ntasks-per-node=1"),
                   env={"OMPI_MCA_btl": "self,vader,tcp"})
        self.queue_empties()
        self.assertTrue(os.path.exists(self.at("out/status.json")), self.logs())
        self.assertEqual(self.status()["phase"], "finished", self.logs())
        slurm(XCSCT, "run", self.at("cycle.yaml"), "--output", self.at("one"), "--stages", "segment", "--quiet")
        self.assertEqual(datasets(self.at("out/a/segment.h5")), datasets(self.at("one/a/segment.h5")))


if __name__ == "__main__":
    unittest.main()
