"""Deferred packages are there, and are the real ones as soon as something real is asked of them."""

import subprocess
import sys


def run(code: str) -> str:
    begun = "from workers.metafeatures.deferral import defer; defer(); import torch; "
    ended = subprocess.run([sys.executable, "-c", begun + code], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def test_what_is_deferred_has_not_run_and_is_found_where_it_is() -> None:
    told = run(
        "import sys; print('torch._dynamo.eval_frame' in sys.modules, sys.modules['torch.export'].__name__)"
    )
    assert told == "False torch.export"


def test_what_is_asked_for_beyond_the_stand_ins_is_the_real_thing() -> None:
    code = (
        "import torch._dynamo; before = torch._dynamo.disable; print(torch._dynamo.config.__name__, "
        "torch._dynamo.disable is before, torch.export.export.__module__)"
    )
    assert run(code) == "torch._dynamo.config False torch.export"


def test_a_stand_in_leaves_functions_as_they_are_called_or_as_decorators() -> None:
    code = (
        "import torch._dynamo\n"
        "def double(x): return 2 * x\n"
        "print(torch._dynamo.disable(double) is double, torch._dynamo.disable(recursive=False)(double)(4))"
    )
    assert run(code) == "True 8"
