"""A kernel of Debian's: its image and its modules, fetched by apt and unpacked, not installed."""
import lzma
import pathlib
import re
import subprocess

# Debian's for virtual machines: the same as others but for drivers.
PACKAGES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}


def output_of(*command, cwd=None):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout


class KernelImage:
    def __init__(self, version, folder):
        depends = output_of("apt-cache", "depends", PACKAGES[version])
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if not found:
            raise SystemExit(f"no registry serves a kernel {version} ({PACKAGES[version]})")
        root = pathlib.Path(folder) / found[1]
        if not root.exists():
            unpack(found[1], root)
        self.image = next((root / "boot").glob("vmlinuz-*"))
        modules = root / "lib/modules"
        if not modules.exists():
            modules = root / "usr/lib/modules"
        self.files = {p.name.split(".ko")[0].replace("-", "_"): p for p in sorted(modules.rglob("*.ko*"))}

    def modules(self, wanted):
        """What these modules consist of, in the order in which they can be loaded. What is not there is part of the
        kernel, or the kernel has none."""
        loaded = {}

        def load(name):
            name = name.replace("-", "_")
            if name in loaded or name not in self.files:
                return
            content = content_of(self.files[name])
            for needed in re.search(rb"\0depends=([^\0]*)\0", content)[1].decode().split(","):
                load(needed)
            loaded[name] = content

        for name in wanted:
            load(name)
        return loaded


def content_of(file):
    content = file.read_bytes()
    return lzma.decompress(content) if file.suffix == ".xz" else content


def unpack(package, root):
    downloads = root.parent / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    output_of("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=downloads)
    unfinished = root.with_suffix(".part")
    for file in downloads.glob(f"{package}_*.deb"):
        output_of("dpkg-deb", "-x", str(file), str(unfinished))
        file.unlink()
    unfinished.rename(root)
