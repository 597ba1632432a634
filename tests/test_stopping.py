"""SIGTERM ends a command in one sentence, as Ctrl-C does, and concerns nobody else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from daep_ray import stopping
from daep_ray.cli import run_app

TOLD = "error: stopped by SIGTERM: start the same command again\n"


def command_of(act: Callable[[], None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(act)
    return app


def send_it_here() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def test_sigterm_is_told_apart_from_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_app(command_of(send_it_here), []) == 143
    assert capsys.readouterr().err.strip() == TOLD.strip()
    # what a shell starts in the background has Ctrl-C ignored
    of_this_process = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_app(command_of(lambda: signal.raise_signal(signal.SIGINT)), []) == 130
    finally:
        signal.signal(signal.SIGINT, of_this_process)
    assert capsys.readouterr().err.strip() == "error: interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_cleaned_up_is_not_cut_by_a_second_one() -> None:
    has_ended = False

    def clean_up() -> None:
        nonlocal has_ended
        try:
            send_it_here()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            has_ended = True

    assert run_app(command_of(clean_up), []) == 143
    assert has_ended


def test_a_forked_process_ends_as_one_without_a_handler(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with stopping.listening() as sigterm:
        child = os.fork()
        if child == 0:  # nothing of pytest may go on here
            try:
                send_it_here()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert not sigterm.came
    assert capfd.readouterr().err == ""


def test_a_program_that_is_started_has_no_handler() -> None:
    with stopping.listening():
        code = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"True"


def test_nothing_listens_outside_the_main_thread() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with stopping.listening():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_handler_that_ray_sets_is_put_away_again() -> None:
    with stopping.listening() as sigterm:
        with stopping.kept():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
        assert signal.getsignal(signal.SIGTERM) is sigterm
        with pytest.raises(KeyboardInterrupt), stopping.kept():
            sys.exit(1)  # as its handlers do
        assert sigterm.came
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stopping.kept():  # of somebody else's program: Ray may
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_command_that_is_no_study_ends_in_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "data"
    words = ["ingest", "synthetic", "--out", str(out), "--set", "num_objects=1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "daep_ray", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("read ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        assert process.stderr.read() == TOLD
    assert not out.exists()
