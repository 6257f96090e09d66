"""cmake --install gives a program, a CMake package and a pkg-config file that others can use. timeout: 300"""
import os, shutil, subprocess, unittest

from hostile import Folder

BUILD = os.path.dirname(os.environ["XCSCT"])


def run(*words, **how):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120, **how)
    if done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


class Install(Folder):
    def setUp(self):
        super().setUp()
        self.prefix = self.at("prefix")
        run("cmake", "--install", BUILD, "--prefix", self.prefix)

    def test_the_program_and_what_belongs_to_it(self):
        version = run(os.path.join(self.prefix, "bin", "xcsct"), "--version")
        self.assertRegex(version, r"xcsct [0-9.]+ \(revision .*\)\n.*Open MPI.*HDF5.*PETSc.*\ninstruction set: ")
        for name in ("jobs/env.sh", "jobs/state_array.sbatch", "jobs/sites/generic.env", "config/cycle.yaml"):
            self.assertTrue(os.path.exists(os.path.join(self.prefix, "share/xcsct", name)), name)
        self.assertTrue(os.access(os.path.join(self.prefix, "share/xcsct/jobs/chain.sh"), os.X_OK))
        self.assertTrue(os.path.exists(os.path.join(self.prefix, "share/doc/xcsct/LICENSE")))

    def test_a_project_finds_the_package(self):
        self.write("project/CMakeLists.txt", "cmake_minimum_required(VERSION 3.20)\nproject(user NONE)\n"
                   "find_package(xcsct 0.1 REQUIRED)\nget_target_property(where xcsct::xcsct IMPORTED_LOCATION)\n"
                   'file(WRITE ${CMAKE_BINARY_DIR}/where "${where} ${XCSCT_VERSION}")\n')
        run("cmake", "-S", self.at("project"), "-B", self.at("build"), f"-DCMAKE_PREFIX_PATH={self.prefix}")
        where, version = self.read("build/where").split()
        self.assertEqual(os.path.realpath(where), os.path.realpath(os.path.join(self.prefix, "bin/xcsct")))
        self.assertIn(version, run(where, "--version"))

    @unittest.skipUnless(shutil.which("pkg-config"), "no pkg-config")
    def test_pkg_config_knows_where_it_is(self):
        found = [folder for folder, _, names in os.walk(self.prefix) if "xcsct.pc" in names]
        env = {**os.environ, "PKG_CONFIG_PATH": found[0]}
        self.assertEqual(os.path.realpath(run("pkg-config", "--variable=bindir", "xcsct", env=env).strip()),
                         os.path.realpath(os.path.join(self.prefix, "bin")))
        self.assertTrue(os.path.isdir(run("pkg-config", "--variable=datadir", "xcsct", env=env).strip()))
        self.assertIn(run("pkg-config", "--modversion", "xcsct", env=env).strip(),
                      run(os.path.join(self.prefix, "bin", "xcsct"), "--version"))


if __name__ == "__main__":
    unittest.main()
