"""Commands for sweeps that run elsewhere, or in another terminal: submit, watch, logs, stop."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson, Mirror, Root, ServerAddress, parse_duration
from orchestrator.cli.screen import screen
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from cluster.jobs import Job
    from orchestrator.app.remote.submission import RemoteSweep, Submitted


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        epilog="Example: `foretune submit examples/phi3-1800.yaml --root /shared/phi3-1800 "
        "--address http://head:8265`"
    )(submit)
    app.command(epilog="Example: `foretune watch runs/tiny-1800`")(watch)
    app.command(epilog="Example: `foretune logs runs/tiny-1800 --follow`")(logs)
    app.command(epilog="Example: `foretune stop runs/tiny-1800`")(stop)


def submit(
    spec: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep's spec; see examples/.")],
    root: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The sweep's folder as the cluster's nodes see it: shared storage."),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The cluster's job server, such as http://HOST:8265; left out: RAY_API_SERVER_ADDRESS.",
        ),
    ] = None,
    runtime_env: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ray's runtime environment as YAML: pip packages, env_vars."),
    ] = None,
    mirror: Mirror = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Submit and end; do not wait.")] = False,
    as_json: AsJson = False,
) -> int:
    """Start a sweep as a job on a Ray cluster, or continue it, and follow it to its end.

    The code, the spec and local task files are uploaded; the nodes need Foretune's dependencies, installed or
    by --runtime-env. The cluster's token is taken from RAY_AUTH_TOKEN. Submitting again continues: a job at
    work is followed, one that has ended is started anew and keeps what is in the root.
    """
    from cluster.runtime_env import load_runtime_env
    from orchestrator.app.remote.submission import RemoteSweep, exit_code_of, submit_sweep

    environment = load_runtime_env(runtime_env) if runtime_env is not None else None
    submitted = submit_sweep(spec, root=root, address=address, runtime_env=environment, mirror=mirror)
    if not as_json:
        _announce(submitted)
    if no_follow:
        if as_json:
            typer.echo(json.dumps(submitted.as_dict(), indent=2))
        return 0
    sweep = RemoteSweep(submitted.address, root)
    if not as_json:
        return _follow_job(sweep)
    end = sweep.wait()
    facts = {**submitted.as_dict(), "state": end.state.value if end else None, "exit_code": exit_code_of(end)}
    typer.echo(json.dumps(facts, indent=2))
    return exit_code_of(end)


def watch(
    root: Root,
    address: ServerAddress = None,
    every: Annotated[str, typer.Option(help="Time between two looks, such as 2s.")] = "2s",
) -> int:
    """Look on until a sweep is done, or until Ctrl-C, which leaves the sweep alone.

    Without --address from the folder alone, with --address from the log of the root's job.
    """
    every_s = parse_duration(every, "--every")
    if address is not None:
        from orchestrator.app.remote.submission import RemoteSweep

        return _follow_job(RemoteSweep(address, root))
    from orchestrator.app.watching import watch as look_on

    try:
        look_on(root, console=screen(), every_s=every_s)
    except KeyboardInterrupt:
        typer.echo(f"No longer watching; the sweep goes on. Stop it with: foretune stop {root}", err=True)
        return Exit.INTERRUPTED
    return 0


def logs(
    root: Root,
    worker: Annotated[
        str | None, typer.Option(metavar="ID", help="A worker's log; left out: the driver's.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while a driver is at work.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 100,
    address: ServerAddress = None,
) -> int:
    """Print what the driver, or a worker, has logged: from the folder, or with --address the job's output."""
    if address is not None:
        if worker is not None:
            raise InputError(
                f"a job server has the driver's log only; workers' logs lie in {root}/logs/workers on the "
                "cluster's storage: run this there, without --address"
            )
        return _remote_logs(address, root, lines=lines, follow=follow)
    from orchestrator.app.watching import follow as follow_log
    from orchestrator.app.watching import last_lines, log_file

    path = log_file(root, worker)
    if not follow:
        typer.echo("".join(f"{line}\n" for line in last_lines(path, lines)), nl=False)
        return 0
    try:
        for text in follow_log(root, path, lines=lines):
            typer.echo(text, nl=False)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return 0


def stop(
    root: Root,
    address: ServerAddress = None,
    timeout: Annotated[str, typer.Option(help="How long to wait for the driver to let go.")] = "10m",
    as_json: AsJson = False,
) -> int:
    """Have a sweep's driver drain: running epochs end, trials are kept to be continued, all is written.

    Ends with 0 when no driver is at work any more, with 3 when one is still draining after --timeout.
    """
    timeout_s = parse_duration(timeout, "--timeout")
    if address is not None:
        was_at_work, has_let_go = _stop_job(address, root, timeout_s)
    else:
        was_at_work, has_let_go = _stop_here(root, timeout_s)
    if as_json:
        typer.echo(json.dumps({"root": str(root), "was_at_work": was_at_work, "has_let_go": has_let_go}))
    elif not was_at_work:
        typer.echo(f"No driver is at work in {root}.")
    elif has_let_go:
        typer.echo(f"Stopped. What was measured lies in {root}; `resume`, or `submit` again, continues.")
    else:
        typer.echo(f"Still draining after {timeout}: running epochs take longer. Ask again, or wait.")
    return 0 if has_let_go else Exit.STOPPED_EARLY


def _stop_here(root: Path, timeout_s: float) -> tuple[bool, bool]:
    from orchestrator.app.roots import existing_spec
    from orchestrator.app.stopping import request_stop, wait_until_idle

    existing_spec(root)
    was_at_work = request_stop(root)
    return was_at_work, not was_at_work or wait_until_idle(root, timeout_s)


def _stop_job(address: str, root: Path, timeout_s: float) -> tuple[bool, bool]:
    from orchestrator.app.remote.submission import RemoteSweep

    sweep = RemoteSweep(address, root)
    was_at_work = not sweep.job().state.is_finished
    return was_at_work, sweep.stop(timeout_s=timeout_s).state.is_finished


def _remote_logs(address: str, root: Path, *, lines: int, follow: bool) -> int:
    from orchestrator.app.remote.submission import RemoteSweep

    sweep = RemoteSweep(address, root)
    if follow:
        return _follow_job(sweep)
    typer.echo("".join(f"{line}\n" for line in sweep.log_lines(lines)), nl=False)
    return 0


def _announce(submitted: "Submitted") -> None:
    for note in submitted.notes:
        typer.echo(f"Note: {note}", err=True)
    if submitted.is_new:
        typer.echo(f"Submitted as job {submitted.job_id} ({submitted.upload_bytes / 2**20:.1f} MiB).")
    else:
        typer.echo(f"Job {submitted.job_id} is at work already; nothing was submitted.")
    for verb, command in submitted.commands.items():
        typer.echo(f"  {verb:7} {command}")


def _follow_job(sweep: "RemoteSweep") -> int:
    """Print a job's log until the job ends; return the exit code that its end means."""
    from cluster.jobs import JobState
    from orchestrator.app.remote.submission import exit_code_of

    try:
        for text in sweep.follow():
            typer.echo(text, nl=False)
        job = sweep.find()
    except KeyboardInterrupt:
        where = f"{shlex.quote(sweep.root)} --address {sweep.address}"
        typer.echo(
            f"No longer following; the job goes on. Follow it with: foretune watch {where}\n"
            f"Stop it with: foretune stop {where}",
            err=True,
        )
        return Exit.INTERRUPTED
    code = exit_code_of(job)
    if job is None:
        typer.echo("The cluster does not know the job any more (a new head?); submit again to continue.")
    elif code == 0:
        typer.echo(f"Job {job.job_id} has ended: done.")
    elif code == Exit.STOPPED_EARLY:
        why = (
            f" ({_reason(job)})"
            if job.state is JobState.FAILED and job.exit_code != Exit.STOPPED_EARLY
            else ""
        )
        typer.echo(f"Job {job.job_id} stopped before the end{why}; submit again to continue.")
    else:
        typer.echo(f"foretune: job {job.job_id} failed: {_reason(job)}", err=True)
    return code


def _reason(job: "Job") -> str:
    """Return Ray's word on why a job failed, without the log that was printed already."""
    return job.message.partition("\n")[0].partition(", last available logs")[0]
