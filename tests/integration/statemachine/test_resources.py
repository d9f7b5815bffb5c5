"""cfn-lint reads the template as it is and as it is rendered."""

import subprocess
import sys
from typing import Any

from deploy import template
from deploy.stages import read_stage


def test_cfn_lint_finds_nothing(tmp_path: Any) -> None:
    rendered = tmp_path / "rendered.json"
    rendered.write_text(template.render(read_stage("dev"), "210987654321"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cfnlint.runner import main; main()",
            str(template.RESOURCES_FILE),
            str(rendered),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
