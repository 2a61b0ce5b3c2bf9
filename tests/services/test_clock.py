"""What is removed by its age is not removed by a clock that jumps."""

from datetime import datetime, timedelta

import pytest

from gitpat_proxy.services.clock import unhurried
from tests.access.examples import NOW

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("moment", "passed", "said"),
    [
        (NOW, 0, NOW),
        (NOW + HOUR, 3600, NOW + HOUR),
        # Ahead, then right again.
        (NOW + 9999 * HOUR, 3600, NOW + HOUR),
        (NOW + 2 * HOUR, 7200, NOW + 2 * HOUR),
        # Put back: what is removed later is removed by nobody's mistake.
        (NOW - HOUR, 3600, NOW - HOUR),
    ],
)
def test_an_unhurried_clock_is_never_ahead_of_what_has_passed(
    moment: datetime, passed: int, said: datetime
) -> None:
    moments, seconds = iter([NOW, moment]), iter([0.0, float(passed)])
    clock = unhurried(lambda: next(moments), lambda: next(seconds))
    assert clock() == said
