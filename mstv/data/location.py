"""Where a set of shards lies: a local folder, or a URL that webdataset opens; both are read from front to back."""

import os
import re
import subprocess
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from mstv.data.schema import MANIFEST, Manifest, read_manifest
from mstv.errors import UserError

_URL = re.compile(r"(file|pipe):|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_SHORTENED = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)", re.IGNORECASE)
_BUFFER = 2**20
_SECONDS_TO_END = 10
_CURL_CODES = {
    6: "no such host",
    7: "no connection to the host",
    18: "the transfer broke off",
    22: "the server says that it is not there or not allowed",
    28: "the host does not answer in time",
    52: "the host answers with nothing",
    56: "the transfer broke off",
}


@dataclass(frozen=True)
class Location:
    """A folder of tars and their manifest, on this machine or behind a URL.

    Attributes:
        place: local folder, or the URL of a remote one.
    """

    place: Path | str

    @staticmethod
    def of(place: str | os.PathLike[str]) -> "Location":
        """The location that a user names: a path, or a URL such as `https://host/set`, `s3://bucket/set`, `gs://...`.

        `file:` is a local folder; `pipe:` a command, to which a slash and the name of the file are added.

        Raises:
            UserError: a `file:` URL of another host.
        """
        text = os.fspath(place)
        if isinstance(place, Path):
            # pathlib makes one slash of two; no local folder is called `https:`.
            text = _SHORTENED.sub(lambda match: f"{match[1]}://", text, count=1)
        if not _URL.match(text):
            return Location(Path(text))
        parts = urlsplit(text)
        if parts.scheme != "file":
            return Location(text)
        if parts.netloc not in ("", "localhost"):
            raise UserError(
                f"{text}: is a folder of the host {parts.netloc}: write file:/// and a path of this machine"
            )
        return Location(Path(url2pathname(parts.path)))

    def __str__(self) -> str:
        """The path or URL, without a URL's query and user, where access keys stand."""
        return self.name_of(None)

    def name_of(self, file: str | None) -> str:
        """Path or URL of a file there, for messages; see `__str__`."""
        if isinstance(self.place, Path):
            return str(self.place / file if file else self.place)
        text = self._url(file) if file else self.place
        parts = urlsplit(text)
        if parts.scheme in ("http", "https"):
            return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
        return text

    def local_folder(self, purpose: str) -> Path:
        """The folder, where `purpose` needs random access to its files.

        Raises:
            UserError: it is a URL.
        """
        if isinstance(self.place, Path):
            return self.place
        raise UserError(f"{self}: {purpose} need a local folder, since they are read at random: copy the set there")

    def manifest(self, kind: Literal["frames", "latents"]) -> Manifest:
        """The set's manifest; see `read_manifest`.

        Raises:
            UserError: there is none, it cannot be read, or it is of another schema version or kind.
        """
        if isinstance(self.place, Path):
            return read_manifest(self.place, kind)
        with self._open(MANIFEST) as stream:
            text = stream.read()
            if reason := _failure(stream):
                raise OSError(reason)
        manifest = Manifest.parse(text, self.name_of(MANIFEST))
        if manifest.kind != kind:
            raise UserError(f"{self.name_of(MANIFEST)}: field kind is {manifest.kind}, expected {kind}")
        return manifest

    def members(self, tar: str, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of those members of a tar that are wanted, in the order of the tar.

        Nothing after the last of them is read, and of a local tar nothing between them.

        Raises:
            UserError: the tar cannot be read, is damaged, or lacks one of them.
        """
        left = set(wanted)
        with self._open(tar) as stream:
            mode: Any = "r:" if isinstance(self.place, Path) else "r|"
            with tarfile.open(fileobj=stream, mode=mode, bufsize=_BUFFER) as archive:
                while left and (header := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                    if header.name in left and (file := archive.extractfile(header)) is not None:
                        left.remove(header.name)
                        yield header.name, file.read()
            if left and (reason := _failure(stream)):
                raise OSError(reason)
        if left:
            raise UserError(
                f"{self.name_of(tar)}: member {min(left)} is missing, though manifest.json lists it: copy it again"
            )

    def _url(self, file: str) -> str:
        assert isinstance(self.place, str)
        parts = urlsplit(self.place)
        if parts.scheme in ("http", "https"):
            return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{file}"))
        return f"{self.place.rstrip('/')}/{file}"

    @contextmanager
    def _open(self, file: str) -> Iterator[Any]:
        """The file, to be read from front to back; what goes wrong with reading it is told in one line."""
        where = self.name_of(file)
        stream: Any = None
        try:
            stream = (self.place / file).open("rb") if isinstance(self.place, Path) else _gopen(self._url(file))
            yield stream
        except (OSError, tarfile.TarError) as error:
            if isinstance(self.place, Path):
                raise UserError(f"{where}: cannot be read ({error}): copy the tar again") from None
            if stream is None and isinstance(error, FileNotFoundError):
                raise UserError(
                    f"{where}: is opened with {error.filename}, which is not installed: install it"
                ) from None
            reason = _failure(stream) or error
            raise UserError(f"{where}: cannot be read ({reason}): check the URL, or try again") from None
        finally:
            if stream is not None:
                _close(stream)


def _gopen(url: str) -> Any:
    # webdataset imports torch, which only a reader of URLs should pay for.
    from webdataset.gopen import Pipe, gopen, gopen_schemes

    scheme = urlsplit(url).scheme
    try:
        if scheme == "s3" and scheme not in gopen_schemes:
            return Pipe(["aws", "s3", "cp", "--only-show-errors", url, "-"], mode="rb", bufsize=_BUFFER)
        return gopen(url, bufsize=_BUFFER)
    except ValueError:
        known = ", ".join(sorted({*gopen_schemes, "file", "s3"} - {"__default__"}))
        raise UserError(f"{url}: {scheme}:// cannot be opened: use one of {known}") from None
    except ImportError as error:
        raise UserError(f"{url}: {scheme}:// needs the package {error.name}: install it") from None


def _failure(stream: Any) -> str | None:
    """Why the program behind a stream ended too early; None where it did not, or where there is no program."""
    process: subprocess.Popen[bytes] | None = getattr(stream, "proc", None)
    if process is None:
        return None
    if process.poll() is None:
        # A program that still has something to say is well; one that has not is about to end.
        if stream.stream.closed or stream.stream.read(1):
            return None
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return None
    if not process.returncode:
        return None
    program = process.args if isinstance(process.args, str) else str(process.args[0])  # type: ignore[index]
    reason = _CURL_CODES.get(process.returncode) if program == "curl" else None
    return reason or f"{program} ended with code {process.returncode}"


def _close(stream: Any) -> None:
    """Close a stream, whether or not it was read to its end."""
    process: subprocess.Popen[bytes] | None = getattr(stream, "proc", None)
    if process is None:
        stream.close()
        return
    # Killed, for on a stalled connection a program would not notice that nobody reads on, and it inherits from a worker
    # that SIGTERM is blocked. How it ends then says nothing, so the pipe is not asked.
    process.kill()
    stream.stream.close()
    process.wait()
