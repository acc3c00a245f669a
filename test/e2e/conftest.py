"""Labs for tests. Each module gets labs of its own for each dataplane, by names nobody else uses, so modules run
side by side, and so do the two halves of one."""
import itertools
import os
import pathlib
import secrets
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import ocicat_lab  # noqa: E402
from ocicat_lab import Lab  # noqa: E402

RUN = secrets.token_hex(4)  # a pid is another's as well where each has its own namespace of them
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("OCICAT_BIN") or shutil.which("ocicat")
    if not path:
        pytest.exit("set OCICAT_BIN to the binary under test", returncode=2)
    return pathlib.Path(path).resolve()


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def dataplane(request):
    """For modules whose claims hold whatever enforces policy."""
    return request.param


def logs_of(lab):
    """[(title, the last lines)] of its processes' logs."""
    texts = ((log, log.read_text(errors="replace").splitlines()[-25:])
             for log in sorted((lab.folder / "log").glob("*.log")))
    return [("%s %s" % (lab.name, log.name), "\n".join(text)) for log, text in texts if text]


@pytest.fixture(scope="module")
def make_lab(binary):
    """make_lab(hosts, dataplane, …) starts a lab that is gone at the end of the module; its logs are shown if
    something failed."""
    labs = []

    def make(hosts=2, dataplane="auto", **more):
        lab = Lab("e2e-%s-%d" % (RUN, next(NUMBERS)), binary, hosts, dataplane, **more)
        labs.append(lab)
        try:
            lab.up()
        except Exception:
            for title, text in logs_of(lab):
                print("-- %s --\n%s" % (title, text))
            raise
        return lab

    yield make
    for lab in labs:
        lab.down()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """One worker has all tests of a module that share labs: those with one dataplane."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        dataplane = callspec.params.get("dataplane", "") if callspec else ""
        item.add_marker(pytest.mark.xdist_group("%s-%s" % (item.path.name, dataplane)))


def queue_drops():
    """Packets for which a processor's queue had no room: all labs on the machine share these."""
    with open("/proc/net/softnet_stat") as file:
        return sum(int(line.split()[1], 16) for line in file)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.queue_drops = queue_drops()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        if dropped := queue_drops() - item.queue_drops:
            report.sections.append(("the machine", "%d packets, of this lab or another, found no room in a processor's "
                                    "queue (net.core.netdev_max_backlog)" % dropped))
        labs = [value for value in item.funcargs.values() if isinstance(value, Lab)]
        for lab in labs:
            report.sections.extend(logs_of(lab))


@pytest.fixture(scope="session")
def eventually():
    return ocicat_lab.eventually
