"""sweep: rows, shared stages, collection.
timeout: 300 sanitized: full"""
import csv, os, unittest, xml.etree.ElementTree

from cycles import Folder, call


class Sweep(Folder):
    def sweep(self, *words, **how):
        return call("sweep", self.at("cycle.yaml"), "--output", self.at("out"), "--until", "segment",
                    "--quiet", *words, **how)

    def manifest(self):
        with open(self.at("out/manifest.tsv")) as f:
            return list(csv.DictReader(f, delimiter="\t"))

    def test_rows_are_made_one_by_one_and_collected(self):
        self.cycle(("a",), more="sweep: {segment.chain: [measure, paper], "
                                "segment.classes: {from: 2, to: 3, n: 2}}\n")
        self.ends(self.sweep("--list"), 0)
        rows = self.manifest()
        self.assertEqual([(r["segment.chain"], r["segment.classes"]) for r in rows],
                         [("measure", "2"), ("measure", "3"), ("paper", "2"), ("paper", "3")])
        self.assertEqual(len({r["hash"] for r in rows}), 4)
        for row in (0, 3):
            self.ends(self.sweep("--row", row, ranks=2 if row else 0), 0)
        self.ends(self.sweep("--row", 4), 2, "0..3")
        code, _, words = self.sweep("--collect")
        self.assertEqual(code, 0)
        self.assertIn("2 of 4 rows are not finished", words)
        self.assertEqual([r["status"] for r in self.manifest()], ["finished", "waits", "waits", "finished"])
        with open(self.at("out/sweep.csv")) as f:
            found = {(r["row"], r["segment.classes"]) for r in csv.DictReader(f) if r["result"] == "threshold" or r["result"].startswith("phase_fraction_2")}
        self.assertIn(("3", "3"), found)
        plots = os.listdir(self.at("out/plots"))
        for parameter in ("segment.chain", "segment.classes"):
            self.assertIn(f"{parameter}__segment.phase_fraction_0.svg", plots)
            root = xml.etree.ElementTree.parse(self.at("out/plots", f"{parameter}__segment.phase_fraction_0.svg")).getroot()
            words = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
            for word in (parameter, "phase_fraction_0", "a"):
                self.assertIn(word, words)
        self.assertIn("measure", [t.text for t in xml.etree.ElementTree.parse(self.at(
            "out/plots/segment.chain__segment.phase_fraction_0.svg")).getroot().iter("{http://www.w3.org/2000/svg}text")])
        self.ends(self.sweep("--row", 0), 0)
        log = self.read("out/rows/00000/journal/run.log")
        self.assertIn("kept a segment", log)

    def test_other_versions_are_not_mixed(self):
        self.cycle(("a",), more="sweep: {segment.classes: [2, 3]}\n")
        for row in (0, 1):
            self.ends(self.sweep("--row", row), 0)
        text = self.read("out/rows/00001/status.json")
        at = text.index('"version":"') + 11
        self.write("out/rows/00001/status.json", text[:at] + "9" + text[at:])
        self.ends(self.sweep("--collect"), 3, "version", "--mixed")
        self.ends(self.sweep("--collect", "--mixed"), 0)

    def test_a_parameter_of_one_state_alone_can_be_swept(self):
        self.cycle(("a", "b"), more="segment: {classes: 2}\nsweep: {b/segment.classes: [3, 4]}\n")
        self.ends(self.sweep("--list"), 0)
        rows = self.manifest()
        self.assertEqual([r["b/segment.classes"] for r in rows], ["3", "4"])
        self.assertNotEqual(rows[0]["hash"], rows[1]["hash"])
        for row in (0, 1):
            self.ends(self.sweep("--row", row), 0)
        self.ends(self.sweep("--collect"), 0)
        with open(self.at("out/sweep.csv")) as f:
            found = {(r["row"], r["state"], r["result"]) for r in csv.DictReader(f)}
        for row, state, classes in (("0", "a", 2), ("0", "b", 3), ("1", "a", 2), ("1", "b", 4)):
            self.assertIn((row, state, f"phase_fraction_{classes - 1}"), found)
            self.assertNotIn((row, state, f"phase_fraction_{classes}"), found)

    def test_mistakes_are_told_with_their_place(self):
        for block, words in (
                ("{segment.chian: [paper]}", "did you mean segment.chain?"),
                ("{chain: [paper]}", "STAGE.PARAMETER"),
                ("{segment.chain: [papr]}", "did you mean paper?"),
                ("{segment.classes: {from: 2, to: 3}}", "n: N"),
                ("{how: zipped, segment.chain: [paper], segment.classes: [2, 3]}", "zipped"),
                ("{how: sideways, segment.chain: [paper]}", "crossed or zipped"),
                ("{c/segment.chain: [paper]}", "'c' is no state"),
                ("{a/track.phase: [1]}", "track works on all states together"),
                ("{}", "names no parameter")):
            self.cycle(("a",), more=f"sweep: {block}\n")
            self.ends(self.sweep("--list"), 2, "cycle.yaml:4:", words)
        self.cycle(("a",))
        self.ends(self.sweep("--list"), 2, "sweep")
        self.ends(self.sweep(), 2, "sweep")


if __name__ == "__main__":
    unittest.main()
