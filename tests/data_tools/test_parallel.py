"""Tasks in worker processes."""

import signal

import pytest

from data_tools.parallel import run_tasks


def _ignores_interrupts(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_workers_leave_ctrl_c_to_the_process_that_started_them() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the session itself ignores it
    try:
        assert dict(run_tasks(_ignores_interrupts, [(0,), (1,), (2,)], workers=2)) == dict.fromkeys(range(3), True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_is_raised(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(divmod, [(1, 1), (1, 0)], workers))
