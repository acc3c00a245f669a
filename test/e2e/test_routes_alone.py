"""An agent that keeps routes alone (--dataplane none): somebody has to ask for it, and everybody is told."""
POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "web", "namespace": "shop"},
          "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                   "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]}}]}}
HOST = {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "all"},
        "spec": {"node": "host1", "interfaceName": "*"}}
PORTS = "tcp/80,tcp/81"
WHY = "no policy is enforced on this host: its agent was told to keep routes alone"


def log(lab):
    return (lab.folder / "log" / "agent-host1.log").read_text()


def to_web(lab, port):
    cells = lab.probe(PORTS)
    return {family: cells["shop/client", "shop/web", port, family] for family in (4, 6)}


def test_it_takes_over_no_host_that_has_policy_until_that_is_removed(make_lab, dataplane, eventually):
    lab = make_lab(2, dataplane)
    lab.together([lab.pod_words("shop/client", "host2", {}, PORTS),
                  lab.pod_words("shop/web", "host1", {"app": "web"}, PORTS)])
    lab.apply(POLICY, HOST)
    lab.wait()
    assert to_web(lab, "tcp/81") == {4: "deny", 6: "deny"}

    lab.run("lab", "agent", "kill", "host1")
    lab.run("lab", "agent", "start", "host1", "--dataplane", "none", "--no-wait")
    eventually(lambda: "an agent before has left its" in log(lab) and "ocicat agent --cleanup" in log(lab), 30)
    assert to_web(lab, "tcp/81") == {4: "deny", 6: "deny"}

    bpf = "/sys/fs/bpf/ocicat-lab/%s/host1" % lab.name
    lab.host_exec("host1", lab.binary, "agent", "--cleanup", "--bpf-folder", bpf)
    lab.run("lab", "agent", "start", "host1", "--dataplane", "none")
    lab.add_pod("shop/late", "host1", listen=PORTS)
    open_to_all = {4: "allow", 6: "allow"}
    eventually(lambda: to_web(lab, "tcp/80") == to_web(lab, "tcp/81") == open_to_all, 30)
    agent, other = lab.json("status")["agents"]
    assert (agent["dataplane"], agent["dataplaneReason"], agent["upToDate"]) == ("none", WHY, True)
    assert agent["hostEndpoints"] == [{"name": "all", "status": "error"}] and other["dataplane"] == dataplane
    assert "host1: dataplane none: " + WHY in lab.run("status").stdout
    assert WHY in lab.json("node", "status", "host1")["nodes"][0]["notes"]
    assert "WorkloadEndpoint shop/" in log(lab) and "starts without policy" in log(lab)

    lab.run("lab", "agent", "stop", "host1")
    lab.run("lab", "agent", "start", "host1")
    assert to_web(lab, "tcp/80") == {4: "allow", 6: "allow"}
    assert to_web(lab, "tcp/81") == {4: "deny", 6: "deny"}
