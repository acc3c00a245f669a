"""An agent's memory lies in large pages, where the kernel has them (docs/performance.md)."""
import pathlib
import re

TUNABLES = b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1"  # and more, which some glibc take apart where they find it


def agents(lab):
    """The process of each agent."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile
        if words[1:3] == [b"agent", b"--node"] and any(str(lab.folder).encode() in word for word in words):
            yield process


def test_an_agent_begins_with_large_pages_and_is_the_process_that_was_started(make_lab):
    lab = make_lab(1)
    agent, = agents(lab)
    assert any(word.startswith(TUNABLES) for word in (agent / "environ").read_bytes().split(b"\0"))
    assert (agent / "comm").read_text() == "ocicat\n"
    heap = re.search(r"\[heap\].*?VmFlags: ([^\n]*)", (agent / "smaps").read_text(), re.DOTALL)
    assert "hg" in heap.group(1).split()  # large pages are asked for
    lab.run("lab", "agent", "kill", "host1")
    assert list(agents(lab)) == []
