"""Opens an output in other people's readers: silx (what a viewer shows first) and VTK's HDF reader.

readers.py FILE NZ NY NX: voxel (z, y, x) of the default product must be (z * NY + y) * NX + x.
"""
import sys

import numpy as np

path, shape = sys.argv[1], tuple(int(word) for word in sys.argv[2:5])
truth = np.arange(np.prod(shape)).reshape(shape)


def check(what, good):
    if not good:
        sys.exit(f"{path}: {what}")


def silx_opens_the_volume():
    import silx.io
    from silx.io import nxdata

    with silx.io.open(path) as file:
        default = nxdata.get_default(file)
        check("silx finds no default", default is not None and default.is_valid)
        check("silx's signal is not the labels", default.signal_dataset_name == "data")
        check(f"silx's title: {default.title}", default.group.name == "/entry/labels")
        check("silx's values", np.array_equal(default.signal[()], truth))
        check(f"silx's axes {default.axes_names}", list(default.axes_names) == ["z (um)", "y (um)", "x (um)"]
              or list(default.axes_dataset_names) == ["z", "y", "x"])
        check("silx's axis values", np.allclose(default.axes[0][()], 3 * np.arange(shape[0])))
        with_errors = nxdata.NXdata(file["/entry/height"])
        check("silx's errors", with_errors.errors is not None and with_errors.errors.shape == shape[1:])


def vtk_opens_the_volume():
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOHDF import vtkHDFReader

    reader = vtkHDFReader()
    check("VTK cannot read it", reader.CanReadFile(path))
    reader.SetFileName(path)
    reader.Update()
    image = reader.GetOutput()
    check(f"VTK's shape {image.GetDimensions()}", image.GetDimensions() == shape[::-1])
    check(f"VTK's spacing {image.GetSpacing()}", np.allclose(image.GetSpacing(), (1.5, 2, 3)))
    array = image.GetPointData().GetArray("labels")
    check("VTK has no labels", array is not None)
    check("VTK's values", np.array_equal(vtk_to_numpy(array).reshape(shape), truth))
    check("VTK has no volume", image.GetPointData().GetArray("volume") is not None)
    check("VTK has a field of other shape", image.GetPointData().GetArray("flux_z") is None)


silx_opens_the_volume()
vtk_opens_the_volume()
