"""Background processes: records, stop, clean-up."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from local import processes
from local.environment import HOST
from local.ports import free_port


def test_a_reused_pid_is_not_mistaken_for_the_recorded_process(tmp_path: Path) -> None:
    path = processes.record(tmp_path, os.getpid(), name="me")
    assert processes.read_record(path) is not None
    path.write_text(path.read_text().replace(str(processes.started_at(os.getpid())), "1"))
    assert processes.read_record(path) is None


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "log"
    process = processes.spawn([sys.executable, "-c", script], log=log)
    deadline = time.monotonic() + 5
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(log.read_text())
    assert not processes.stop(process.pid, processes.started_at(process.pid), grace_s=0.3)
    time.sleep(0.1)
    assert processes.started_at(process.pid) is None
    assert processes.started_at(child) is None


def test_a_sweep_stops_recorded_processes_and_removes_their_records(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    processes.record(tmp_path, process.pid, name="left over")
    assert processes.sweep(tmp_path) == 1
    assert not list(tmp_path.iterdir())
    assert process.wait() in (-signal.SIGTERM, 0)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server((HOST, free_port())):
        pass
