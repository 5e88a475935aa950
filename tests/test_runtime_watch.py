from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from stub_reader import StubReader, put, stub_page

from runtime.audit_log import AuditLog
from runtime.errors import ExitCode, NoInputError, OutputError, UsageError
from runtime.watch import answers, durable, places
from runtime.watch.places import WatchSettings, check_places
from runtime.watch.watcher import Watcher


class Ward:
    """A watched folder with a clock of its own."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.root = root
        self.inbox, self.out = root / "in", root / "out"
        self.inbox.mkdir(exist_ok=True)
        self.now = 1000.0
        self.reader = StubReader()
        self.audit: AuditLog | None = None
        self.isolated = None
        self.settings = WatchSettings(
            self.inbox,
            self.out,
            self.out / "ledger.sqlite",
            **settings,  # type: ignore[arg-type]
        )
        self.start()

    def start(self) -> None:
        check_places(self.settings)
        self.watcher = Watcher(
            self.settings, self.reader, self.audit, self.isolated, clock=lambda: self.now
        )

    def restart(self) -> None:
        """What a kill -9 leaves: nothing of the process, everything on the disk."""
        self.watcher.close()
        self.start()

    def look(self, times: int = 1, step_s: float = 2.0) -> None:
        for _ in range(times):
            self.watcher.round()
            self.now += step_s

    def settle(self) -> None:
        self.look(4)

    def record(self, name: str) -> dict[str, object]:
        return json.loads((self.out / name).read_text())

    def answers(self) -> list[str]:
        return sorted(
            str(p.relative_to(self.out)) for p in self.out.rglob("*.ecg.*") if p.is_file()
        )


@pytest.fixture
def ward(tmp_path: Path):
    made = Ward(tmp_path)
    yield made
    made.watcher.close()


@pytest.fixture
def moving_ward(tmp_path: Path):
    made = Ward(tmp_path, done=tmp_path / "done", failed=tmp_path / "failed")
    yield made
    made.watcher.close()


def test_page_is_answered_once_it_stood_still_twice(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page("covid19"))
    ward.look(2)
    assert ward.answers() == []
    ward.look(1)
    record = ward.record("a.jpg.ecg.json")
    assert (record["source"], record["label"], record["pages"]) == ("a.jpg", "covid19", 1)
    ward.look(5)
    assert ward.reader.asked == ["a.jpg"]


def test_settle_time_counts_beside_the_looks(tmp_path: Path) -> None:
    ward = Ward(tmp_path, settle_s=10.0)
    put(ward.inbox, "a.jpg", stub_page())
    ward.look(9, step_s=1.0)
    assert ward.answers() == []
    ward.look(3, step_s=1.0)
    assert ward.answers() == ["a.jpg.ecg.json"]


def test_growing_file_is_left_alone_until_it_is_complete(ward: Ward) -> None:
    path = ward.inbox / "slow.pdf"
    content = stub_page(text="long" * 20)
    for length in range(10, len(content), 10):
        path.write_bytes(content[:length])
        ward.look(2)
    assert ward.answers() == []
    path.write_bytes(content)
    ward.settle()
    assert ward.record("slow.pdf.ecg.json")["status"] == "ok"
    assert ward.reader.asked == ["slow.pdf"]


def test_overwritten_file_gets_a_new_answer_and_leaves_no_old_page(ward: Ward) -> None:
    put(ward.inbox, "ECG.pdf", stub_page("normal", pages=3))
    ward.settle()
    assert ward.answers() == [
        "ECG.pdf.ecg.json",
        "ECG.pdf.page-2.ecg.json",
        "ECG.pdf.page-3.ecg.json",
    ]
    put(ward.inbox, "ECG.pdf", stub_page("covid19", pages=1))
    ward.settle()
    assert ward.answers() == ["ECG.pdf.ecg.json"]
    assert ward.record("ECG.pdf.ecg.json")["label"] == "covid19"


def test_same_size_and_time_but_other_content_is_noticed(ward: Ward) -> None:
    path = put(ward.inbox, "a.jpg", stub_page("normal", text="1"))
    ward.settle()
    before = path.stat()
    put(ward.inbox, "a.jpg", stub_page("normal", text="2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ward.settle()
    assert len(ward.reader.asked) == 2


def test_truncated_file_that_is_completed_later_is_answered_again(ward: Ward) -> None:
    content = stub_page()
    path = put(ward.inbox, "a.jpg", content[:8])
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["status"] == "error"
    path.write_bytes(content)
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["status"] == "ok"


def test_names_that_differ_in_ending_or_folder_only_do_not_collide(ward: Ward) -> None:
    for name in ("a.jpg", "a.png", "a", "b/a.jpg", "1.2.840.113619"):
        content = b"%PDF-" if "." not in name or name.startswith("1.") else stub_page()
        put(ward.inbox, name, content)
    ward.settle()
    assert ward.answers() == [
        "1.2.840.113619.ecg.json",
        "a.ecg.json",
        "a.jpg.ecg.json",
        "a.png.ecg.json",
        "b/a.jpg.ecg.json",
    ]


def test_what_is_no_page_is_ignored(ward: Ward) -> None:
    for name in ("a.xml", "b.CDB", "c.slw", ".hidden.jpg", "~$d.pdf", "e.jpg.part", "f.tmp"):
        put(ward.inbox, name, stub_page())
    put(ward.inbox, "README", b"not a picture")
    put(ward.inbox, ".hidden/a.jpg", stub_page())
    (ward.inbox / "folder.jpg").mkdir()
    ward.settle()
    assert ward.answers() == []
    assert ward.reader.asked == []


def test_links_and_fifos_are_refused_with_one_line(ward: Ward, caplog) -> None:
    secret = put(ward.root, "secret.jpg", stub_page())
    (ward.inbox / "link.jpg").symlink_to(secret)
    (ward.inbox / "linked").symlink_to(ward.root)
    os.mkfifo(ward.inbox / "pipe.jpg")
    with caplog.at_level(logging.WARNING):
        ward.settle()
    assert ward.answers() == []
    assert sorted(line.split(":")[0] for line in caplog.messages) == [
        "link.jpg",
        "linked",
        "pipe.jpg",
    ]


def test_link_put_in_place_of_a_page_is_not_followed(ward: Ward) -> None:
    path = put(ward.inbox, "a.jpg", stub_page())
    ward.look(2)
    secret = put(ward.root, "secret.jpg", stub_page("covid19"))
    found = ward.watcher._look

    def swap(now: float):
        ready = found(now)
        path.unlink()
        path.symlink_to(secret)
        return ready

    ward.watcher._look = swap  # type: ignore[method-assign]
    ward.look()
    assert ward.answers() == []


def test_garbage_does_not_stop_the_others(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", b"")
    put(ward.inbox, "b.jpg", os.urandom(100))
    put(ward.inbox, "c.jpg", stub_page())
    ward.settle()
    assert [ward.record(f"{n}.jpg.ecg.json")["status"] for n in "abc"] == ["error", "error", "ok"]


def test_fault_in_the_reader_gives_an_error_record(ward: Ward) -> None:
    def fails(source, *, name=None, keep_evidence=False):
        raise RuntimeError("boom")
        yield

    put(ward.inbox, "a.jpg", stub_page())
    ward.reader.classify_pages = fails  # type: ignore[method-assign]
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["status"] == "error"


def test_longest_possible_name_is_answered(ward: Ward) -> None:
    names = ["n" * 251 + ".jpg", "é" * 125 + ".jpg", "m" * 251 + ".jpg"]
    for name in names:
        put_whole(ward.inbox / name)
    ward.settle()
    assert len(ward.answers()) == 3
    assert {ward.record(name)["source"] for name in ward.answers()} == set(names)


def test_name_that_is_no_text_is_answered(ward: Ward, caplog) -> None:
    name = os.fsdecode(b"J\xf6rg\n\x1b[31m.jpg")
    put(ward.inbox, name, stub_page())
    with caplog.at_level(logging.DEBUG):
        ward.settle()
    assert ward.record(f"{name}.ecg.json")["source"] == name
    assert "\x1b" not in caplog.text
    assert name not in caplog.text


def put_whole(path: Path) -> None:
    path.write_bytes(stub_page())


def test_restart_answers_nothing_twice(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    ward.restart()
    ward.settle()
    assert ward.reader.asked == ["a.jpg"]


def test_file_overwritten_while_the_watch_was_down_is_answered(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page("normal"))
    ward.settle()
    ward.watcher.close()
    put(ward.inbox, "a.jpg", stub_page("covid19"))
    ward.start()
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["label"] == "covid19"


def test_touched_file_is_not_answered_again_even_if_its_answer_was_taken_away(ward: Ward) -> None:
    path = put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    (ward.out / "a.jpg.ecg.json").unlink()
    os.utime(path)
    ward.settle()
    assert ward.reader.asked == ["a.jpg"]
    assert ward.answers() == []


def test_answer_of_another_content_is_replaced_whatever_the_ledger_says(ward: Ward) -> None:
    """A was answered; the end came between B's answer and its ledger row; then A came again."""
    put(ward.inbox, "a.jpg", stub_page("normal"))
    ward.settle()
    other = ward.record("a.jpg.ecg.json") | {"sha256": "f" * 64, "label": "covid19"}
    (ward.out / "a.jpg.ecg.json").write_text(json.dumps(other))
    os.utime(ward.inbox / "a.jpg")
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["label"] == "normal"


@pytest.mark.parametrize("damage", ["lost", "garbage", "cut"])
def test_ledger_is_rebuilt_from_the_answers(ward: Ward, damage: str, caplog) -> None:
    for number in range(30):
        put(ward.inbox, f"{number}.jpg", stub_page(pages=2, text=str(number)))
    ward.settle()
    asked = len(ward.reader.asked)
    ward.watcher.close()
    ledger = ward.settings.ledger
    if damage == "lost":
        ledger.unlink()
    elif damage == "garbage":
        ledger.write_bytes(os.urandom(8192))
    else:
        ledger.write_bytes(ledger.read_bytes()[:4096])
    with caplog.at_level(logging.WARNING):
        ward.start()
    ward.settle()
    assert len(ward.reader.asked) == asked
    assert len(ward.answers()) == 60
    assert bool(list(ward.out.glob("*.damaged-*"))) == (damage != "lost")
    assert any("damaged" in line for line in caplog.messages) == (damage != "lost")


def test_ledger_that_vanishes_under_way_is_begun_anew(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    ward.settings.ledger.unlink()
    ward.settle()
    ward.restart()
    ward.settle()
    assert ward.reader.asked == ["a.jpg"]


def test_incomplete_answers_of_an_interrupted_file_are_completed(ward: Ward) -> None:
    put(ward.inbox, "a.pdf", stub_page(pages=3))
    ward.settle()
    ward.watcher.close()
    ward.settings.ledger.unlink()
    (ward.out / "a.pdf.page-3.ecg.json").unlink()
    ward.start()
    ward.settle()
    assert len(ward.answers()) == 3


def test_pages_left_by_an_end_before_tidying_are_removed(ward: Ward) -> None:
    put(ward.inbox, "a.pdf", stub_page(pages=1))
    ward.settle()
    ward.watcher.close()
    ward.settings.ledger.unlink()
    shutil.copy(ward.out / "a.pdf.ecg.json", ward.out / "a.pdf.page-2.ecg.json")
    ward.start()
    ward.settle()
    assert ward.answers() == ["a.pdf.ecg.json"]


# -- drawings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_drawings_come_and_go_with_their_answers(tmp_path: Path, monkeypatch, beside: bool) -> None:
    from PIL import Image

    monkeypatch.setattr("runtime.explain.draw", lambda prediction: Image.new("L", (8, 8)))
    pictures = tmp_path / ("out" if beside else "pictures")
    ward = Ward(tmp_path, explain=pictures)
    put(ward.inbox, "sub/a.pdf", stub_page(pages=2))
    ward.settle()
    drawn = sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.png"))
    assert drawn == ["sub/a.pdf.ecg.png", "sub/a.pdf.page-2.ecg.png"]
    put(ward.inbox, "sub/a.pdf", b"bad")
    ward.settle()
    left = [str(path.relative_to(pictures)) for path in pictures.rglob("*.png")]
    assert left == ["sub/a.pdf.ecg.png"], "with the reason"
    assert len(list(ward.out.rglob("*.json"))) == 1


def test_real_pages_are_read_answered_and_drawn(tmp_path: Path) -> None:
    from PIL import Image
    from sample_files import ecg_page, saved
    from serving import InProcess

    ward = Ward(tmp_path, explain=tmp_path / "out")
    ward.watcher.close()
    reader = InProcess().classifier
    ward.watcher = Watcher(ward.settings, reader, clock=lambda: ward.now)
    put(ward.inbox, "a.jpg", saved(ecg_page(), "JPEG"))
    put(ward.inbox, "b.jpg", saved(ecg_page(), "JPEG")[:2000])
    put(ward.inbox, "c.tif", b"")
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["label"] == "normal"
    assert [ward.record(f"{n}.ecg.json")["status"] for n in ("b.jpg", "c.tif")] == ["error"] * 2
    with Image.open(ward.out / "a.jpg.ecg.png") as drawing:
        assert min(drawing.size) > 500


def test_drawing_that_fails_does_not_cost_the_answer(tmp_path: Path, monkeypatch) -> None:
    def fails(prediction):
        raise ValueError("no panel")

    monkeypatch.setattr("runtime.explain.draw", fails)
    ward = Ward(tmp_path, explain=tmp_path / "out")
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    assert ward.answers() == ["a.jpg.ecg.json"]


# -- moving ---------------------------------------------------------------------------------------


def test_nothing_is_moved_unless_asked(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    put(ward.inbox, "b.jpg", b"bad")
    ward.look(12)
    assert sorted(os.listdir(ward.inbox)) == ["a.jpg", "b.jpg"]


def test_answered_files_go_to_done_and_unreadable_ones_to_failed(moving_ward: Ward) -> None:
    ward = moving_ward
    put(ward.inbox, "sub/a.jpg", stub_page())
    put(ward.inbox, "b.jpg", b"bad")
    ward.settle()
    assert (ward.root / "done/sub/a.jpg").read_bytes() == stub_page()
    assert (ward.inbox / "b.jpg").exists(), "a cart may still complete it"
    ward.look(5)
    assert (ward.root / "failed/b.jpg").read_bytes() == b"bad"
    assert ward.answers() == ["b.jpg.ecg.json", "sub/a.jpg.ecg.json"]


def test_file_that_came_under_the_same_name_gets_one_of_its_own_in_done(moving_ward: Ward) -> None:
    ward = moving_ward
    for label in ("normal", "covid19", "normal"):
        put(ward.inbox, "ECG.pdf", stub_page(label))
        ward.settle()
    kept = sorted((ward.root / "done").iterdir())
    assert len(kept) == 3
    assert sorted(path.read_bytes() for path in kept) == sorted(
        [stub_page("normal"), stub_page("normal"), stub_page("covid19")]
    )
    assert all(path.suffix == ".pdf" for path in kept)


def test_move_left_undone_is_done_after_a_restart(moving_ward: Ward, monkeypatch) -> None:
    ward = moving_ward
    put(ward.inbox, "a.jpg", stub_page())
    with monkeypatch.context() as patch:
        patch.setattr(Watcher, "_move_to", _raise(errno.EIO))
        ward.settle()
    assert (ward.inbox / "a.jpg").exists()
    ward.restart()
    ward.settle()
    assert (ward.root / "done/a.jpg").exists()
    assert ward.reader.asked == ["a.jpg"]


def test_move_across_file_systems_copies_and_only_then_removes(
    moving_ward: Ward, monkeypatch
) -> None:
    ward = moving_ward
    path = put(ward.inbox, "a.jpg", stub_page())
    os.utime(path, (1_600_000_000, 1_600_000_000))
    monkeypatch.setattr(durable.os, "rename", _rename_within_folders)
    ward.settle()
    moved = ward.root / "done/a.jpg"
    assert moved.read_bytes() == stub_page()
    assert moved.stat().st_mtime == 1_600_000_000
    assert os.listdir(ward.inbox) == []
    assert os.listdir(ward.root / "done") == ["a.jpg"]


def test_file_held_by_an_end_while_moving_gets_its_name_back(moving_ward: Ward) -> None:
    ward = moving_ward
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    shutil.copy(ward.root / "done/a.jpg", ward.inbox / ".ecg-edge-held.a.jpg")
    ward.restart()
    ward.settle()
    assert os.listdir(ward.inbox) == []
    assert len(list((ward.root / "done").iterdir())) == 2


def test_file_replaced_before_its_move_stays_and_is_answered(
    moving_ward: Ward, monkeypatch
) -> None:
    ward = moving_ward
    path = put(ward.inbox, "a.jpg", stub_page("normal"))
    real = durable._same
    calls = iter(range(100))

    def replaced_meanwhile(found, expected):
        if next(calls) == 0:
            put(ward.inbox, "a.jpg", stub_page("covid19"))
            return True
        return real(found, expected)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "_same", replaced_meanwhile)
        ward.look(3)
    assert path.read_bytes() == stub_page("covid19")
    assert os.listdir(ward.root / "done") == []
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["label"] == "covid19"
    assert (ward.root / "done/a.jpg").read_bytes() == stub_page("covid19")


def test_folder_of_moved_files_that_is_away_does_not_stop_answers(
    moving_ward: Ward, caplog
) -> None:
    ward = moving_ward
    shutil.rmtree(ward.root / "done")
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            put(ward.inbox, f"{number}.jpg", stub_page())
            ward.settle()
    assert len(ward.answers()) == 5
    assert not (ward.root / "done").exists(), "its share is not mounted: never made anew"
    assert len(caplog.messages) == 1
    (ward.root / "done").mkdir()
    ward.look(40)
    assert len(os.listdir(ward.root / "done")) == 5


# -- trouble --------------------------------------------------------------------------------------


def test_vanished_folder_is_waited_for_with_one_line_each_way(ward: Ward, caplog) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    away = ward.root / "away"
    with caplog.at_level(logging.WARNING):
        ward.inbox.rename(away)
        ward.look(100)
        away.rename(ward.inbox)
        put(ward.inbox, "b.jpg", stub_page())
        ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json", "b.jpg.ecg.json"]
    assert ward.reader.asked == ["a.jpg", "b.jpg"]
    assert len(caplog.messages) == 2


def test_folder_that_was_watched_before_is_waited_for_at_the_start(ward: Ward, caplog) -> None:
    ward.watcher.close()
    ward.inbox.rename(ward.root / "away")
    with caplog.at_level(logging.WARNING):
        ward.start()
        ward.look(20)
        (ward.root / "away").rename(ward.inbox)
        put(ward.inbox, "a.jpg", stub_page())
        ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json"]
    assert len(caplog.messages) == 2
    once = WatchSettings(ward.root / "none", ward.out, ward.settings.ledger, once=True)
    with pytest.raises(NoInputError):
        check_places(once)


def test_rest_grows_to_a_minute_while_the_folder_is_away(ward: Ward) -> None:
    ward.inbox.rename(ward.root / "away")
    rests = []
    for _ in range(9):
        rests.append(ward.watcher.round())
        ward.now += rests[-1]
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_full_disk_is_waited_for_and_nothing_is_lost(ward: Ward, monkeypatch, caplog) -> None:
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(answers, "write_durably", _raise(errno.ENOSPC))
        put(ward.inbox, "a.jpg", stub_page())
        ward.look(100)
        assert len(caplog.messages) == 1
        assert ward.answers() == []
    ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json"]
    assert len(caplog.messages) == 2


def test_page_put_off_by_a_full_disk_is_not_taken_for_one_that_ends_the_process(
    ward: Ward, monkeypatch
) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    with monkeypatch.context() as patch:
        patch.setattr(answers, "write_durably", _raise(errno.ENOSPC))
        ward.look(200)
    ward.look(60)
    assert ward.record("a.jpg.ecg.json")["status"] == "ok"


def test_answer_that_cannot_be_written_does_not_stop_the_others(ward: Ward, caplog) -> None:
    (ward.out / "a.jpg.ecg.json").mkdir()
    (ward.out / "a.jpg.ecg.json" / "x").touch()
    put(ward.inbox, "a.jpg", stub_page())
    put(ward.inbox, "b.jpg", stub_page())
    with caplog.at_level(logging.WARNING):
        ward.look(100)
    assert ward.record("b.jpg.ecg.json")["status"] == "ok"
    assert len(caplog.messages) == 1
    shutil.rmtree(ward.out / "a.jpg.ecg.json")
    ward.look(40)
    assert ward.record("a.jpg.ecg.json")["status"] == "ok"


def test_vanished_folder_of_answers_is_waited_for_and_not_made_anew(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    away = ward.root / "away"
    ward.out.rename(away)
    put(ward.inbox, "b.jpg", stub_page())
    ward.look(50)
    assert not ward.out.exists()
    away.rename(ward.out)
    ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json", "b.jpg.ecg.json"]
    assert ward.reader.asked == ["a.jpg", "b.jpg"]


def test_answers_folder_that_comes_back_empty_is_filled_again(ward: Ward) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    ward.settle()
    shutil.rmtree(ward.out)
    ward.look(3)
    ward.out.mkdir()
    ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json"]


def test_unmounted_share_is_noticed(ward: Ward, monkeypatch) -> None:
    mounted = True
    monkeypatch.setattr(os.path, "ismount", lambda path: mounted or path == "never")
    ward.restart()
    mounted = False
    put(ward.inbox, "a.jpg", stub_page())
    ward.look(100)
    assert ward.answers() == []
    mounted = True
    ward.look(60)
    assert ward.answers() == ["a.jpg.ecg.json"]


def test_file_that_cannot_be_opened_is_reported_once_and_answered_when_it_opens(
    ward: Ward, monkeypatch, caplog
) -> None:
    put(ward.inbox, "a.jpg", stub_page())
    put(ward.inbox, "b.jpg", stub_page())
    real = os.open

    def locked(path, *arguments, **named):
        if str(path).endswith("in/a.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *arguments, **named)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "open", locked)
        ward.settle()
        assert ward.answers() == ["b.jpg.ecg.json"], "it is given time"
        ward.look(100)
    record = ward.record("a.jpg.ecg.json")
    assert record["status"] == "error"
    assert "permission" in record["reasons"][0]
    assert len(caplog.messages) == 1
    ward.look(40)
    assert ward.record("a.jpg.ecg.json")["status"] == "ok"


def test_damaged_ledger_under_way_is_set_aside(ward: Ward, monkeypatch) -> None:
    from runtime.watch.ledger import Ledger, LedgerDamagedError

    put(ward.inbox, "a.jpg", stub_page())

    def damaged(self, name):
        monkeypatch.undo()
        raise LedgerDamagedError("database disk image is malformed")

    monkeypatch.setattr(Ledger, "get", damaged)
    ward.look(6)
    assert ward.answers() == ["a.jpg.ecg.json"]
    assert len(list(ward.out.glob("ledger.sqlite.damaged-*"))) == 1


def test_page_that_ends_the_process_three_times_gets_an_error_record(ward: Ward) -> None:
    content = stub_page()
    put(ward.inbox, "a.jpg", content)
    import hashlib

    for _ in range(3):
        ward.watcher._ledger.begin("a.jpg", hashlib.sha256(content).hexdigest())
        ward.restart()
    ward.settle()
    record = ward.record("a.jpg.ecg.json")
    assert record["status"] == "error"
    assert "ended the program" in record["reasons"][0]
    put(ward.inbox, "a.jpg", stub_page("covid19"))
    ward.settle()
    assert ward.record("a.jpg.ecg.json")["label"] == "covid19"


# -- refusals, one pass, logs ---------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["out", "done", "failed", "explain", "ledger"])
def test_folders_inside_the_watched_one_are_refused(tmp_path: Path, flag: str) -> None:
    inbox = tmp_path / "in"
    (inbox / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(inbox / "sub")
    for inside in (inbox, inbox / "new", tmp_path / "link" / "x"):
        chosen = {"out": tmp_path / "out", "ledger": tmp_path / "l.sqlite"} | {flag: inside}
        with pytest.raises(UsageError):
            check_places(WatchSettings(inbox, **chosen))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_audit_log_inside_the_watched_folder_is_refused(tmp_path: Path) -> None:
    settings = WatchSettings(tmp_path, tmp_path.parent / "out", tmp_path.parent / "l")
    with pytest.raises(UsageError):
        check_places(settings, tmp_path / "audit.jsonl")


def test_link_file_and_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "file").touch()
    out = tmp_path / "out"
    for name, error in (("link", UsageError), ("file", UsageError), ("none", NoInputError)):
        with pytest.raises(error):
            check_places(WatchSettings(tmp_path / name, out, out / "l"))


def test_second_watch_on_the_same_ledger_is_refused(ward: Ward, monkeypatch) -> None:
    monkeypatch.setattr("runtime.watch.ledger._LOCK_WAIT_S", 0.01)
    with pytest.raises(OutputError, match="another watch"):
        ward.start()


def test_one_pass_ends_with_everything_answered(tmp_path: Path) -> None:
    ward = Ward(tmp_path, once=True)
    put(ward.inbox, "a.jpg", stub_page())
    ward.look(2)
    assert not ward.watcher.finished
    ward.look(1)
    assert ward.watcher.finished
    assert ward.watcher.exit_code == ExitCode.OK


def test_one_pass_over_garbage_tells_so_and_moves_it_at_once(tmp_path: Path) -> None:
    ward = Ward(tmp_path, once=True, failed=tmp_path / "failed")
    put(ward.inbox, "a.jpg", b"bad")
    ward.look(3)
    assert ward.watcher.finished
    assert ward.watcher.exit_code == ExitCode.SOME_INPUTS_FAILED
    assert os.listdir(tmp_path / "failed") == ["a.jpg"]


def test_one_pass_does_not_wait_for_ever_for_a_file_that_goes_on_growing(tmp_path: Path) -> None:
    ward = Ward(tmp_path, once=True)
    for number in range(60):
        (ward.inbox / "a.jpg").write_bytes(b"x" * number)
        ward.look()
        if ward.watcher.finished:
            break
    assert ward.watcher.finished
    assert ward.watcher.exit_code == ExitCode.SOME_INPUTS_FAILED


def test_one_pass_does_not_wait_for_a_full_disk(tmp_path: Path, monkeypatch) -> None:
    ward = Ward(tmp_path, once=True)
    put(ward.inbox, "a.jpg", stub_page())
    monkeypatch.setattr(answers, "write_durably", _raise(errno.ENOSPC))
    with pytest.raises(OutputError, match="disk is full"):
        ward.settle()


def test_redacted_logs_hold_no_names(tmp_path: Path, caplog) -> None:
    ward = Ward(tmp_path, redact=True)
    (ward.inbox / "Doe_John.jpg").symlink_to("nowhere")
    put(ward.inbox, "Doe_Jane.jpg", stub_page())
    (ward.out / "Doe_Ann.jpg.ecg.json").mkdir()
    put(ward.inbox, "Doe_Ann.jpg", stub_page())
    with caplog.at_level(logging.DEBUG):
        ward.settle()
    assert caplog.messages
    assert "Doe" not in caplog.text


def test_audit_log_gets_one_line_an_answer_and_catches_up_after_an_end(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.audit = AuditLog(tmp_path / "audit.jsonl", "watch")
    ward.restart()
    put(ward.inbox, "a.pdf", stub_page(pages=2))
    ward.settle()
    ward.watcher.close()
    ward.settings.ledger.unlink()
    (tmp_path / "audit.jsonl").unlink()
    ward.start()
    ward.settle()
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["page"], line["recovered"]) for line in lines] == [(1, True), (2, True)]


def test_look_at_a_folder_reads_no_file_that_was_answered(ward: Ward, monkeypatch) -> None:
    for number in range(20):
        put(ward.inbox, f"{number}.jpg", stub_page(text=str(number)))
    ward.settle()
    monkeypatch.setattr("runtime.watch.watcher.take", _raise(errno.EIO))
    monkeypatch.setattr("runtime.watch.ledger.Ledger.get", _raise(errno.EIO))
    ward.look(3)
    assert ward.watcher._settler.waiting == 0


def test_plain_words_hold_no_file_name() -> None:
    fault = OSError(errno.ENOSPC, "No space left on device", "/in/Doe.jpg")
    assert places.in_plain_words(fault) == "the disk is full"


def _raise(number: int):
    def raises(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return raises


_real_rename = os.rename


def _rename_within_folders(source, target):
    if Path(source).parent != Path(target).parent:
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    _real_rename(source, target)


class PowerCut(BaseException):
    """What ends the process while a file is in hand."""


def test_a_file_in_hand_at_three_power_cuts_is_answered_apart_with_all_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward = Ward(tmp_path)
    ward.isolated = ward.reader.classify_pages
    put(ward.inbox, "a.tif", stub_page("covid19", pages=3))

    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(answers.AnswerFolder, "write", cut)
        patch.setattr("runtime.watch.ledger.Ledger.release", lambda *_: None)
        for _ in range(3):
            with pytest.raises(PowerCut):
                ward.settle()
            ward.restart()
    ward.restart()
    ward.settle()
    assert len(ward.answers()) == 3
    assert ward.record("a.tif.page-3.ecg.json")["label"] == "covid19"
