"""Connections through a host endpoint that lets out what its host and pods begin, and lets nobody in."""
import contextlib

from counted import Answered, Denied

EVERYTHING = [{"action": "Allow"}]
NEIGHBOURS = [{"action": "Allow", "protocol": "ICMPv6"}]  # Calico leaves these to policy


def documents():
    def policy(name, order, ingress, egress):
        return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
                "spec": {"selector": "has(host)", "order": order, "applyOnForward": True,
                         "types": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}}
    return [{"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
             "metadata": {"name": "edge", "labels": {"host": "host1"}},
             "spec": {"node": "host1", "interfaceName": "to-host2"}},
            policy("neighbours", 1, NEIGHBOURS, NEIGHBOURS), policy("outward", 2, [], EVERYTHING)]


@contextlib.contextmanager
def undisturbed(lab, pod):
    """Host1 and a pod of it have asked host2, which goes on answering: all of that arrives, and nothing of what comes
    to the pod from there without having been asked for."""
    with lab.applied(*documents()):
        denied = Denied(lab, [("host2", pod)])
        answered = Answered(lab, [("host1", "host2"), (pod, "host2")])
        yield
        losses = answered.losses()
        denied.assert_none_arrived()
    for name, loss in losses.items():
        assert loss.sent > 50, name
    lost = {name: "%d of %d" % (len(loss.missing), loss.sent) for name, loss in losses.items() if loss.missing}
    assert not lost, lost
