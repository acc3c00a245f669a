"""The demo's workloads and policies, for tests."""
PODS = [
    ("shop/frontend", "host1", {"app": "frontend"}, "http=tcp/80,metrics=tcp/9100,udp/514"),
    ("shop/api", "host2", {"app": "api"}, "tcp/8080,metrics=tcp/9100,udp/8125"),
    ("shop/db", "host3", {"app": "db"}, "tcp/5432,metrics=tcp/9100"),
    ("billing/card-vault", "host1", {"app": "card-vault", "pci": "true"}, "tcp/8443,metrics=tcp/9100,udp/514"),
    ("monitoring/prometheus", "host2", {"app": "prometheus"}, "tcp/9090,udp/514"),
]
PORTS = "tcp/80,tcp/8080,tcp/5432,tcp/8443,tcp/9100,udp/8125,udp/514,icmp,icmpv6"


def add_pods(lab):
    lab.together([lab.pod_words(name, host, labels=labels, listen=listen) for name, host, labels, listen in PODS])


def policy(namespace, name, spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def global_policy(name, spec):
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name}, "spec": spec}
