import subprocess
import sys


def test_the_package_is_run_as_the_command_is() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "panoptic_blend", "pq", "no.json", "no.json"], capture_output=True, text=True
    )

    assert found.returncode == 2
    assert found.stderr == "error: no.json: no such file; check the path\n"
