"""A user-mode Linux (Debian's user-mode-linux) that runs a command over this machine's file system, which it cannot
change: another kernel, with what that has (IPIP) and lacks (tables of nftables), in seconds."""
import os
import pathlib
import shlex
import shutil
import signal
import subprocess

HERE = pathlib.Path(__file__).parent
SAYS = "guest: exit "
# The kernel asks for modules by itself, and gets those that /run/withheld does not name. busybox knows one place for
# them only, so it gets a root of its own.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/loader/lib/modules /run/loader/proc
cp {busybox} /run/loader/busybox
mount --bind /usr/lib/uml/modules /run/loader/lib/modules
mount --bind /proc /run/loader/proc
cat >/run/modprobe <<'END'
#!/bin/sh
for name; do grep -qxF -e "$name" /run/withheld && exit 1; done
exec chroot /run/loader /busybox modprobe "$@"
END
touch /run/withheld
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe ipv6
ip link set lo up
cd {folder}
{command}
echo "{says}$?"
busybox poweroff -f
"""


def run(words, folder, environment, timeout=1200, memory="1G"):
    """Runs the command in it as its first process. `folder` is for the machine's own files. What it printed, and the
    exit code of the command; None: it came to no end."""
    folder = pathlib.Path(folder)
    command = shlex.join(["env", *("%s=%s" % item for item in environment.items()), *words])
    init = folder / "init"
    init.write_text(INIT.format(busybox=shutil.which("busybox"), folder=shlex.quote(os.getcwd()), command=command,
                                says=SAYS))
    init.chmod(0o755)
    registers = folder / "whole_registers.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", registers, HERE / "whole_registers.c"], check=True)
    machine = subprocess.Popen(
        ["linux.uml", "mem=" + memory, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
         "init=%s" % init, "uml_dir=%s" % folder, "con=null", "con0=null,fd:1", "ssl=null"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LD_PRELOAD": str(registers)}, start_new_session=True)
    try:
        printed, _ = machine.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(machine.pid, signal.SIGKILL)
        printed, _ = machine.communicate()
    lines = printed.splitlines()
    codes = [int(line.removeprefix(SAYS)) for line in lines if line.startswith(SAYS)]
    return printed, codes[0] if codes else None
