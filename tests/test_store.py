"""Results of trainings that are kept: what is found again, what is not, and by whom."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import filelock
import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from grader import store, store_tools
from grader.datasets.known import FASHION_MNIST
from grader.errors import GraderFault, UsageFault
from grader.events import AnyEvent, Diverged, Finished, Progress, Started
from grader.store import About, Store
from tests.making import epoch

DECIDES: dict[str, Any] = {"content": "c", "seed": 1, "epochs": 2}
KEY = store.key_of(DECIDES)
TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
ABOUT = About(DECIDES, list(TENSORS), "ada.py", "2026-11-26T12:00:00Z")


def told(content: bytes) -> list[AnyEvent]:
    """Return the events of a short training that left these weights."""
    digest = hashlib.sha256(content).hexdigest()
    return [
        Started("cpu", 1, 1, 469, 1, {}), Progress(1, 1, 128, 0.5, 0.1), epoch(1, 60),
        Finished(60_000, 9.0, 1, digest),
    ]  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    """Give a store in which a training is kept."""
    content = save(TENSORS)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(content)
    made = Store(tmp_path / "store")
    made.keep(KEY, ABOUT, told(content), weights)
    return made


def test_what_is_kept_is_found_again(kept: Store) -> None:
    """All events but those of progress, the weights, and whose training it was."""
    found = kept.find(KEY)

    assert found is not None
    assert found.about == ABOUT
    assert [type(event).__name__ for event in found.events] == ["Started", "EpochDone", "Finished"]
    assert found.weights.read_bytes() == save(TENSORS)
    assert kept.find(store.key_of(DECIDES | {"seed": 2})) is None


def test_what_others_made_of_a_plan_is_found(tmp_path: Path) -> None:
    """The last errors of other seeds, on the same data; what cannot be read is passed over."""
    made, weights = Store(tmp_path / "store"), tmp_path / "weights.safetensors"
    weights.write_bytes(save(TENSORS))
    for content, data, seed, errors in [
        ("c", "d", 1, 60), ("c", "d", 2, 70), ("c", "other", 3, 80), ("other", "d", 4, 90),
    ]:  # fmt: skip
        decides = {"content": content, "data": data, "seed": seed}
        about = msgspec.structs.replace(ABOUT, depends_on=decides)
        started, _, _, finished = told(weights.read_bytes())
        trained = [started, epoch(1, 500), epoch(2, errors), finished]
        made.keep(store.key_of(decides), about, trained, weights)
    for number, damaged in enumerate([b"{", b'{"depends_on": 1}', b"\xff"]):
        folder = made.place / "aa" / f"aa{number}"
        folder.mkdir(parents=True)
        (folder / "about.json").write_bytes(damaged)

    assert sorted(made.errors_of("c", "d", ())) == [60, 70]
    assert made.errors_of("c", "d", (1,)) == [70]
    assert made.errors_of("c", "none", ()) == []


# The fixture is put back as it was after every example.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("name", ["about.json", "events.jsonl", "weights.safetensors"])
@given(data=st.data())
def test_what_was_changed_is_not_found(name: str, data: st.DataObject, kept: Store) -> None:
    """One other byte anywhere is noticed, or changes nothing; a missing file is noticed."""
    whole = kept.find(KEY)
    assert whole is not None
    path = kept.folder(KEY) / name
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
        found = kept.find(KEY)
        assert found is None or found.about.depends_on == DECIDES
        assert found is None or name != "weights.safetensors" or content[place] == byte
        path.write_bytes(content[:place])
        assert name == "events.jsonl" or kept.find(KEY) is None
        path.unlink()
        assert kept.find(KEY) is None
    finally:
        path.write_bytes(content)


def test_an_entry_under_a_foreign_key_is_not_found(kept: Store) -> None:
    """A result cannot be passed off as that of another plan by renaming its folder."""
    other = store.key_of({"content": "d"})
    kept.folder(other).parent.mkdir(parents=True, exist_ok=True)
    kept.folder(KEY).rename(kept.folder(other))

    assert kept.find(other) is None


def test_weights_get_the_names_of_those_who_ask(kept: Store, tmp_path: Path) -> None:
    """The same network under other names gets its tensors by their places, and their digest."""
    found = kept.find(KEY)
    assert found is not None
    *_, last = store.handed_out(found, ["first", "second"], tmp_path / "mine")
    content = (tmp_path / "mine").read_bytes()

    assert isinstance(last, Finished)
    assert last.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert torch.equal(load(content)["first"], TENSORS["a"])
    assert torch.equal(load(content)["second"], TENSORS["b"])


def test_renamed_weights_are_the_bytes_of_a_fresh_save() -> None:
    """Safetensors orders tensors by type and name, so that other names mean other places."""
    tensors = {
        "a": torch.arange(3.0), "b": torch.tensor(7), "c": torch.ones(2, 2), "d": torch.arange(2),
        "e": torch.ones(3, dtype=torch.bool), "f": torch.ones(1, dtype=torch.float64),
    }  # fmt: skip
    names = dict(zip(tensors, "fedcba", strict=True)) | {"a": "é.longer"}

    assert store._renamed(save(tensors), names) == save({names[n]: t for n, t in tensors.items()})


def test_a_training_that_diverged_is_kept_without_weights(tmp_path: Path) -> None:
    """It would diverge again."""
    made = Store(tmp_path / "store")
    made.keep(KEY, ABOUT, [Diverged(1, 2, "nan")], tmp_path / "none")
    found = made.find(KEY)

    assert found is not None
    assert store.handed_out(found, [], tmp_path / "mine") == [Diverged(1, 2, "nan")]
    assert not (tmp_path / "mine").exists()


def test_a_training_of_which_nothing_is_told_is_not_found(kept: Store) -> None:
    """A file of events that was emptied makes the result one that is not there."""
    (kept.folder(KEY) / "events.jsonl").write_bytes(b"")

    assert kept.find(KEY) is None


def test_a_folder_without_locks_is_a_fault_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network folders know no locks."""

    def refused(*_: object, **__: object) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)

    with pytest.raises(GraderFault, match="no locks here"), Store(tmp_path).lease(KEY, bool):
        pass


def test_pruning_removes_what_is_old_or_not_whole(kept: Store) -> None:
    """Also what a training left that never got to its end; what is new stays."""
    broken = store.key_of({"content": "d"})
    kept.folder(broken).mkdir(parents=True)
    old = [kept.state(broken), kept.folder(broken).parent / ".new-1"]
    old[0].write_bytes(b"state")
    old[1].mkdir()
    for path in old:
        os.utime(path, (0, 0))
    new = kept.state(KEY)
    new.write_bytes(b"state")

    assert store_tools.pruned(kept, days=1) == 1
    assert not any(path.exists() for path in [*old, kept.folder(broken)])
    assert new.exists()
    assert store_tools.keys(kept) == [KEY]
    assert store_tools.pruned(kept, days=-1) == 1
    assert store_tools.keys(kept) == []
    assert store_tools.pruned(Store(kept.place / "nowhere"), days=1) == 0


@pytest.mark.parametrize("damage", [b"", b"PK", b"x" * 100, "middle", "end"], ids=repr)
def test_a_damaged_archive_is_the_persons_to_mend(
    kept: Store, tmp_path: Path, damage: bytes | str
) -> None:
    """Whatever a zip raises, one message says what it should have been; nothing is taken over."""
    path = tmp_path / "kept.zip"
    assert store_tools.exported(kept, path) == 1
    content = path.read_bytes()
    middle = content.index(b"events.jsonl") + 30
    if isinstance(damage, str):
        damaged = content[:middle] + b"\xff" * 40 + content[middle + 40 :]
        damage = damaged if damage == "middle" else content[: len(content) // 2]
    path.write_bytes(damage)
    other = Store(tmp_path / "other")

    with pytest.raises(UsageFault, match="no archive of results"):
        store_tools.imported(other, path)
    assert store_tools.keys(other) == []


def test_one_at_a_time_works_on_a_key(tmp_path: Path) -> None:
    """Another one waits until the first is done, or until it is told to stop."""
    made, order, stop = Store(tmp_path), [], threading.Event()

    def second() -> None:
        with made.lease(KEY, lambda: False):
            order.append("second")

    with made.lease(KEY, lambda: False):
        waiting = threading.Thread(target=second)
        waiting.start()
        stop.set()
        with pytest.raises(CancelledError), Store(tmp_path).lease(KEY, stop.is_set):
            order.append("never")
        order.append("first")
    waiting.join()

    assert order == ["first", "second"]


def test_the_key_holds_all_that_decides() -> None:
    """Content, seed, epochs, threads, whose loop it is and the data each make another result."""
    first = store.what_decides("c", 1, 2, 1, own=False)
    others = [
        store.what_decides("d", 1, 2, 1, own=False), store.what_decides("c", 2, 2, 1, own=False),
        store.what_decides("c", 1, 3, 1, own=False), store.what_decides("c", 1, 2, 2, own=False),
        store.what_decides("c", 1, 2, 1, own=True),
        store.what_decides("c", 1, 2, 1, own=False, dataset=FASHION_MNIST),
    ]  # fmt: skip

    assert len({store.key_of(each) for each in [first, *others]}) == 7
    assert first["versions"].keys() == {"torch", "numpy", "numba"}
    assert msgspec.json.encode(first)
