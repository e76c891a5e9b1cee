import os
import signal
import threading

import pytest

from bioscan_hf.training.interrupts import SIGNALS, watched_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_instead_of_ending_the_process(number: signal.Signals) -> None:
    with watched_signals() as interrupts:
        assert not interrupts and interrupts.name is None
        os.kill(os.getpid(), number)
        assert interrupts and interrupts.name == number.name


def test_handlers_are_put_back_even_after_an_error() -> None:
    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with pytest.raises(RuntimeError), watched_signals():
            assert signal.getsignal(signal.SIGUSR1) is not mine
            raise RuntimeError
        assert signal.getsignal(signal.SIGUSR1) is mine
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_in_another_thread_nothing_is_watched() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with watched_signals() as interrupts:
            seen.append((bool(interrupts), signal.getsignal(signal.SIGTERM) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
