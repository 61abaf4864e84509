"""Debian packages in a private cache: fetched and unpacked, never installed.

The test host needs a QEMU and a kernel, not a changed system. Installing them can even be impossible, because a
backported qemu-utils conflicts with the stock qemu-system-x86. So everything here is downloaded with apt and unpacked
below $XDG_CACHE_HOME/xvirt; a folder that is deleted is made again.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


class Problem(Exception):
    """A problem that the user has to fix: says what failed, why, and what to do."""


def say(message):
    """Print progress to standard error; standard output belongs to the command being run."""
    print(f"{pathlib.Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)


def cache_root():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "xvirt"


def os_release():
    """The fields of /etc/os-release that name this system."""
    fields = {}
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            fields[key] = value.strip('"')
    return fields


def require_debian(need):
    """Fail if there is no apt, naming what the user must install by hand."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        name = os_release().get("PRETTY_NAME", "this system")
        raise Problem(f"{name} has no apt-get and dpkg-deb, which fetch what is needed here; {need}")


def cached(name, recipe, build):
    """Return the cache folder for `name`, calling `build(folder)` the first time.

    `recipe` is anything that changes the content: it becomes part of the folder's name, so a new recipe never uses
    an old folder. If two processes ask together, one builds under a lock into a temporary folder that is renamed when
    complete, the other waits and uses it. So a folder that exists is always complete.
    """
    key = hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
    root = cache_root()
    final = root / f"{name}-{key}"
    if final.is_dir():
        return final
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        try:
            scratch.chmod(0o755)
            build(scratch)
            scratch.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return final


def run(command, why, **options):
    """Run a tool and return its standard output; on failure raise a Problem with the output of the tool."""
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, check=False, **options)
    except FileNotFoundError as error:
        raise Problem(f"{why}: the program {command[0]} is missing; install it") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Problem(f"{why}: {' '.join(map(str, command[:3]))}... exited with {done.returncode}\n{said}")
    return done.stdout


def candidate(package):
    """The version apt would install and its dependencies, or None when apt does not know the package."""
    record = run(["apt-cache", "show", "--no-all-versions", package], f"looking up the package {package}")
    version = re.search(r"^Version: (.*)$", record, re.M)
    depends = re.search(r"^Depends: (.*)$", record, re.M)
    names = re.findall(r"(?:^|, )([^\s,|]+)", depends.group(1)) if depends else []
    return (version.group(1), [name.split(":")[0] for name in names]) if version else None


def known(package):
    try:
        return candidate(package)
    except Problem:
        return None


def require_known(package):
    """The candidate of `package`; updates apt's lists once if they do not have it."""
    found = known(package)
    if not found and os.geteuid() == 0:
        run(["apt-get", "-q", "update"], "refreshing the package lists")
        found = known(package)
    if not found:
        raise Problem(f"apt does not know the package {package}; run `apt-get update` and check the system's sources")
    return found


def unpack(packages, folder):
    """Download the named packages, without their dependencies, and unpack them into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages],
            f"downloading {', '.join(packages)}", cwd=downloads)
        extract(downloads, folder)


def unpack_missing(packages, folder):
    """Download what apt would install for `packages`, dependencies included, and unpack it into `folder`."""
    installed = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"], "listing installed packages")
    have = {line[3:].strip() for line in installed.splitlines() if line.startswith("ii")}
    missing = [package for package in packages if package not in have]
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        (pathlib.Path(downloads) / "partial").mkdir()
        run(["apt-get", "-q", "-y", "install", "--download-only", "--no-install-recommends",
             "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root",
             "-o", f"Dir::Cache::archives={downloads}", *missing], f"downloading {', '.join(missing)}")
        extract(downloads, folder)


def extract(downloads, folder):
    for archive in sorted(pathlib.Path(downloads).glob("*.deb")):
        run(["dpkg-deb", "-x", str(archive), str(folder)], f"unpacking {archive.name}")
