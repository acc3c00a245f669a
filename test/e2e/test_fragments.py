"""What is too large for a link arrives in fragments, put together by who it is for, under any policy."""
import pytest

SIZE = "4000"  # of what is asked and answered: three fragments


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/client", "host1"), lab.pod_words("shop/near", "host1", {"app": "near"}),
                  lab.pod_words("shop/far", "host2", {"app": "far"})])
    return lab


def host_endpoint(number):
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": f"everywhere-{number}", "labels": {"host": "yes"}},
            "spec": {"node": f"host{number}", "interfaceName": "*", "profiles": ["projectcalico-default-allow"]}}


FORWARD = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "forward"},
           "spec": {"selector": "has(host)", "applyOnForward": True, "types": ["Ingress", "Egress"],
                    "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}}
CLOSED = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "closed", "namespace": "shop"},
          "spec": {"selector": "has(app)", "types": ["Ingress"], "ingress": []}}
POLICIES = {"none": [], "host endpoints": [host_endpoint(1), host_endpoint(2)],
            "what is forwarded": [host_endpoint(1), host_endpoint(2), FORWARD], "closed": [CLOSED]}


@pytest.mark.parametrize("policy", POLICIES)
def test_fragments_arrive_as_policy_says(lab, policy):
    if POLICIES[policy]:
        lab.apply(*POLICIES[policy])
        lab.wait()
    for family in (4, 6):
        for pod in ("shop/near", "shop/far"):
            report = lab.exec("shop/client", "ping", "-c", "3", "-i", "0.1", "-W", "1", "-M", "dont", "-s", SIZE,
                              lab.address(pod, family), check=False)
            arrived = 0 if policy == "closed" else 3
            assert f"3 packets transmitted, {arrived} received" in report.stdout, (family, pod)
    if POLICIES[policy]:
        lab.delete(*POLICIES[policy])
        lab.wait()
