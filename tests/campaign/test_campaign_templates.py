"""Templates made of the parameter tables can be used as they are shown."""
import os, re, unittest

from cycles import Folder, call


class Templates(Folder):
    def setUp(self):
        super().setUp()
        self.ends(call("init", "--templates", self.at("config")), 0)
        self.ends(call("init", "--table", self.at("parameters.md")), 0)

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
