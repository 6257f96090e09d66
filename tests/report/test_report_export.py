"""export and preview: other programs read the same values. timeout: 600 sanitized: full"""
import csv, os, sys, unittest

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "campaign"))
sys.path.insert(0, os.path.dirname(__file__))
from cycles import Folder, call  # noqa: E402
from pages import Page, check_figures, has_rasteriser, png_shape  # noqa: E402

TYPES = ("u1", "u2", "u4", "i4", "i8", "f4", "f8")


class Export(Folder):
    def file(self, dtype, shape=(5, 6, 7)):
        values = (np.random.default_rng(3).random(shape) * 200).astype(dtype)
        with h5py.File(self.at("in.h5"), "w") as f:
            f["v"] = values
            f["v"].attrs["voxel_um"] = [1.0, 2.0, 3.0]
        return values

    def export(self, name, *more, ranks=0, code=0):
        done = call("export", self.at("in.h5"), "--output", self.at(name), "--quiet", *more, ranks=ranks)
        self.assertEqual(done[0], code, done[2])
        self.assertEqual([n for n in os.listdir(self.folder) if "partial" in n], [])
        return done

    def test_pages_of_tiff_are_the_slices_on_any_ranks(self):
        try:
            from PIL import Image, ImageSequence
        except ImportError:
            self.skipTest("no PIL")
        for dtype in ("u1", "u2", "i4", "f4"):
            values = self.file(dtype)
            for ranks in (0, 2, 3, 7):
                self.export(f"{dtype}{ranks}.tif", ranks=ranks)
            with Image.open(self.at(dtype + "0.tif")) as image:
                pages = np.array([np.array(page) for page in ImageSequence.Iterator(image)])
            self.assertTrue(np.array_equal(pages, values), dtype)
            with open(self.at(dtype + "0.tif"), "rb") as a:
                first = a.read()
            for ranks in (2, 3, 7):
                with open(self.at(f"{dtype}{ranks}.tif"), "rb") as b:
                    self.assertEqual(first, b.read(), (dtype, ranks))

    def test_the_program_reads_its_own_tiff_of_every_type(self):
        for dtype in TYPES:
            values = self.file(dtype)
            self.export("a.tif", "--force")
            os.rename(self.at("a.tif"), self.at("in.tif"))
            done = call("export", self.at("in.tif"), "--output", self.at("b.csv"), "--force", "--quiet")
            self.assertEqual(done[0], 0, done[2])
            back = np.loadtxt(self.at("b.csv"), delimiter=",", skiprows=1)[:, -1].reshape(values.shape)
            self.assertTrue(np.allclose(back, values, rtol=1e-8), dtype)

    def test_vtk_reads_the_same_values_and_spacing(self):
        try:
            from vtkmodules.vtkIOXML import vtkXMLImageDataReader
            from vtkmodules.util.numpy_support import vtk_to_numpy
        except ImportError:
            self.skipTest("no VTK")
        for dtype in TYPES:
            values = self.file(dtype)
            self.export(dtype + ".vti", ranks=3)
            reader = vtkXMLImageDataReader()
            reader.SetFileName(self.at(dtype + ".vti"))
            reader.Update()
            image = reader.GetOutput()
            self.assertEqual(image.GetSpacing(), (3.0, 2.0, 1.0))
            got = vtk_to_numpy(image.GetPointData().GetArray("values")).reshape(values.shape)
            self.assertTrue(np.array_equal(got, values), dtype)

    def test_a_slice_is_the_slice(self):
        values = self.file("f4")
        for text, want in (("z:2", values[2]), ("y:5", values[:, 5]), ("x:0", values[:, :, 0])):
            self.export("s.csv", "--slice", text, "--force", ranks=2)
            with open(self.at("s.csv")) as f:
                rows = list(csv.DictReader(f))
            self.assertEqual(list(rows[0]), ["z", "y", "x", "value"])
            self.assertTrue(all(r[text[0]] == text[2:] for r in rows))
            for r in rows:
                self.assertAlmostEqual(float(r["value"]), values[int(r["z"]), int(r["y"]), int(r["x"])], places=4)
            self.assertEqual(len(rows), want.size)
            self.export("s.png", "--slice", text, "--map", "colour", "--force")
            self.assertEqual(png_shape(self.at("s.png")), want.shape)

    def test_wrong_words_and_existing_files_are_refused(self):
        self.file("f4")
        self.assertIn("0..4", self.export("a.tif", "--slice", "z:5", code=2)[2])
        self.assertIn("ending", self.export("a.xyz", code=2)[2])
        self.export("a.tif")
        self.assertIn("--force", self.export("a.tif", code=5)[2])
        self.assertEqual(call("export", self.at("nothing.h5"), "--output", self.at("b.tif"))[0], 3)
        self.assertFalse(os.path.exists(self.at("b.tif")))

    def test_a_preview_shows_a_volume_and_a_scan(self):
        self.file("f4")
        self.ends(call("preview", self.at("in.h5"), "--output", self.at("p"), "--quiet", ranks=2), 0)
        self.assertEqual(Page(self.read("p", "preview.html")).faults, [])
        counts = check_figures(self, self.at("p", "figures"))
        self.assertEqual(counts["png"] - (counts["svg"] if has_rasteriser() else 0), 5)
        angles = np.linspace(0, 180, 12, endpoint=False)
        with h5py.File(self.at("scan.nxs"), "w") as f:
            f["entry/definition"] = "NXtomo"
            f["entry"].attrs["NX_class"] = "NXentry"
            f["entry/instrument/detector/data"] = np.full((14, 4, 16), 100, "u2")
            f["entry/instrument/detector/image_key"] = np.array([2, 1] + [0] * 12)
            f["entry/sample/rotation_angle"] = np.concatenate([[0, 0], angles])
            f["entry/sample/rotation_angle"].attrs["units"] = "deg"
            f["entry/instrument/detector/data"][0] = 0
            f["entry/instrument/detector/data"][2:, :, 4:12] = 50
        self.ends(call("preview", self.at("scan.nxs"), "--output", self.at("q"), "--quiet", "--json", self.at("q.json"), ranks=3), 0)
        page = Page(self.read("q", "preview.html"))
        self.assertEqual(page.faults, [])
        self.assertIn("mean flat", page.text())
        self.assertIn("projections12", page.text())
        # half of the light: an attenuation of ln 2 in the middle, none at the sides
        self.assertIn("0 to 0.6931", page.text())


if __name__ == "__main__":
    unittest.main()
