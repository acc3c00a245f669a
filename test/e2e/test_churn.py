"""Many changes while traffic runs: what they do not concern loses nothing, what is denied stays denied."""
import pytest

import shop


@pytest.fixture(scope="module")
def lab(make_lab, root):
    lab = make_lab(3)
    shop.add_pods(lab)
    lab.apply_files(root / "examples/shop/policies")
    lab.wait()
    return lab


def test_a_storm_of_changes_disturbs_nobody_and_opens_nothing(lab):
    allowed = [lab.start_traffic("shop/frontend", "flows", lab.address("shop/api", family), 8125) for family in (4, 6)]
    path = lab.endpoint_path("monitoring/prometheus")
    for number in range(150):
        noise = shop.policy("shop", "noise", {"order": number, "selector": "app == 'db'", "types": ["Ingress"],
                                              "ingress": [{"action": "Allow", "protocol": "TCP",
                                                           "source": {"nets": ["192.0.2.%d/32" % number]},
                                                           "destination": {"ports": [1000 + number]}}]})
        document = lab.request("GET", path)
        document["metadata"]["labels"]["turn"] = str(number)
        lab.request("PUT", path, document)
        if number == 0:
            lab.request("POST", "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies", noise)
        else:
            lab.request("PUT", "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/noise", noise)
    lab.wait()
    for flows in allowed:
        report = flows.stop()
        assert report["sent"] > 50
        assert report["missing"] == []
    lab.delete(noise)
    lab.wait()
