"""Location of a data set's files: a folder of the user, or a download with a checksum."""

from dataclasses import dataclass
from pathlib import Path

import pooch
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from sigbit.errors import DataError, MissingError


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded.

    Parameters
    ----------
    name : str
        Name of the file.
    url : str
        Its address.
    checksum : str
        ``sha256:...`` or ``md5:...`` of its content, as published by the data set's authors or
        users.
    """

    name: str
    url: str
    checksum: str


class Files:
    """The files of one data set.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    folder : Path or None
        Folder of the user: it, or a folder in it with one of the names ``aliases``, holds the
        files. None: files are downloaded into the user's cache, once.
    aliases : tuple of str
        Names that a folder with this data set usually has.
    progress : bool
        Show a progress bar for downloads.
    """

    def __init__(
        self,
        dataset: str,
        folder: Path | None,
        aliases: tuple[str, ...] = (),
        *,
        progress: bool = False,
    ) -> None:
        self.dataset = dataset
        self._progress = progress
        self._download = folder is None
        if folder is None:
            self.places: tuple[Path, ...] = (Path(pooch.os_cache("sigbit")) / "data" / dataset,)
            return
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; {dataset} was to be read from it")
        inside = dict.fromkeys((dataset, *aliases))
        self.places = (folder, *(folder / name for name in inside if (folder / name).is_dir()))

    def find(self, *names: str) -> Path | None:
        """Return the first existing file or folder of ``names``."""
        for name in names:
            for place in self.places:
                if (place / name).exists():
                    return place / name
        return None

    def glob(self, pattern: str) -> Path | None:
        """Return the first file, by name, that matches ``pattern``."""
        found = [path for place in self.places for path in sorted(place.glob(pattern))]
        return found[0] if found else None

    def require(self, *names: str) -> Path:
        """Return the first existing one of ``names``; raises :class:`MissingError` if there is
        none."""
        found = self.find(*names)
        if found is None:
            raise self.missing(*names)
        return found

    def fetch(self, remote: Remote, *others: str) -> Path:
        """Return the file ``remote``, downloaded and checked unless the user has named a folder.

        ``others`` are names that the caller has looked for before, for the error message.
        """
        found = self.find(remote.name)
        if found is not None:
            return found
        if not self._download:
            raise self.missing(remote.name, *others, url=remote.url)
        bar = _Bar(remote.name) if self._progress else None
        downloader = pooch.HTTPDownloader(progressbar=bar if bar else False)
        try:
            path = pooch.retrieve(
                remote.url, remote.checksum, remote.name, self.places[0], downloader=downloader
            )
        except OSError as error:  # base class of all exceptions of requests
            raise DataError(f"{self.dataset}: cannot download {remote.url}: {error}") from error
        except ValueError as error:  # raised by pooch for a wrong checksum
            raise DataError(f"{self.dataset}: {remote.url} has changed: {error}") from error
        finally:
            if bar:
                bar.close()
        return Path(path)

    def missing(self, *names: str, url: str | None = None) -> MissingError:
        """Error message if none of ``names`` was found."""
        wanted = " or ".join(names)
        if self._download and url is None:
            return MissingError(
                f"{self.dataset} cannot be downloaded: name the folder that holds {wanted}"
            )
        places = ", ".join(str(place) for place in self.places)
        hint = f"; it comes from {url}" if url else ""
        return MissingError(f"{self.dataset} needs {wanted}, which is not in {places}{hint}")


class _Bar:
    """A progress bar with the interface that pooch uses: ``total``, ``update``, ``reset``,
    ``close``."""

    total = 0

    def __init__(self, title: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, transient=True)
        self._task = self._progress.add_task(title, total=None)
        self._progress.start()

    def update(self, count: int) -> None:
        """Advance by ``count`` bytes."""
        self._progress.update(self._task, total=self.total or None, advance=count)

    def reset(self) -> None:
        """Return to zero; pooch calls it before it fills the bar."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
