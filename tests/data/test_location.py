"""Sets behind URLs: the same batches as from the folder, bit for bit, and one line for whatever goes wrong."""

import contextlib
import http.server
import os
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import webdataset

from mstv.cli.main import main
from mstv.data.frames import EpisodeBatch, FrameBatch, FramesDataModule, FrameSet, FrameStream
from mstv.data.latent_shards import LatentStore
from mstv.data.latents import LatentsDataModule
from mstv.data.location import Location
from mstv.data.schema import MANIFEST, SPLITS, ActionSpec, Manifest, Shard
from mstv.data.shards import index_members, read_samples
from mstv.errors import UserError
from mstv.levels import Levels
from mstv.rollout.coarse_to_fine import CoarseToFine
from tests.data.conftest import LEVELS, write_frame_set

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl, with which webdataset opens http, is absent"
)


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, whole or cut short, and notes what is asked for.

    Attributes:
        cut: bytes of a tar after which the connection is closed; None for none.
        says_length: whether an answer says how long it is.
        asked: paths with their queries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut: int | None = None
        self.says_length = True
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/set"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.server.folder / self.path.partition("?")[0].removeprefix("/set/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.server.cut if path.suffix == ".tar" else None
        with contextlib.suppress(OSError):  # the reader may have enough
            self.wfile.write(content[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(frame_set: Path) -> Iterator[Server]:
    serving = Server(frame_set)
    thread = threading.Thread(target=partial(serving.serve_forever, 0.01), daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


def data_of(place: str | Path, num_workers: int = 0, **arguments: int | None) -> FramesDataModule:
    options = {"batch_size": 4, "frames_per_chunk": 3, "shuffle_chunks": 4, **arguments}
    data = FramesDataModule(place, LEVELS, num_workers=num_workers, **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def all_batches(data: FramesDataModule) -> list[FrameBatch | EpisodeBatch]:
    """Two epochs of training, the second resumed inside, and validation."""
    loader = data.train_dataloader()
    batches = list(loader)
    loader.load_state_dict({"epoch": 1, "batch": 5})
    batches += [*loader, *data.val_dataloader()]
    data.teardown("fit")
    return batches


def assert_equal(found: list[FrameBatch | EpisodeBatch], expected: list[FrameBatch | EpisodeBatch]) -> None:
    assert len(found) == len(expected) > 20
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other) and torch.equal(one.images, other.images)
        assert getattr(one, "key", None) == getattr(other, "key", None)


@needs_curl
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_url_gives_what_the_folder_gives(frame_set: Path, server: Server, num_workers: int) -> None:
    expected = all_batches(data_of(frame_set, num_workers))
    assert_equal(all_batches(data_of(server.url, num_workers)), expected)
    assert_equal(all_batches(data_of(server.url + "/", num_workers)), expected)


@needs_curl
def test_fit_takes_a_url(frame_set: Path, server: Server, tmp_path: Path) -> None:
    experiment = Path(__file__).parents[2] / "experiments" / "demo_tokenizer.yaml"
    command = ["fit", "-c", str(experiment), "--data.folder", server.url, "--data.num_workers", "0", "--wandb", "false"]
    command += ["--levels.image_size", "[16, 32]", "--levels.patch_size", "[2, 2]", "--trainer.val_check_interval", "2"]
    command += ["--data.batch_size", "4", "--trainer.callbacks", "[]"]
    for part in ("encoder", "decoder"):
        command += [f"--model.init_args.{part}.dim", "16", f"--model.init_args.{part}.depth", "1"]
        command += [f"--model.init_args.{part}.num_heads", "2"]
    run = ["--run", str(tmp_path / "run")]
    assert main([*command, *run, "--trainer.max_steps", "2"]) == 0
    assert f"folder: {server.url}\n" in (tmp_path / "run" / "config.yaml").read_text()
    assert main([*command, *run, "--trainer.max_steps", "4"]) == 0
    assert any(path.startswith("/set/train-") for path in server.asked)
    assert any(path.startswith("/set/validation-") for path in server.asked)


@needs_curl
def test_a_tar_is_asked_for_once_where_its_episodes_follow_each_other(server: Server) -> None:
    data = data_of(server.url)
    assert [batch.key for batch in data.val_dataloader()] == ["seen-0", "seen-1", "seen-2"]
    assert server.asked == ["/set/manifest.json", "/set/validation-000000.tar", "/set/validation-000001.tar"]


@needs_curl
@pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO")  # webdataset leaves tars open
def test_plain_webdataset_reads_our_tars(frame_set: Path, server: Server) -> None:
    for tar in sorted(frame_set.glob("*.tar")):
        expected = list(read_samples(tar))
        for url in (str(tar), f"file:{tar}", f"{server.url}/{tar.name}"):
            samples = list(webdataset.WebDataset([url], shardshuffle=False))
            assert [sample["__key__"] for sample in samples] == [key for key, _ in expected]
            for sample, (_, members) in zip(samples, expected, strict=True):
                assert {name: sample[name] for name in members} == members


@needs_curl
def test_keys_in_a_url_are_sent_and_not_told(frame_set: Path, server: Server) -> None:
    url = server.url.replace("//", "//user:word@") + "?signature=secret"
    data = data_of(url)
    next(iter(data.train_dataloader()))
    assert server.asked[0] == "/set/manifest.json?signature=secret"
    assert server.asked[1].startswith("/set/train-") and server.asked[1].endswith(".tar?signature=secret")
    with pytest.raises(UserError) as raised:
        data_of(url.replace("/set", "/nothing"))
    assert "secret" not in str(raised.value) and "word" not in str(raised.value)


@needs_curl
@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("cut", [0, 100, 1500, 6000])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_transfer_that_breaks_off_is_named(server: Server, says_length: bool, cut: int, num_workers: int) -> None:
    data = data_of(server.url, num_workers, batch_size=8)
    server.cut, server.says_length = cut, says_length
    name = rf"{server.url}/train-00000\d\.tar: "
    reason = "cannot be read .the transfer broke off.: check the URL, or try again" if says_length else ""
    with pytest.raises(UserError, match=name + reason) as raised:
        list(data.train_dataloader())
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=rf"{server.url}/validation-000000\.tar: {reason}"):
        list(data.val_dataloader())
    data.teardown("fit")


@needs_curl
def test_what_is_not_there_is_named(server: Server, tmp_path: Path, frame_set: Path) -> None:
    with pytest.raises(UserError, match=r"/nowhere/manifest\.json: cannot be read \(the server says that it is not"):
        data_of(server.url.replace("/set", "/nowhere"))
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1/set/manifest\.json: .*\(no connection to the host\)"):
        data_of("http://127.0.0.1:1/set")
    server.folder = tmp_path
    shutil.copy(frame_set / MANIFEST, tmp_path)
    data = data_of(server.url)
    with pytest.raises(UserError, match=rf"{server.url}/train-00000\d\.tar: cannot be read \(the server says"):
        next(iter(data.train_dataloader()))


@needs_curl
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "not valid JSON"),
        ("[1]", "field schema_version is missing"),
        ('{"schema_version": 99}', "field schema_version is 99"),
        ("latents", "field kind is latents, expected frames"),
    ],
)
def test_a_wrong_manifest_is_named(server: Server, tmp_path: Path, frame_set: Path, text: str, message: str) -> None:
    manifest = Manifest.read(frame_set / MANIFEST)
    latents = manifest.model_copy(update={"kind": "latents"}).to_bytes().decode()
    (tmp_path / MANIFEST).write_text(latents if text == "latents" else text)
    server.folder = tmp_path
    with pytest.raises(UserError, match=rf"{server.url}/manifest\.json: {message}") as raised:
        data_of(server.url)
    assert "\n" not in str(raised.value)


@needs_curl
def test_a_manifest_of_other_tars_is_named(server: Server, tmp_path: Path, frame_set: Path) -> None:
    shutil.copytree(frame_set, tmp_path, dirs_exist_ok=True)
    server.folder = write_frame_set(tmp_path, {"train-000000.tar": {"other": range(20)}})
    data = data_of(server.url)
    shutil.copy(frame_set / "train-000001.tar", tmp_path / "train-000000.tar")
    with pytest.raises(UserError, match=rf"{server.url}/train-000000\.tar: member other-0000\d\.mp4 is missing"):
        next(iter(data.train_dataloader()))


def test_other_schemes_are_refused() -> None:
    with pytest.raises(UserError, match=r"foo://host/set/manifest\.json: foo:// cannot be opened: .*https.*s3"):
        data_of("foo://host/set")
    with pytest.raises(UserError, match="is a folder of the host elsewhere"):
        Location.of("file://elsewhere/set")


@pytest.mark.parametrize(("scheme", "program"), [("s3", "aws"), ("gs", "gsutil"), ("https", "curl")])
def test_a_program_that_is_absent_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, program: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=rf"{scheme}://bucket/set/{MANIFEST}: is opened with {program}, which is not"):
        data_of(f"{scheme}://bucket/set")


@pytest.mark.parametrize(("scheme", "program", "place"), [("s3", "aws", "$4"), ("gs", "gsutil", "$2")])
def test_buckets_are_read_with_their_programs(
    frame_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, program: str, place: str
) -> None:
    stand_in = tmp_path / program
    stand_in.write_text(f'#!/bin/sh\nexec cat "{frame_set}/${{{place[1:]}##*/set/}}"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert_equal(all_batches(data_of(f"{scheme}://bucket/set")), all_batches(data_of(frame_set)))
    stand_in.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UserError, match=rf"{scheme}://bucket/set/{MANIFEST}: .*\({program} ended with code 3\)"):
        data_of(f"{scheme}://bucket/set")


def test_pipes_and_file_urls_are_read(frame_set: Path) -> None:
    expected = all_batches(data_of(frame_set))
    assert_equal(all_batches(data_of(f"pipe:cat {frame_set}")), expected)
    for url in (f"file:{frame_set}", f"file://{frame_set}", f"file://localhost{frame_set}/"):
        assert_equal(all_batches(data_of(url)), expected)


def test_a_reader_that_stops_leaves_no_process(frame_set: Path) -> None:
    tar = frame_set / "train-000000.tar"
    first = next(iter(index_members(tar)))
    # `yes` would go on for ever.
    members = Location.of(f"pipe:cat {frame_set}/train-000000.tar; yes #").members("", [f"{first}.mp4", "never.mp4"])
    assert next(members)[0] == f"{first}.mp4"
    assert children()
    members.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not children()


def children() -> list[str]:
    """Processes that this one started, zombies included."""
    return [
        process
        for task in Path("/proc/self/task").iterdir()
        for process in (task / "children").read_text().split()
        if "cat" in Path(f"/proc/{process}/cmdline").read_text()
    ]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("shards", Path("shards")),
        ("/data/a:b", Path("/data/a:b")),
        ("C:/data", Path("C:/data")),
        (Path("shards"), Path("shards")),
        ("file:///data/my%20set", Path("/data/my set")),
        ("https://host//set", "https://host//set"),
        ("S3://bucket/set", "S3://bucket/set"),
        (Path("https://host/set"), "https://host/set"),
        (Path("s3://bucket/set"), "s3://bucket/set"),
    ],
)
def test_urls_are_told_from_paths(place: str | Path, expected: str | Path) -> None:
    assert Location.of(place).place == expected


def test_latents_must_be_copied_first(tmp_path: Path) -> None:
    message = "^https://host/set: latents need a local folder, since they are read at random: copy the set there$"
    with pytest.raises(UserError, match=message):
        LatentsDataModule("https://host/set", CoarseToFine([1, 4]), LEVELS)
    with pytest.raises(UserError, match=message):
        LatentStore(Path("https://host/set"))


def test_ten_thousand_episodes_are_dealt_out_quickly(tmp_path: Path) -> None:
    shards = [
        Shard(
            name=f"{SPLITS[number % 10 == 0]}-{number:06d}.tar",
            num_samples=50 * 16,
            num_frames=50 * 1024,
            num_bytes=1,
            sha256="0" * 64,
            episodes={f"episode-{number:03d}-{index:02d}": 1024 for index in range(50)},
            worlds=tuple(f"world-{number}-{index}" for index in range(50)),
        )
        for number in range(200)
    ]
    levels = Levels((128, 128), (16, 16), 3)
    Manifest(
        kind="frames", fps=20, image_size=levels.image_size, actions=ActionSpec(), chunk_frames=64, shards=tuple(shards)
    ).write(tmp_path / MANIFEST)
    began = time.process_time()
    manifest = Location.of(tmp_path).manifest("frames")
    frames = FrameSet.of(Location.of(tmp_path), manifest, "train")
    streams = [FrameStream(frames, 64, 16, 128, 0, rank, 8, 4) for rank in range(8)]
    assert streams[0].num_batches * 8 == pytest.approx(180 * 50 * 16 * 16 / 64, rel=0.15)
    with pytest.raises(UserError, match=r"train-\d{6}\.tar: cannot be read"):  # the order is drawn, the tar is absent
        next(streams[0].batches(0, streams[0].num_batches - 4, 4))
    assert time.process_time() - began < 2
