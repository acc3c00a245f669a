"""`ocicat bpf` shows what a host's eBPF datapath has in the kernel, with its agent or without."""
import pytest

import shop

WEB = shop.policy("shop", "web", {"selector": "app == 'b'", "types": ["Ingress"], "ingress": [
    {"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]}, "source": {"selector": "app == 'a'"}}]})


@pytest.fixture(scope="module")
def lab(make_lab):
    lab = make_lab(2, "ebpf")
    lab.together([lab.pod_words("shop/a", "host1", labels={"app": "a"}),
                  lab.pod_words("shop/b", "host1", labels={"app": "b"}, listen="tcp/80")])
    lab.apply(WEB)
    lab.wait()
    lab.probe("tcp/80,tcp/81")
    return lab


def shown(lab, what, *words, host="host1"):
    return lab.json("bpf", what, "--host", host, *words)[{"host-endpoints": "hostEndpoints"}.get(what, what)]


def endpoint_of(lab, pod):
    found = shown(lab, "endpoints", "--address", lab.address(pod))
    assert len(found) == 1, found
    return found[0]


def test_counters_say_what_became_of_packets(lab):
    counters = {one["counter"]: one["count"] for one in shown(lab, "counters")}
    assert counters["judged"] > 0 and counters["forwarded"] > 0
    assert counters["dropped: policy"] > 0


def test_an_endpoints_program_leads_to_the_table_that_policy_means(lab):
    slot = endpoint_of(lab, "shop/b")["slot"]
    rows = shown(lab, "tables", "--endpoint", str(slot))
    ingress = endpoint_of(lab, "shop/b")["ingress"]
    assert [row["answer"] for row in rows if row["program"] == ingress and row["keys"] == "tcp/80"] == ["allow"]
    assert {row["answer"] for row in rows if row["program"] == ingress and row["projection"] == "base"} == {"deny"}
    programs = {row["program"] for row in shown(lab, "programs", "--endpoint", str(slot))}
    assert ingress in programs


def test_classes_tell_apart_whom_policy_tells_apart(lab):
    def class_of(address):
        found = shown(lab, "classes", "--address", address)
        assert len(found) == 1
        return found[0]["class"]

    assert class_of(lab.address("shop/a")) != class_of("192.0.2.77")
    assert class_of("192.0.2.77") == class_of("192.0.2.78")


def test_connections_say_who_began_them_and_where_they_stand(lab):
    a, b = lab.address("shop/a"), lab.address("shop/b")
    lab.probe("tcp/80", "--pods", "shop/a,shop/b")
    found = [one for one in shown(lab, "connections", "--address", b)
             if one["traffic"] == "tcp/80" and one["source"]["address"] == a]
    assert found, shown(lab, "connections")
    assert {one["state"] for one in found} <= {"established", "closed"}
    assert all(one["source"]["endpoint"] == endpoint_of(lab, "shop/a")["slot"] for one in found)
    assert all(one["sent"] > 0 and one["answered"] > 0 for one in found)
    assert shown(lab, "connections", "--address", "192.0.2.77") == []


def test_holders_say_for_whom_places_of_connections_are_taken(lab):
    a = lab.address("shop/a")
    lab.probe("tcp/80", "--pods", "shop/a,shop/b")
    begun = [one for one in shown(lab, "connections", "--address", a, "--most", "100000")
             if one["source"]["address"] == a]
    found = {one["holder"]: one for one in shown(lab, "holders", "--address", a)}
    assert set(found) == {"workload", "address"}, found
    assert found["workload"]["slot"] == endpoint_of(lab, "shop/a")["slot"]
    assert found["address"]["places"] >= len(begun) > 0
    assert found["workload"]["places"] >= len(begun) and not found["workload"]["many"]
    places = [one["places"] for one in shown(lab, "holders", "--most", "100000")]
    assert places == sorted(places, reverse=True)
    only = shown(lab, "holders", "--endpoint", str(found["workload"]["slot"]))
    assert {one["holder"] for one in only} == {"workload", "address"}
    assert {one["slot"] for one in only} == {found["workload"]["slot"]}


def test_no_more_is_shown_than_was_asked_for_and_that_is_said(lab):
    done = lab.run("bpf", "classes", "--host", "host1", "--most", "1")
    assert len(done.stdout.splitlines()) == 2
    assert "more are not shown" in done.stderr


def test_a_dead_agent_changes_nothing_about_it(lab):
    lab.run("lab", "agent", "kill", "host1")
    try:
        assert endpoint_of(lab, "shop/b")["interface"] > 0
        assert shown(lab, "connections")
    finally:
        lab.run("lab", "agent", "start", "host1")
        lab.wait()


def test_which_host_is_meant_must_be_said_and_be_there(lab):
    assert "say which with --host" in lab.run("bpf", "counters", check=False).stderr
    assert lab.run("bpf", "counters", "--host", "host9", check=False).returncode == 1
    done = lab.run("bpf", "counters", "--bpf-folder", "/sys/fs/bpf/nothing-here", check=False)
    assert done.returncode == 1 and "no eBPF datapath is pinned" in done.stderr


@pytest.mark.parametrize("words", ["connections --most -1", "counters --most 0", "connections --endpoint 0",
                                   "tables --program 0"])
def test_no_number_stands_for_all(lab, words):
    done = lab.run("bpf", *words.split(), "--host", "host1", check=False)
    assert done.returncode == 2 and done.stdout == ""


def test_status_names_settings_without_effect_and_those_that_do_less_than_they_say(lab):
    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
               "spec": {"bpfEnabled": True, "logPrefix": "x", "bpfRedirectToPeer": "Enabled",
                        "wireguardEnabled": True}})
    lab.wait()
    only = "opens the port of WireGuard; nothing is encrypted"
    assert lab.json("status")["withoutEffect"] == [
        {"object": "FelixConfiguration default", "field": "bpfEnabled", "dataplane": ""},
        {"object": "FelixConfiguration default", "field": "wireguardEnabled", "dataplane": "", "only": only}]
    told = lab.run("status").stdout
    assert "FelixConfiguration default: bpfEnabled: no effect" in told
    assert "FelixConfiguration default: wireguardEnabled: " + only in told


def test_status_says_of_the_deny_action_what_it_does_not_do_where_hosts_have_host_endpoints(lab, eventually):
    felix = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
             "spec": {"iptablesFilterDenyAction": "Reject",
                      "bpfConntrackTimeouts": {"creationGracePeriod": "7s", "udpTimeout": "60s"}}}
    lab.apply(felix)
    lab.wait()
    grace = {"object": "FelixConfiguration default", "field": "bpfConntrackTimeouts.creationGracePeriod",
             "dataplane": ""}
    assert lab.json("status")["withoutEffect"] == [grace]

    lab.apply({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "host1"},
               "spec": {"node": "host1", "interfaceName": "to-host2",
                        "profiles": ["projectcalico-default-allow"]}})
    lab.wait()
    deny = {"object": "FelixConfiguration default", "field": "iptablesFilterDenyAction", "dataplane": "ebpf",
            "only": "what is denied at workloads is answered; at host endpoints it is dropped"}
    eventually(lambda: lab.json("status")["withoutEffect"] == [grace, deny], 30)
