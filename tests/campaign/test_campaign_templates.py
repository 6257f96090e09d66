"""config/ and docs/parameters.md are what the parameter tables say today, and what they show can be used.
sanitized: full"""
import os, re, unittest

from cycles import Folder, call

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
AGAIN = "make them again: xcsct init --templates config && xcsct init --table docs/parameters.md"


class Templates(Folder):
    def setUp(self):
        super().setUp()
        self.ends(call("init", "--templates", self.at("config")), 0)
        self.ends(call("init", "--table", self.at("parameters.md")), 0)

    def test_the_committed_ones_are_current(self):
        here, there = os.listdir(self.at("config")), os.listdir(os.path.join(TOP, "config"))
        self.assertEqual(sorted(here), sorted(there), AGAIN)
        for name in here:
            with open(os.path.join(TOP, "config", name)) as f:
                self.assertEqual(f.read(), self.read("config", name), f"config/{name}: {AGAIN}")
        with open(os.path.join(TOP, "docs", "parameters.md")) as f:
            self.assertEqual(f.read(), self.read("parameters.md"), f"docs/parameters.md: {AGAIN}")

    def test_every_default_of_a_template_can_be_set(self):
        """With all its values uncommented a template is taken by its command, and an invented key is not."""
        for name in os.listdir(self.at("config")):
            stage = name[:-5]
            if stage == "cycle":
                continue
            lines = self.read("config", name).splitlines()  # a head, the stage, then help and value by turns
            text = "\n".join(line.replace("# ", "", 1) if i >= 3 and i % 2 else line for i, line in enumerate(lines)) + "\n"
            self.write(name, text)
            self.ends(call(stage, "--config", self.at(name), "--help"), 0)
            self.write(name, text + "  no_such_thing: 1\n")
            self.ends(call(stage, "--config", self.at(name), "--help"), 2, f"{name}:{text.count(chr(10)) + 1}:3:")

    def test_the_example_of_a_cycle_is_one(self):
        text = self.read("config", "cycle.yaml")
        self.write("cycle.yaml", text)
        code, said, _ = call("check", self.at("cycle.yaml"), "--list-states")
        self.assertEqual((code, said.split()), (0, ["pristine"]))
        full = re.sub(r"^( *)# ( *)(?=[-a-z_]+[:.{]|- \{|[a-z]+/[a-z])", r"\1\2", text.split("\nrecon:")[0] + "\n", flags=re.M)
        self.write("cycle.yaml", full.replace("\n sweep", "\nsweep"))
        code, said, words = call("check", self.at("cycle.yaml"))
        self.assertEqual(code, 2)
        self.assertEqual(set(re.findall(r": ([a-z_.0-9]+) cannot be read", words)),
                         {"pristine_ct.nxs", "pristine_eis.dta", "pristine_r1.bin", "segmented.h5", "cycling.dta", "dark.bin",
                          "gain.txt", "offset.txt", "disc.bin"}, words)
        self.assertNotIn("unknown", words)


if __name__ == "__main__":
    unittest.main()
