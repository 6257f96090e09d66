"""Fifty kills of every stage, over the cycle of a small twin.
label: full
timeout: 6000"""
import os, unittest

os.environ.setdefault("XCSCT_KILLS", "50")
import test_campaign_kill  # noqa: E402
from cycles import call  # noqa: E402


class Many(test_campaign_kill.Kill):
    def chosen(self):
        return []

    def inputs(self):
        self.ends(call("twin", "--size", "small", "--voxel-um", "6.48", "--columns", "80", "--projections", "100",
                       "--xcs-counts", "5000", "--xcs-disc-counts", "20000", "--output", self.folder, "--quiet",
                       "--force", "yes", timeout=600), 0)


if __name__ == "__main__":
    unittest.main()
