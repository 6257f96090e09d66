"""One run over two hosts that share a disk and speak by TCP alone.
label: full
timeout: 300"""
import os, shutil, subprocess, sys, unittest

from cycles import XCSCT, Folder, call, datasets

HOSTS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "two_hosts.sh"))


def setUpModule():
    path = "/usr/sbin:/sbin:" + os.environ["PATH"]
    if os.geteuid() != 0 or not shutil.which("sshd", path=path) or not shutil.which("ip", path=path):
        print("skipped: two hosts need root, openssh-server and iproute2")
        sys.exit(77)
    subprocess.run([HOSTS, "down"], timeout=60)
    subprocess.run([HOSTS, "up"], check=True, timeout=60)


def tearDownModule():
    subprocess.run([HOSTS, "down"], timeout=60)


class Hosts(Folder):
    def over_both(self, *words):
        return subprocess.run([HOSTS, "run", "-np", "4", "--host", "ha:2,hb:2", *map(str, words)], capture_output=True,
                              text=True, timeout=200)

    def test_two_hosts_give_the_bits_of_one_process(self):
        where = self.over_both("hostname").stdout.split()
        self.assertEqual(sorted(where), ["ha", "ha", "hb", "hb"])
        self.cycle(("a", "b"), 24, "flux: {conducting: [1], direction: z}\n")
        words = ("run", self.at("cycle.yaml"), "--stages", "segment,flux", "--quiet", "--output")
        done = self.over_both(XCSCT, *words, self.at("out"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.ends(call(*words, self.at("one")), 0)
        for state in "ab":
            self.assertEqual(datasets(self.at("out", state, "segment.h5")), datasets(self.at("one", state, "segment.h5")))
        self.assertEqual(self.status()["ranks"], 4)

    def test_the_lock_of_another_host_is_respected(self):
        self.cycle(("a",))
        self.ends(call("run", self.at("cycle.yaml"), "--output", self.at("out"), "--stages", "segment", "--quiet"), 0)
        self.write("out/run.lock", "elsewhere 12345\n")
        done = self.over_both(XCSCT, "run", self.at("cycle.yaml"), "--output", self.at("out"), "--stages", "segment", "--quiet")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("process 12345 on elsewhere", done.stderr)


if __name__ == "__main__":
    unittest.main()
