"""mongo-java-server, a second MongoDB for tests that is independent of FerretDB: in memory, built once with Maven."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.go_programs import BUILD_SECONDS, CACHE, BuildFailed, untimed

SOURCE = Path(__file__).resolve().parent / "mongo_java_server"
MAIN = "StandIn"


class JavaMissing(Exception):
    def __init__(self) -> None:
        super().__init__("a JDK or Maven is not installed, so mongo-java-server cannot be built (https://adoptium.net)")


def command(host: str, port: int) -> list[str]:
    """What starts it, once built. Raises JavaMissing, BuildFailed."""
    built = build()
    # It lives for seconds, beside many other processes: a quick start is worth more than quick code.
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
    return ["java", *quick, "-cp", f"{built}{os.pathsep}{built}/*", MAIN, host, str(port)]


def build() -> Path:
    """The directory of its classes. The first call takes half a minute, others wait for it.

    Raises JavaMissing, BuildFailed.
    """
    source = b"".join((SOURCE / name).read_bytes() for name in ("pom.xml", f"{MAIN}.java"))
    built = CACHE / f"mongo-java-server-{hashlib.sha256(source).hexdigest()[:16]}"
    if not all(map(shutil.which, ("java", "javac", "mvn"))):
        raise JavaMissing
    if not built.exists():
        CACHE.mkdir(exist_ok=True)
        with untimed(), (CACHE / "mongo-java-server.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not built.exists():
                _build_to(built)
    return built


def _build_to(built: Path) -> None:
    unfinished = built.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    pom, into = str(SOURCE / "pom.xml"), str(unfinished)
    _run("mvn", "--quiet", "--batch-mode", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={into}")
    _run("javac", "-cp", f"{into}/*", "-d", into, str(SOURCE / f"{MAIN}.java"))
    unfinished.replace(built)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise BuildFailed(f"mongo-java-server does not build:\n{(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    try:
        print(build())
    except (JavaMissing, BuildFailed) as error:
        raise SystemExit(str(error)) from None
