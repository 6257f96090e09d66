"""Every place of the source where a fault can be asked for, and a command that passes it."""
import glob, os, re, shutil

from hostile import Folder, SPECTRUM, call, labels, scan, text, volume

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
RANKS = 3
TWIN = ("twin", "--columns", "24", "--projections", "6", "--frames", "3", "--frame-darks", "2",
        "--xcs-disc-counts", "0", "--xcs-last-kev", "80", "--xcs-bin-kev", "5")
# what a command works on, the command, where its output goes
COMMANDS = [
    (volume, "volume.h5", ("segment", "--chain", "paper"), "--input", "o.h5"),
    (labels, "labels.h5", ("flux", "--conducting", "1", "--voxel-um", "1"), "--input", "o.h5"),
    (labels, "labels.h5", ("surface", "--phase", "1", "--voxel-um", "1"), "--labels", "o.h5"),
    (scan, "scan.nxs", ("recon", "--rings", "none", "--centre", "8"), "--input", "o.h5"),
    (text(SPECTRUM), "eis.csv", ("echem",), "--impedance", "o.h5"),
    (None, "", TWIN, "", "twin"),
]


def sites_of_source():
    """Names in the source, of folders that some command reaches."""
    found = set()
    for path in glob.glob(os.path.join(TOP, "src", "*", "*.c")):
        with open(path) as f:
            found |= set(re.findall(r'(?:fault_here\(|ON_ROOT\(\w+(?:->\w+)?,\s*)"([a-z_]+\.[a-z_]+)"', f.read()))
    return found


class Faults(Folder):
    def words(self, at):
        make, file, command, option, output = COMMANDS[at]
        if make:
            make(self.at(file))
        given = (option, self.at(file)) if file else ()
        return command + given + ("--output", self.at(output), "--force", "--quiet")

    def passed(self, at):
        """The places that a command passes, in their order."""
        listed = self.at("sites")
        code, _, said = call(*self.words(at), ranks=RANKS, env={"XCSCT_FAULT_LIST": listed})
        self.assertIn(code, (0, 6), said)
        names = list(dict.fromkeys(self.read(listed).split())) if os.path.exists(listed) else []
        os.path.exists(listed) and os.unlink(listed)
        return names

    def fault_is_told_by_all(self, at, site, rank):
        shutil.rmtree(self.at("twin"), ignore_errors=True)
        if os.path.exists(self.at("o.h5")):
            os.unlink(self.at("o.h5"))
        code, _, said = call(*self.words(at), ranks=RANKS, env={"FAULT": f"{site}:{rank}"}, timeout=30)
        where = f"{COMMANDS[at][2][0]} with a fault at {site} on rank {rank}: "
        self.assertEqual(code, 1, where + said)
        self.assertEqual(said.count("xcsct: error:"), 1, where + said)
        self.assertIn(f"fault asked for at {site}", said, where)
        self.assertFalse(os.path.exists(self.at("o.h5")), where + "a file under the final name")
        self.assertEqual([n for n in os.listdir(self.folder) if "partial" in n or "lock" in n], [], where)
