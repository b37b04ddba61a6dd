"""Where parallel work runs: processes of this machine, or the workers of a Ray or Dask cluster."""

import contextlib
import logging
from collections.abc import Iterator

import joblib

from mstv.errors import UserError


@contextlib.contextmanager
def running_on(name: str | None, address: str | None, workers: int) -> Iterator[None]:
    """Make `data_tools.parallel.run_tasks` run on a cluster.

    Args:
        name: "ray", "dask", or None for processes of this machine.
        address: of the scheduler; None starts a cluster of `workers` processes here.
        workers: tasks at a time.

    Raises:
        UserError: an address without a cluster, a package that is not installed, or a scheduler that does not answer.
    """
    if name is None:
        if address is not None:
            raise UserError("--cluster-address: names no kind of cluster: add --cluster ray or --cluster dask")
        yield
    elif name == "dask":
        with _dask(address, workers):
            yield
    else:
        with _ray(address, workers):
            yield


@contextlib.contextmanager
def _dask(address: str | None, workers: int) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(f"--cluster dask: {error}: pip install 'mstv[dask]'") from None
    try:
        client = (
            Client(address, timeout="20s")
            if address
            # One thread each: an engine belongs to one task at a time.
            else Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"--cluster-address {address}: does not answer ({error}): check the address") from None
    with client, joblib.parallel_config(backend="dask", wait_for_workers_timeout=120):
        yield


@contextlib.contextmanager
def _ray(address: str | None, workers: int) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise UserError(f"--cluster ray: {error}: pip install 'mstv[ray]'") from None
    try:
        ray.init(
            address=address,
            num_cpus=None if address else workers,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"--cluster-address {address}: does not answer ({reason}): check the address") from None
    try:
        register_ray()
        with joblib.parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()
