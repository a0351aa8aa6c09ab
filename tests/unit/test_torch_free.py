import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["predictors.proxies", "hardware.compat_counts", "hardware.counts"])
def test_describing_modules_do_not_load_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
