"""An older PyMongo than the one that is installed, for a test: downloaded once into the repository's cache."""

import fcntl
import subprocess
import sys
from pathlib import Path

from tests.go_programs import BUILD_SECONDS, CACHE, BuildFailed, untimed

VERSION = "4.10.1"


def install() -> Path:
    """The directory that is to come first on the path of modules. Raises BuildFailed."""
    installed = CACHE / f"pymongo-{VERSION}"
    if not installed.exists():
        CACHE.mkdir(exist_ok=True)
        with untimed(), (CACHE / "pymongo.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not installed.exists():
                _install_to(installed)
    return installed


def _install_to(installed: Path) -> None:
    unfinished = installed.with_suffix(".unfinished")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade", "--target", str(unfinished)]
    command = [sys.executable, "-m", "pip", "install", *options, f"pymongo=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise BuildFailed(f"PyMongo {VERSION} does not install:\n{done.stderr.strip()}")
    unfinished.replace(installed)


if __name__ == "__main__":
    try:
        print(install())
    except BuildFailed as error:
        raise SystemExit(str(error)) from None
