import time

import torch

from mlsuperb.runtime.measure import thread_seconds


def test_says_what_takes_less_of_the_thread_and_leaves_no_trace() -> None:
    big, small, calls = torch.randn(400, 400), torch.randn(40, 40), []
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()

    def wait() -> None:
        assert torch.get_num_threads() == 1
        calls.append("wait")
        torch.rand(3)
        time.sleep(0.02)  # is not this thread's work

    taken_s = thread_seconds({"big": lambda: big @ big, "small": lambda: small @ small, "wait": wait})
    assert taken_s["small"] < taken_s["big"]
    assert taken_s["wait"] < 0.01
    assert len(calls) == 6
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
