from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest
from tests.service.making import NOW, make_parts
from tests.service.test_server import connect, running

from slidr.bundle import Bundle
from slidr.service.key_file import add_key

COMMAND = Path(sysconfig.get_path("scripts")) / "schemathesis"
ROOT = Path(__file__).parents[2]
LEFT_OUT = (
    "negative_data_rejection",  # a malformed item of an array is answered in its place, with 200
    "positive_data_acceptance",  # the document cannot say that a time is not in the future, or that an ip is one
)


@pytest.mark.parametrize("keyed", [False, True], ids=["open", "keyed"])
def test_the_service_answers_as_its_document_says(tmp_path: Path, bundle: Bundle, *, keyed: bool) -> None:
    """Whatever schemathesis sends, no answer is a fault of ours, and each is one that the document announces."""
    parts = make_parts(tmp_path, bundle)
    known = {"SCHEMATHESIS_HOOKS": "tests.service.contract_hooks", "PYTHONPATH": str(ROOT)}
    shown = {}
    if keyed:
        secret = add_key(tmp_path / parts.settings.storage.api_keys, "tester", ("admin",), now=NOW)
        known["TESTED_KEY"] = secret
        shown = {"authorization": f"Bearer {secret}"}
    with running(parts) as url:
        done = subprocess.run(  # noqa: S603 our own command
            [
                *(str(COMMAND), "--no-color", "run", f"{url}/openapi.json"),
                *("--checks", "all", "--exclude-checks", ",".join(LEFT_OUT)),
                *("--max-examples", "15", "--seed", "1", "--request-timeout", "20"),
            ],
            cwd=tmp_path,
            env={**os.environ, **known},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Tested: 6" in done.stdout
        with closing(connect(url)) as connection:
            connection.request("GET", "/metrics", headers=shown)
            metrics = connection.getresponse().read().decode()
        assert set(re.findall(r'^slidr_requests_total{status="5\d\d"} (.+)$', metrics, re.MULTILINE)) <= {"0.0"}
