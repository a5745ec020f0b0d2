"""Do what the Dockerfile says, step by step, where no image can be built: `sudo python deploy/rehearse.py`.

Each step runs as it is written, in a mount namespace of its own (util-linux, root) where /opt/faceref, /build and /data
are clean folders and /etc a copy. At last the command runs as the image's user, with a read-only root file system and
/tmp in memory, until the health check is content. torch comes from pip's own index.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FRESH = ("/opt/faceref", "/build", "/data")
PORT = "8791"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="what `python` is in the image, readable by anybody")
    parser.add_argument("--print", action="store_true", dest="show", help="print the steps, and run none")
    arguments = parser.parse_args()
    script = rehearsal((REPOSITORY / "Dockerfile").read_text())
    if arguments.show:
        print(script)
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # not /tmp, which is made anew at last
        clean = Path(folder)
        clean.chmod(0o755)
        (clean / "bin").mkdir()
        (clean / "bin" / "python").symlink_to(arguments.python)
        shutil.copytree("/etc", clean / "etc", symlinks=True, ignore_dangling_symlinks=True)
        environment = {"CLEAN": folder, "REPOSITORY": str(REPOSITORY), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        made = [path for path in map(Path, FRESH) if not path.exists()]
        try:
            subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "sh", "-euxc", script], check=True, env=environment
            )
        finally:
            for path in made:  # what the folders were shown at; they are empty
                path.rmdir()


def rehearsal(dockerfile: str) -> str:
    """The Dockerfile as a shell script."""
    instructions = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE))
    steps = ["mount --make-rprivate /", 'mount --bind "$CLEAN/etc" /etc']
    for path in FRESH:
        steps += [f'mkdir -p {path} "$CLEAN{path}"', f'mount --bind "$CLEAN{path}" {path}']
    user, check, command = "", [], []
    for line in filter(None, map(str.strip, instructions.splitlines())):
        name, rest = line.split(" ", 1)
        match name:
            case "WORKDIR":
                steps.append(f"cd {rest}")
            case "RUN":
                steps.append(re.sub(r"--index-url \S+ --extra-index-url \S+", "", rest))
            case "ENV":
                steps += [f"export {pair}" for pair in rest.split()]
            case "COPY" if "--from" not in rest:
                *sources, target = rest.split()
                steps += [f'cp -r "$REPOSITORY/{source}" {target}' for source in sources]
            case "USER":
                user = rest
            case "HEALTHCHECK":
                check = json.loads(rest[rest.index("[") :])
            case "CMD":
                command = json.loads(rest)
    return "\n".join([*steps, *_run_read_only(user, check, command)])


def _run_read_only(user: str, check: list[str], command: list[str]) -> list[str]:
    """Steps that start the command as the user, until the check is content; the rest of the file system is read-only.

    The user takes over the volume and may read, but not write, what root has made.
    """
    at = shlex.join(command).replace("8000", PORT)
    is_well = shlex.join(check).replace("8000", PORT)
    as_user = f"setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --"
    return [
        "mount -t tmpfs tmpfs /tmp",
        "mount -o remount,ro,bind /opt/faceref",
        "mount -o remount,ro,bind /",
        "export FACEREF_TOKEN=a-token-for-the-rehearsal",
        f"! {as_user} touch /opt/faceref/x /build/../x",
        f"{as_user} {at} & server=$!",
        f"for i in $(seq 300); do {as_user} {is_well} 2>/dev/null && break; sleep 1; done",
        f"{as_user} {is_well}",
        "kill $server",
        "wait $server || true",
        "ls -A /data /data/server",
    ]


if __name__ == "__main__":
    main()
