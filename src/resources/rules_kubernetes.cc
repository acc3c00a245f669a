// Rules of the Kubernetes API server for the kinds that are served here as it serves them.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/ip.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

void check_expression(const Scope& expression) {
  const auto op = expression.text("operator");
  const auto* values = expression.list("values");
  const bool has_values = values != nullptr && !values->empty();
  if (op == "In" || op == "NotIn") {
    if (!has_values) expression.complain("values", fmt::format("must not be empty with the operator {}", op));
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (has_values) expression.complain("values", fmt::format("must be empty with the operator {}", op));
  } else if (expression.has("operator")) {
    expression.complain("operator", "must be one of In, NotIn, Exists, DoesNotExist");
  }
  if (expression.has("key")) {
    if (auto rule = schema::check_label_key(expression.text("key")); !rule.empty())
      expression.complain("key", std::move(rule));
  }
  expression.each_text("values", [&](std::size_t i, std::string_view value) {
    if (auto rule = schema::check_label_value(value); !rule.empty())
      expression.complain("values", i, std::move(rule));
  });
}

void check_label_selector(const Scope& selector) {
  selector.in("matchLabels", [](const Scope& labels) {
    for (const auto& [key, value] : labels.json()) {
      if (auto rule = schema::check_label_key(key); !rule.empty()) labels.complain(key, "the key " + rule);
      if (!value.is_string()) continue;
      if (auto rule = schema::check_label_value(value.get_string()); !rule.empty())
        labels.complain(key, std::move(rule));
    }
  });
  selector.each("matchExpressions", check_expression);
}

void check_ip_block(const Scope& block) {
  const auto cidr = Prefix::parse(block.text("cidr"));
  if (block.has("cidr") && !cidr) block.complain("cidr", "must be a CIDR such as 10.0.0.0/16");
  block.each_text("except", [&](std::size_t i, std::string_view text) {
    const auto except = Prefix::parse(text);
    if (!except) return block.complain("except", i, "must be a CIDR such as 10.0.1.0/24");
    if (cidr && (!cidr->contains(*except) || except->length <= cidr->length)) {
      block.complain("except", i, fmt::format("must lie within {}, and be smaller", cidr->to_string()));
    }
  });
}

void check_peer(const Scope& peer) {
  const bool by_labels = peer.has("podSelector") || peer.has("namespaceSelector");
  if (!by_labels && !peer.has("ipBlock")) {
    return peer.complain("must have a podSelector, a namespaceSelector or an ipBlock");
  }
  if (by_labels && peer.has("ipBlock")) {
    peer.complain("ipBlock", "cannot be combined with podSelector or namespaceSelector; write another entry");
  }
  peer.in("podSelector", check_label_selector);
  peer.in("namespaceSelector", check_label_selector);
  peer.in("ipBlock", check_ip_block);
}

void check_policy_port(const Scope& entry) {
  const auto protocol = entry.text("protocol");
  if (entry.has("protocol") && protocol != "TCP" && protocol != "UDP" && protocol != "SCTP") {
    entry.complain("protocol", "must be one of TCP, UDP, SCTP");
  }
  const auto port = entry.number("port");
  const auto* named = entry.find("port");
  if (named != nullptr && named->is_string()) {
    if (entry.text("port").empty())
      entry.complain("port", "must be a port or the name of one");
    else if (auto rule = schema::check_text("portName", entry.text("port")); !rule.empty())
      entry.complain("port", std::move(rule));
  } else if (named != nullptr && (!port || *port < 1 || *port > 65535)) {
    entry.complain("port", "must be from 1 to 65535");
  }
  if (!entry.has("endPort")) return;
  const auto end = entry.number("endPort");
  if (!port) return entry.complain("endPort", "needs a port that is a number");
  if (end && (*end < *port || *end > 65535)) {
    entry.complain("endPort", fmt::format("must be from the port, {}, to 65535", *port));
  }
}

void check_direction(const Scope& spec, std::string_view direction, std::string_view peers) {
  spec.each(direction, [&](const Scope& rule) {
    rule.each("ports", check_policy_port);
    rule.each(peers, check_peer);
  });
}

// destination ports of one protocol: what the field table cannot say.
void check_cluster_port(const Scope& port) {
  port.in("range", [](const Scope& range) {
    const auto start = range.number("start");
    const auto end = range.number("end");
    if (start && end && *start >= *end)
      range.complain("end", fmt::format("must be greater than start, {}", *start));
  });
}

void check_cluster_peer(const Scope& peer) {
  peer.in("namespaces", check_label_selector);
  peer.in("pods", [](const Scope& pods) {
    pods.in("namespaceSelector", check_label_selector);
    pods.in("podSelector", check_label_selector);
  });
  peer.each_text("networks", [&](std::size_t i, std::string_view text) {
    if (!Prefix::parse(text)) peer.complain("networks", i, "must be a CIDR such as 10.0.0.0/16");
  });
}

void check_cluster_rule(const Scope& rule, std::string_view peers) {
  bool networks = false;
  rule.each(peers, [&](const Scope& peer) {
    check_cluster_peer(peer);
    networks |= peer.has("networks");
  });
  rule.each("protocols", [&](const Scope& entry) {
    for (const auto* protocol : {"tcp", "udp", "sctp"}) {
      entry.in(protocol, [](const Scope& about) { about.in("destinationPort", check_cluster_port); });
    }
    if (!entry.has("destinationNamedPort")) return;
    if (auto wrong = schema::check_text("portName", entry.text("destinationNamedPort")); !wrong.empty()) {
      entry.complain("destinationNamedPort", std::move(wrong));
    }
    if (networks) {
      entry.complain("destinationNamedPort", "cannot be combined with networks, which have no named ports");
    }
  });
}

void check_container_ports(const Scope& container, bool host_network) {
  std::set<std::string_view> names;
  container.each("ports", [&](const Scope& port) {
    const auto name = port.text("name");
    if (!name.empty() && !names.insert(name).second)
      port.complain("name", "another port of the container has it already");
    const auto host_port = port.number("hostPort").value_or(0);
    if (host_network && host_port != 0 && host_port != port.number("containerPort")) {
      port.complain("hostPort", "must be the containerPort in a pod on the host's network");
    }
  });
}

void check_pod_addresses(const Scope& status) {
  std::set<Family> families;
  bool first = true;
  status.each("podIPs", [&](const Scope& entry) {
    const auto address = IpAddress::parse(entry.text("ip"));
    if (!address) return;
    if (!families.insert(address->family()).second)
      entry.complain("ip", "a pod has one address of each family");
    const auto single = IpAddress::parse(status.text("podIP"));
    if (first && single && *single != *address) entry.complain("ip", "the first of podIPs must be podIP");
    first = false;
  });
}

}  // namespace

void check_kubernetes_policy(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    if (spec.text("stagedAction") == "Delete") {
      for (const auto& [key, value] : spec.json()) {
        if (std::string_view(key) == "stagedAction" || is_zero(value)) continue;
        spec.complain(key, "must be left out where stagedAction is Delete");
      }
      return;
    }
    spec.in("podSelector", check_label_selector);
    check_direction(spec, "ingress", "from");
    check_direction(spec, "egress", "to");
    spec.each_text("policyTypes", [&](std::size_t i, std::string_view type) {
      if (type != "Ingress" && type != "Egress")
        spec.complain("policyTypes", i, "must be one of Ingress, Egress");
    });
  });
}

void check_cluster_policy(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    spec.in("subject", check_cluster_peer);
    spec.each("ingress", [](const Scope& rule) { check_cluster_rule(rule, "from"); });
    spec.each("egress", [](const Scope& rule) { check_cluster_rule(rule, "to"); });
  });
}

void check_service(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    std::set<std::string_view> names;
    const auto* ports = spec.list("ports");
    const bool several = ports != nullptr && ports->size() > 1;
    spec.each("ports", [&](const Scope& port) {
      if (several && !port.is_set("name")) port.complain("name", "required where there are several ports");
      const auto name = port.text("name");
      if (!name.empty() && !names.insert(name).second) port.complain("name", "another port has it already");
    });
  });
}

// Addresses are of the type that the slice says.
void check_endpoint_slice(const Scope& document) {
  const auto type = document.text("addressType");
  document.each("endpoints", [&](const Scope& endpoint) {
    endpoint.each_text("addresses", [&](std::size_t i, std::string_view text) {
      if (type != "IPv4" && type != "IPv6") return;
      const auto address = IpAddress::parse(text);
      const auto family = type == "IPv4" ? Family::kIpv4 : Family::kIpv6;
      if (!address || address->family() != family) {
        endpoint.complain("addresses", i, fmt::format("must be an {} address", type));
      }
    });
  });
  std::set<std::string_view> names;
  document.each("ports", [&](const Scope& port) {
    if (!names.insert(port.text("name")).second) port.complain("name", "another port has it already");
  });
}

void check_pod(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    std::set<std::string_view> names;
    for (const auto* list : {"initContainers", "containers"}) {
      spec.each(list, [&](const Scope& container) {
        const bool taken = container.is_set("name") && !names.insert(container.text("name")).second;
        if (taken) container.complain("name", "another container has it already");
        check_container_ports(container, spec.is_true("hostNetwork"));
      });
    }
  });
  document.in("status", check_pod_addresses);
}

}  // namespace ocicat::rules
