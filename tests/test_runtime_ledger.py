from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import OutputError
from runtime.watch.arrivals import Stamp
from runtime.watch.ledger import Answered, Ledger, LedgerDamagedError


def _commit_many(ledger: Ledger, count: int = 300) -> None:
    for number in range(count):
        ledger.commit(f"{number}.jpg", ROW)


ROW = Answered(Stamp(10, 1_700_000_000_123_456_789, 2), "a" * 64, 3, False)


def test_rows_survive_a_restart_exactly(tmp_path: Path) -> None:
    odd = os.fsdecode(b"sub/\xff\xfe name\n.jpg")
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.commit(odd, ROW)
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert ledger.get(odd) == ROW
        assert ledger.get("other") is None


def test_later_answer_replaces_the_earlier(tmp_path: Path) -> None:
    later = Answered(Stamp(11, 3, 4), "b" * 64, 1, True)
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.commit("a.jpg", ROW)
        ledger.commit("a.jpg", later)
        assert ledger.get("a.jpg") == later


def test_begun_contents_are_counted_until_they_are_committed(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert ledger.begin("a.jpg", "a" * 64) == 0
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        assert ledger.begin("a.jpg", "a" * 64) == 1
        assert ledger.begin("a.jpg", "b" * 64) == 0, "another content is another matter"
        assert ledger.begin("a.jpg", "b" * 64) == 1
        ledger.commit("a.jpg", ROW)
        assert ledger.begin("a.jpg", "b" * 64) == 0
        ledger.release("a.jpg")
        assert ledger.begin("a.jpg", "b" * 64) == 0


def test_rows_survive_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from runtime.watch.ledger import *;"
        "from runtime.watch.arrivals import Stamp;"
        "l = Ledger.open(Path(sys.argv[1]));"
        "l.commit('a.jpg', Answered(Stamp(1, 2, 3), 'a' * 64, 1, False));"
        "l.begin('b.jpg', 'b' * 64); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "l.sqlite"
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False, timeout=60)
    with Ledger.open(path) as ledger:
        assert ledger.get("a.jpg") is not None
        assert ledger.begin("b.jpg", "b" * 64) == 1


def test_replaced_or_missing_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        assert ledger.in_place
        path.rename(tmp_path / "other")
        assert not ledger.in_place
        path.touch()
        assert not ledger.in_place


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough " * 100])
def test_damaged_file_is_kept_under_another_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(content)
    with Ledger.open(path) as ledger:
        ledger.commit("a.jpg", ROW)
    kept = [file.read_bytes() for file in tmp_path.glob("l.sqlite.damaged-*")]
    assert kept == ([content] if content else [])


def test_damage_inside_the_tables_is_found_when_opening(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        _commit_many(ledger)
    content = bytearray(path.read_bytes())
    content[5000:-2000] = b"\xa5" * (len(content) - 7000)
    path.write_bytes(content)
    with Ledger.open(path) as ledger:
        assert ledger.get("1.jpg") is None
    assert len(list(tmp_path.glob("l.sqlite.damaged-*"))) == 1


def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE precious (x)")
    other.close()
    with pytest.raises(OutputError, match="another program"):
        Ledger.open(path)


def test_ledger_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger.open(path).close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(OutputError, match="later version"):
        Ledger.open(path)


def test_full_disk_is_told_from_damage(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="full") as caught:
            _commit_many(ledger)
        assert caught.value.errno == errno.ENOSPC
        ledger._database.execute("PRAGMA max_page_count = 1000000")
        ledger.commit("after.jpg", ROW)


def test_damage_met_on_the_way_has_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        _commit_many(ledger)
    with Ledger.open(path) as ledger:
        with open(path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        ledger._database.execute("PRAGMA cache_size = 0")
        ledger._database.execute("PRAGMA shrink_memory")
        with pytest.raises(LedgerDamagedError):
            ledger.get("1.jpg")


def test_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="ledger cannot be written"):
        Ledger.open(tmp_path / "none" / "l.sqlite")


def test_journal_stays_small(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        _commit_many(ledger)
        assert (tmp_path / "l.sqlite-wal").stat().st_size < 1_000_000
