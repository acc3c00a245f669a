"""A host dies, and its workload goes on on another one, with the addresses that it has."""
import pytest

PORT = "tcp/80"
POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "web", "namespace": "shop"},
          "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                   "ingress": [{"action": "Allow", "source": {"selector": "app == 'client'"}}]}}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(3, dataplane)
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, PORT),
                  lab.pod_words("shop/web", "host2", {"app": "web"}, PORT),
                  lab.pod_words("shop/other", "host3", {"app": "other"}, PORT)])
    lab.apply(POLICY)
    lab.wait()
    return lab


def endpoints(lab):
    return sorted(item["metadata"]["name"] for item in lab.json("get", "wep", "-A")["items"])


def check(lab, address):
    """Everybody who may reaches the workload, nobody else does, and its address is its own."""
    cells = lab.probe(PORT)
    for family in (4, 6):
        assert cells["shop/client", "shop/web", PORT, family] == "allow"
        assert cells["shop/web", "shop/client", PORT, family] == "allow"
        assert cells["shop/other", "shop/web", PORT, family] == "deny"
        assert lab.address("shop/web", family) == address[family]
    assert endpoints(lab) == ["host1-k8s-client-eth0", "host3-k8s-other-eth0", "host3-k8s-web-eth0"]
    lab.run("ipam", "check")  # fails where anything is leaked or held twice


def test_a_workload_of_a_dead_host_goes_on_elsewhere_and_stays_there(lab, eventually):
    address = {family: lab.address("shop/web", family) for family in (4, 6)}
    lab.run("lab", "agent", "kill", "host2")
    lab.run("lab", "pod", "move", "shop/web", "--host", "host3")
    check(lab, address)
    # The host comes back, and with it what it had noted: nothing of that is its own any more.
    lab.run("lab", "agent", "start", "host2")
    deletes = lab.folder / "cni" / "host2" / "deletes"
    eventually(lambda: not deletes.exists() or not list(deletes.iterdir()), 30)
    lab.wait()
    check(lab, address)


def test_it_comes_back_to_a_host_that_lives_again(lab):
    address = {family: lab.address("shop/web", family) for family in (4, 6)}
    lab.run("lab", "pod", "move", "shop/web", "--host", "host2")
    lab.run("lab", "pod", "move", "shop/web", "--host", "host3")
    check(lab, address)
