"""A machine of its own for another kernel, emulated: what it consists of, and what it says."""
import pathlib
import re
import shutil
import subprocess

MODULES = """
    crc32c_generic libcrc32c nft_objref af_packet veth dummy tun vxlan ipip sch_ingress cls_bpf sch_tbf sch_htb ifb
    nf_conntrack nf_conntrack_netlink nfnetlink_log nf_log_syslog nf_tables nft_chain_nat nft_ct nft_nat nft_masq
    nft_redir nft_log nft_limit nft_reject nft_reject_inet nft_fib nft_fib_inet nft_numgen nft_hash nft_socket
    nft_tproxy nft_compat xt_bpf vrf
    """.split()
PROGRAMS = ["/usr/sbin/ip", "/usr/sbin/bridge", "/usr/sbin/nft", "/usr/sbin/tc", "/usr/bin/ping"]
APPLETS = "awk cat cut date echo env false find grep head kill ls mkdir mount od poweroff rm sed seq sleep stat "\
          "sysctl tail tee test timeout touch tr true umount uname wc insmod".split()
HERE = pathlib.Path(__file__).parent


class Guest:
    """`programs` become /programs/NAME, run in their order, each with its arguments."""

    def __init__(self, kernel, folder, programs):
        self.kernel = kernel
        self.folder = pathlib.Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.root = self.folder / "root"
        for directory in "bin dev etc modules proc programs run sys tmp usr/sbin usr/bin".split():
            (self.root / directory).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.root / "bin/busybox")
        for applet in APPLETS:
            (self.root / "bin" / applet).symlink_to("busybox")
        self.add("/bin/dash", "bin/sh")  # that of busybox takes its own `ip` for everybody's
        for program in PROGRAMS:
            self.add(program, program.lstrip("/"))
        for number, (name, content) in enumerate(kernel.modules(MODULES).items()):
            (self.root / f"modules/{number:03}-{name}.ko").write_bytes(content)
        calls = []
        for program, *arguments in programs:
            name = pathlib.Path(program).name
            self.add(program, f"programs/{name}")
            calls.append(" ".join([name, *arguments]) + "\n")
        (self.root / "etc/calls").write_text("".join(calls))
        shutil.copy(HERE / "init", self.root / "init")
        self.archive = self.folder / "initramfs"
        files = subprocess.run(["find", "."], cwd=self.root, check=True, stdout=subprocess.PIPE).stdout
        with self.archive.open("wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=self.root, input=files, stdout=out, check=True)

    def add(self, program, place):
        """With the libraries that it is linked to."""
        shutil.copy(program, self.root / place)
        said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            target = self.root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)

    def run(self, seconds, say):
        """Prints what it says as it comes. The exit statuses of the programs, by name; one that is not there has not
        come to its end."""
        command = ["timeout", str(seconds), "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2",
                   "-m", "3G", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
                   "-kernel", str(self.kernel.image), "-initrd", str(self.archive),
                   "-append", "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check"]
        statuses = {}
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              errors="replace") as machine:
            for line in machine.stdout:
                line = line.rstrip()
                if found := re.fullmatch(r"guest: (\S+) exit (\d+)", line):
                    statuses[found[1]] = int(found[2])
                else:
                    say(line)
        return statuses
