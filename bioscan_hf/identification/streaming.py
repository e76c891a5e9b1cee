"""Names for any number of queries, batch by batch, by several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import torch

from bioscan_hf.identification.identify import Identifier
from bioscan_hf.identification.queries import Queries


def identify_all(
    identifier: Identifier, batches: Iterable[Queries], *, threads: int | None = None
) -> Iterator[pa.Table]:
    """Name queries in their order, holding some batches at a time.

    A thread works on a batch at a time: with one thread for each of torch's operations instead, all others would wait
    for it.

    Args:
        identifier: By what.
        batches: As `read_queries` gives them.
        threads: How many batches at a time; by default as many as torch has threads.

    Yields:
        A table for each batch; see `results_schema`.

    Raises:
        ValueError: If `threads` is below 1; or as the iterator of the batches.
    """
    threads = torch.get_num_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1; got {threads}.")
    waiting: deque[Future[pa.Table]] = deque()
    with _one_thread_each(), ThreadPoolExecutor(threads) as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(identifier.identify, batch))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
