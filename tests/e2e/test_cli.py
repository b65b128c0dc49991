"""The commands as a person runs them, with real containers."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.doubles import command
from tests.doubles.model_server import Fault, model_server, python
from tests.e2e.threadbox import environment, threadbox

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("image")]


def run(folder: Path, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    return command.run(arguments, environment(folder, **settings), folder, stdin)


def test_ask_answers_with_code_output_and_the_plot_in_a_folder(tmp_path: Path) -> None:
    code = "import matplotlib.pyplot as plt\nprint('points', 3)\nplt.plot([1, 2, 3])\nplt.show()"
    with model_server([python(code, "Plotting."), "That is the plot."]) as model:
        done = run(tmp_path, "ask", "plot", "--out", "made", OPENAI_BASE_URL=model.url, THREADBOX_MODEL="scripted")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("Plotting.", "points 3", "That is the plot.")] == [
        "Plotting.",
        "points 3",
        "That is the plot.",
    ]
    assert (tmp_path / "made" / "figure-1.png").read_bytes().startswith(b"\x89PNG")


def test_ask_as_json_tells_what_comes_line_by_line(tmp_path: Path) -> None:
    code = "print(6 * 7)\n_ = open('made.txt', 'w').write('made')"
    with model_server([python(code), "It is 42."]) as model:
        done = run(
            tmp_path, "ask", "?", "--json", "--out", "made", OPENAI_BASE_URL=model.url, THREADBOX_MODEL="scripted"
        )

    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in told if line["type"] != "output"] == ["reply", "file", "reply", "end"]
    assert "".join(line["text"] for line in told if line["type"] == "output") in ("", "42\n")
    cell, words = (line for line in told if line["type"] == "reply")
    assert [block["kind"] for block in cell["blocks"]] == ["code", "printed", "file"]
    assert cell["blocks"][1]["text"] == "42"
    assert words["blocks"] == told[-1]["blocks"] == [{"kind": "text", "markdown": "It is 42."}]
    assert (told[-1]["status"], told[-1]["exit_code"]) == ("done", 0)
    assert (tmp_path / "made" / "made.txt").read_text() == "made"


def test_ask_as_json_tells_while_the_code_still_runs(tmp_path: Path) -> None:
    block = "```\nprint('spinning', flush=True)\nwhile True: pass\n```"
    with command.printing(["ask", block, "--json"], environment(tmp_path), tmp_path) as (asked, printed):
        first = json.loads(printed.readline())
        asked.send_signal(signal.SIGINT)
        *_, last = printed.read().splitlines()
        code = asked.wait(10)

    assert first == {"type": "output", "part": 0, "text": "spinning\n"}
    assert (json.loads(last)["type"], json.loads(last)["status"]) == ("end", "stopped")
    assert code == json.loads(last)["exit_code"] == 130


def test_a_turn_whose_database_failed_is_said_to_have_ended(tmp_path: Path) -> None:
    block = "```\nimport time\nprint('begun', flush=True)\ntime.sleep(2)\n```"
    with command.printing(["ask", block, "--json"], environment(tmp_path), tmp_path) as (asked, printed):
        printed.readline()
        with closing(sqlite3.connect(next((tmp_path / "data").glob("*.sqlite")))) as database:
            database.execute("DROP TABLE turns")
        *_, last = printed.read().splitlines()
        code = asked.wait(10)

    assert code == 1
    assert (json.loads(last)["type"], json.loads(last)["status"]) == ("end", "failed")
    assert "Please ask again." in json.loads(last)["text"]


def test_ask_as_json_ends_with_what_no_reply_says(tmp_path: Path) -> None:
    told, refused = (run(tmp_path, "ask", text, "--json") for text in ("help", " "))

    assert "Mention me" in json.loads(told.stdout)["text"]
    assert (told.returncode, json.loads(told.stdout)["status"]) == (0, "done")
    assert (refused.returncode, json.loads(refused.stdout)["status"]) == (2, "refused")


def test_a_file_of_the_person_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "made.txt").write_text("mine")

    done = run(tmp_path, "ask", "```\nopen('made.txt', 'w').write('its')\n```", "--out", ".")

    assert "[file] made-2.txt (3 B)" in done.stdout
    assert [(tmp_path / name).read_text() for name in ("made.txt", "made-2.txt")] == ["mine", "its"]


def test_ask_exits_with_1_when_the_turn_failed(tmp_path: Path) -> None:
    with model_server([Fault(401)]) as model:
        done = run(tmp_path, "ask", "hello", OPENAI_BASE_URL=model.url, OPENAI_API_KEY="sk-very-secret")

    assert done.returncode == 1
    assert "did not accept the key" in done.stdout
    assert "sk-very-secret" not in done.stdout + done.stderr


def test_exec_passes_output_and_exit_code_on(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("echo out; echo err >&2; exit 7")

    done = run(tmp_path, "exec", "a.sh")

    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_exec_reads_standard_input(tmp_path: Path) -> None:
    assert run(tmp_path, "exec", "-", stdin="print(6 * 7)").stdout == "42\n"


def test_exec_says_how_code_was_ended_as_a_thread_is_told(tmp_path: Path) -> None:
    slow = run(tmp_path, "exec", "-", stdin="while True: pass", THREADBOX_CELL_TIMEOUT_SECONDS="1")
    large = run(tmp_path, "exec", "-", stdin="b'x' * (1 << 30)", THREADBOX_MEMORY_MIB="128")

    assert re.search(r"^Timed out after \d+\.\d s\.$", slow.stderr, re.M)
    assert slow.returncode == 124
    assert re.search(r"^Out of memory after \d+\.\d s\.$", large.stderr, re.M)
    assert large.returncode == 137


def test_exec_of_no_file_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path, "exec", "none.py")

    assert done.returncode == 2
    assert "There is no file none.py" in done.stderr


def test_without_docker_one_line_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "ask", "hello", DOCKER_HOST="unix:///nonexistent.sock")

    assert done.returncode == 2
    assert "The Docker Engine does not answer" in done.stderr
    assert "Start Docker" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "ask", "hello", THREADBOX_MEMORY_MIB="1")

    assert done.returncode == 2
    assert "THREADBOX_MEMORY_MIB" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(tmp_path, "run", THREADBOX_WEB_PORT=str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "Set THREADBOX_WEB_PORT to another one." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_door_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "run", THREADBOX_WEB_HOST="0.0.0.0")

    assert done.returncode == 2
    assert "Set THREADBOX_WEB_TOKEN too." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_instance_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    with threadbox(tmp_path):
        done = run(tmp_path, "ask", "hello")

    assert done.returncode == 2
    assert "Another Threadbox uses the data folder" in done.stderr


def test_doctor_reports_each_thing_with_its_mend(tmp_path: Path) -> None:
    good = run(tmp_path, "doctor")
    bad = run(tmp_path, "doctor", DOCKER_HOST="unix:///nonexistent.sock", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert good.returncode == 0, good.stdout
    assert "ok       Docker Engine" in good.stdout
    assert "ok       The sandbox image is built" in good.stdout
    assert bad.returncode == 1
    assert "error    The Docker Engine does not answer" in bad.stdout
    assert "error    The model server does not answer" in bad.stdout
    assert bad.stdout.count("→") >= 2


def test_chat_goes_on_from_line_to_line(tmp_path: Path) -> None:
    done = run(tmp_path, "chat", stdin="```print('a'); x = 5```\n```print(x * 2)```\nhelp\n")

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in ("a", "10")] == ["a", "10"]
    assert "Mention me" in done.stderr


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    run(tmp_path, "ask", "hello")

    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_start_warns_of_the_bare_socket_of_an_engine_that_runs_as_root_and_goes_on(tmp_path: Path) -> None:
    client = docker.from_env()
    rootless = "rootless" in str(client.info()["SecurityOptions"])
    client.close()

    with threadbox(tmp_path) as bot:
        said = bot.log.read_text()

    assert rootless or "warning: The bot holds the socket of an engine that runs as root" in said
