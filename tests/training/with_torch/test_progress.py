"""What a person sees of a training while it runs."""

from __future__ import annotations

import io

from model_wrappers.darknet.training.progress import RATE_AFTER_STEPS, ProgressLines


def lines_of(steps: int, *, before: int = 0) -> list[str]:
    stream = io.StringIO()
    progress = ProgressLines(before, stream=stream)
    for done in range(before + 1, before + steps + 1):
        progress.step(done, 400, 2.5)
    return stream.getvalue().splitlines()


def test_rate_is_told_once_and_long_before_the_first_epoch_ends() -> None:
    assert lines_of(RATE_AFTER_STEPS - 1) == []
    (line,) = lines_of(200)
    assert line.startswith("step 5/400  loss 2.500  ")
    assert line.endswith(" left")
    assert " s a step  " in line


def test_training_that_goes_on_tells_its_own_rate() -> None:
    (line,) = lines_of(50, before=160)
    assert line.startswith("step 165/400  ")
