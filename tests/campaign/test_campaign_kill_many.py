"""Fifty kills.
label: full
timeout: 1500"""
import os, unittest

os.environ["XCSCT_KILLS"] = "50"
from test_campaign_kill import Kill  # noqa: E402,F401

if __name__ == "__main__":
    unittest.main()
