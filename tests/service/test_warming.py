from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SCRIPT = """
import sys
from pathlib import Path

import msgspec
from numba.core.dispatcher import Dispatcher
from tests.service.making import SECRET, click, make_bundle, make_parts

from slidr.decide import Decider
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.service.warming import warm_up


def compiled() -> dict[str, int]:
    modules = [module for name, module in sys.modules.items() if name.startswith("slidr.features")]
    kernels = {item for module in modules for item in vars(module).values() if isinstance(item, Dispatcher)}
    return {kernel.__name__: len(kernel.signatures) for kernel in kernels}


bundle, pseudonymiser = make_bundle(Path(sys.argv[1])), Pseudonymiser(SECRET)
parts = make_parts(Path(sys.argv[1]), bundle, batch=64)
warm_up(parts._replace(rules=()))
before = compiled()
decider = Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue)), pseudonymiser)
for start, size in ((0, 1), (0, 2), (2, 64), (100, 3000), (3100, 1)):
    decider.decide(
        [
            msgspec.convert(click(place, user=f"user {place}", ip=f"2001:db8:{place:x}::1"), decider.click)
            for place in range(start, start + size)
        ]
    )
print({name: (before[name], count) for name, count in compiled().items() if count != before[name]})
"""


def test_no_request_waits_for_a_compiler(tmp_path: Path) -> None:
    """After the warm-up, single clicks, batches, repeats and growth need no kernel that was not compiled before."""
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 our own script
    assert (done.stderr, done.stdout) == ("", "{}\n")
