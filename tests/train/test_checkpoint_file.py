"""A checkpoint is whole or refused: every bit of it counts, the one before it stays, a full disk spoils nothing."""

import random
import shutil
import zipfile

import pytest
import torch

import hetrl
from hetrl.errors import RunError
from hetrl.runs.folder import Folder
from hetrl.runs.run import evaluate_run, resume, train
from hetrl.train import checkpoint_file

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=null", "run.n_eval_episodes=3", "run.device=cpu", "run.checkpoint_every=40",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return train(hetrl.load("happo", *TINY), path, quiet=True)


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "run")
    return Folder(tmp_path / "run")


def test_every_flipped_bit_is_noticed(folder):
    """300 of them, over the whole file, its records, its end and the digest itself; each refused in one line."""
    whole, draws = bytearray(folder.checkpoint.read_bytes()), random.Random(0)
    folder.checkpoint.with_name("previous.ckpt").unlink()
    places = [draws.randrange(8 * len(whole)) for _ in range(200)]
    places += [8 * len(whole) - 1 - draws.randrange(8 * 110) for _ in range(100)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        folder.checkpoint.write_bytes(flipped)
        for reading in (folder.load_checkpoint, folder.frames_saved):
            with pytest.raises(RunError, match=r"^[^\n]*last\.ckpt is damaged: it is not what was written, by its di"):
                reading()


def test_a_cut_file_is_refused(folder):
    """Also where the archive's own end is left; without the digest it is not taken for one of an earlier version."""
    whole = folder.checkpoint.read_bytes()
    for length in (0, 1, 21, 80, len(whole) // 2, len(whole) - 100, len(whole) - 64, len(whole) - 1):
        folder.checkpoint.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"^[^\n]*last\.ckpt (is damaged|cannot be read as a checkpoint)[^\n]*$"):
            folder.load_checkpoint()


@pytest.mark.parametrize("use", [resume, evaluate_run], ids=["resume", "evaluate"])
def test_a_damaged_one_names_the_one_before_and_that_one_goes_on(use, folder, trained):
    content = bytearray(folder.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    folder.checkpoint.write_bytes(content)
    before = folder.checkpoint.with_name("previous.ckpt")
    message = rf"last\.ckpt is damaged.* go on from that: mv {before} {folder.checkpoint}$"
    with pytest.raises(RunError, match=message):
        use(folder.path)
    before.replace(folder.checkpoint)
    assert folder.load_checkpoint()["hetrl"]["frames"] == 40
    if use is resume:
        resume(folder.path, quiet=True)
        one, other = (each.load_checkpoint()["state_dict"] for each in (trained, folder))
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert folder.metrics.read_bytes() == trained.metrics.read_bytes()


def test_a_missing_one_names_the_one_before(folder):
    folder.checkpoint.unlink()
    with pytest.raises(RunError, match=r"last\.ckpt is gone; go on from the one before it: mv .*previous\.ckpt .*last"):
        folder.load_checkpoint()


def test_it_is_a_zip_archive_that_any_program_reads(folder):
    with zipfile.ZipFile(folder.checkpoint) as archive:
        assert archive.testzip() is None and archive.comment.startswith(b"hetrl sha256 ")
    for mmap in (False, True):
        assert torch.load(folder.checkpoint, weights_only=True, mmap=mmap)["hetrl"]["frames"] == 80


def test_one_without_a_digest_is_taken_with_a_warning(folder):
    checkpoint = folder.load_checkpoint()
    torch.save(checkpoint, folder.checkpoint)
    with pytest.warns(UserWarning, match=r"^.*last\.ckpt has no digest: nothing can tell whether it is as it was wri"):
        assert folder.load_checkpoint()["hetrl"]["frames"] == 80


def test_a_buffer_is_saved_once_and_nothing_passes_through_the_temporary_folder(tmp_path, monkeypatch):
    """Twice it would be more than 2 x 5,000 rows."""
    words = ["task.n_envs=4", "task.horizon=7", "data.capacity=5000", "data.batch=8", "data.warmup=5000"]
    small = ["run.frames=5000", "run.eval_every=null", "run.device=cpu", "nets.q.hidden=[8]", "nets.actor.hidden=[8]"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "is not there"))
    folder = train(hetrl.load("hasac", *words, *small), tmp_path / "run", quiet=True)
    checkpoint = folder.load_checkpoint()
    rows = checkpoint["Collection"]["source"]["ring"]["steps"]

    def size(tree):
        return sum(map(size, tree.values())) if isinstance(tree, dict) else tree.numel() * tree.element_size()

    assert 300_000 < size(rows) < folder.checkpoint.stat().st_size < 1.7 * size(rows)
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{}]


def test_a_disk_that_gives_back_something_else_keeps_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint_file.write({"hetrl": 1}, path)
    monkeypatch.setattr(checkpoint_file, "_is_whole", lambda file: False)
    with pytest.raises(RunError, match=r"last\.ckpt cannot be written: the disk gives back something else than was wr"):
        checkpoint_file.write({"hetrl": 2}, path)
    monkeypatch.undo()
    assert checkpoint_file.read(path) == {"hetrl": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_one_before_is_kept(links, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    if not links:
        monkeypatch.setattr("pathlib.Path.hardlink_to", lambda *given: (_ for _ in ()).throw(OSError("no links")))
    for number in range(4):
        checkpoint_file.write({"hetrl": number}, path, checkpoint_file.previous(path))
    assert [checkpoint_file.read(each)["hetrl"] for each in (path, checkpoint_file.previous(path))] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_odd_pieces_are_written_whole(tmp_path):
    """However torch cuts what it writes."""
    path = tmp_path / "x"
    with path.open("wb+") as file:
        sink = checkpoint_file._Sink(file)
        for piece in (b"", b"PK\x05\x06", b"1234567", b"8", b"9", b"abcdefg", b"", b"\0", b"\0"):
            assert sink.write(piece) == len(piece)
        sink.close()
        assert checkpoint_file._is_whole(file)
    assert path.read_bytes().startswith(b"PK\x05\x06123456789abcdefg\x4d\0hetrl sha256 ")
