"""An agent that chooses its datapath: eBPF, until somebody else translates destinations on the host."""

POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
          "metadata": {"name": "web", "namespace": "shop"},
          "spec": {"selector": "app == 'web'", "types": ["Ingress"],
                   "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]},
                                "source": {"selector": "app == 'client'"}}]}}
PROXY = ("add table ip proxy; add chain ip proxy in { type nat hook prerouting priority -100; }; "
         "add rule ip proxy in tcp dport 4000 dnat to 10.65.0.9:80")
PORTS = "tcp/80,tcp/81"
AT_ONCE = 5  # seconds


def agents(lab):
    return {agent["node"]: agent for agent in lab.json("status", check=False)["agents"]}


def log_of(lab, host):
    return (lab.folder / "log" / ("agent-%s.log" % host)).read_text()


def test_it_is_the_one_that_somebody_names(make_lab):
    lab = make_lab(1, "nftables")
    agent, = agents(lab).values()
    assert (agent["dataplane"], agent["dataplaneReason"]) == ("nftables", "as --dataplane says")
    assert "dataplane nftables (as --dataplane says)" in log_of(lab, "host1")


def test_it_is_ebpf_until_somebody_else_translates_destinations_there(make_lab, eventually):
    lab = make_lab(2, "auto")
    lab.together([lab.pod_words("shop/client", "host1", {"app": "client"}, PORTS),
                  lab.pod_words("shop/web", "host2", {"app": "web"}, PORTS)])
    lab.apply(POLICY)
    lab.wait()
    assert lab.probe(PORTS) == lab.matrix(PORTS)
    for agent in agents(lab).values():
        assert agent["dataplane"] == "ebpf"
        assert "nothing speaks against it" in agent["dataplaneReason"]
    assert "dataplane ebpf (%s)" % agents(lab)["host1"]["dataplaneReason"] in log_of(lab, "host1")
    lab.host_exec("host2", "nft", PROXY)

    reason = "somebody else translates destinations (nftables, table ip proxy)"
    # The kernel tells of it; a look would come within 10 s.
    eventually(lambda: "dataplane nftables (" + reason in log_of(lab, "host2"), AT_ONCE)

    def has_changed():
        agent = agents(lab)["host2"]
        return agent["dataplane"] == "nftables" and reason in agent["dataplaneReason"] and agent["upToDate"]

    eventually(has_changed, 60)
    assert agents(lab)["host1"]["dataplane"] == "ebpf"
    assert "dataplane nftables (%s)" % agents(lab)["host2"]["dataplaneReason"] in log_of(lab, "host2")
    assert "dataplane nftables" not in log_of(lab, "host1")
    said = "host2: dataplane nftables: somebody else translates destinations (nftables, table ip proxy)"
    assert said in lab.run("status").stdout
    assert lab.probe(PORTS) == lab.matrix(PORTS)
    lab.host_exec("host2", "nft", "delete table ip proxy")
    eventually(lambda: agents(lab)["host2"]["dataplane"] == "ebpf", 60)
    lab.wait()
    assert lab.probe(PORTS) == lab.matrix(PORTS)


def test_where_somebody_names_ebpf_the_log_and_the_status_say_what_speaks_against_it(make_lab, eventually):
    lab = make_lab(1, "ebpf")
    lab.wait()
    lab.host_exec("host1", "nft", PROXY)
    said = "somebody else translates destinations (nftables, table ip proxy)"
    eventually(lambda: "dataplane: " + said in log_of(lab, "host1"), AT_ONCE)
    eventually(lambda: "dataplane ebpf: as --dataplane says, but " + said in lab.run("status").stdout, AT_ONCE)
    lab.host_exec("host1", "nft", "add rule ip proxy in tcp dport 4001 redirect to :80")
    lab.host_exec("host1", "nft", "delete table ip proxy")
    eventually(lambda: agents(lab)["host1"]["dataplaneReason"] == "as --dataplane says", 60)
    log = log_of(lab, "host1")
    assert log.count("dataplane: " + said) == 1 and "nothing speaks against the dataplane any more" in log
