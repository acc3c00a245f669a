// Rules of the kinds that are small: Tier, network sets, WorkloadEndpoint, Node, IPPool.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "resources/decode.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

// --- WorkloadEndpoint

void check_endpoint_name(const Scope& document) {
  document.in("spec", [&](const Scope& spec) {
    const auto orchestrator = spec.text("orchestrator");
    const auto* part = orchestrator == "k8s" ? "pod" : orchestrator == "cni" ? "containerID" : "workload";
    const bool needs_part = orchestrator != "libnetwork";
    std::vector<const char*> parts{"node", "orchestrator", "endpoint"};
    if (needs_part && !orchestrator.empty()) parts.push_back(part);
    bool complete = true;
    for (const auto* key : parts) {
      const auto text = spec.text(key);
      if (!text.empty() && !text.starts_with('-') && !text.ends_with('-')) continue;
      complete = false;
      if (spec.has(key) && !spec.find(key)->is_string()) continue;
      spec.complain(key, text.empty() ? "required, and missing: the endpoint's name is made from it"
                                      : "must not begin or end with -");
    }
    if (!complete) return;
    const auto wanted = workload_endpoint_name(
        spec.text("node"), orchestrator, needs_part ? spec.text(part) : "libnetwork", spec.text("endpoint"));
    document.in("metadata", [&](const Scope& metadata) {
      if (metadata.is_set("name") && metadata.text("name") != wanted) {
        metadata.complain("name", fmt::format("must be {}, from node, orchestrator, {} and endpoint", wanted,
                                              needs_part ? part : "libnetwork"));
      }
    });
  });
}

void check_endpoint_port(const Scope& port) {
  static constexpr std::string_view kWithPorts[] = {"TCP", "UDP", "SCTP", "6", "17", "132"};
  const auto* protocol = port.find("protocol");
  if (!port.has("port")) port.complain("port", "required, and missing");
  if (protocol == nullptr) {
    port.complain("protocol", "required, and missing; one of TCP, UDP, SCTP");
  } else {
    const std::string text = protocol->is_string() ? std::string(port.text("protocol"))
                                                   : fmt::to_string(port.number("protocol").value_or(0));
    if (std::ranges::find(kWithPorts, text) == std::end(kWithPorts)) {
      port.complain("protocol", "must be one of TCP, UDP, SCTP, which have ports");
    }
  }
  if (!port.is_set("name") && !port.is_set("hostPort"))
    port.complain("name", "required where there is no hostPort");
}

void check_endpoint_addresses(const Scope& spec) {
  std::vector<Prefix> nets;
  spec.each_text("ipNetworks", [&](std::size_t i, std::string_view text) {
    const auto net = Prefix::parse(text, true);
    if (!net) return;
    if (!net->is_host()) {
      spec.complain("ipNetworks", i, fmt::format("must be one address, /{}", bits_of(net->family())));
    }
    nets.push_back(*net);
  });
  spec.each("ipNATs", [&](const Scope& nat) {
    const auto inside = IpAddress::parse(nat.text("internalIP"));
    const auto outside = IpAddress::parse(nat.text("externalIP"));
    for (const auto* key : {"internalIP", "externalIP"}) {
      if (!nat.is_set(key)) nat.complain(key, "required, and missing");
    }
    if (!inside || !outside) return;
    if (inside->family() != outside->family())
      nat.complain("externalIP", "must be of the family of internalIP");
    const bool own = std::ranges::any_of(nets, [&](const Prefix& net) { return net.contains(*inside); });
    if (!own) nat.complain("internalIP", "must be one of ipNetworks");
  });
}

// --- IPPool

struct PoolUses {
  bool workload = false;
  bool tunnel = false;
  bool load_balancer = false;
};

PoolUses uses_of(const Scope& spec) {
  PoolUses uses;
  spec.each_text("allowedUses", [&](std::size_t, std::string_view use) {
    uses.workload |= use == "Workload";
    uses.tunnel |= use == "Tunnel";
    uses.load_balancer |= use == "LoadBalancer";
  });
  return uses;
}

bool encapsulates(const Scope& spec, std::string_view key) {
  return spec.is_set(key) && spec.text(key) != "Never";
}

void check_pool_range(const Scope& spec) {
  const auto cidr = Prefix::parse(spec.text("cidr"));
  if (!cidr) return;
  for (const auto* reserved : {"169.254.0.0/16", "fe80::/10"}) {
    const auto link_local = *Prefix::parse(reserved);
    if (cidr->contains(link_local) || link_local.contains(*cidr)) {
      spec.complain("cidr", fmt::format("must not overlap the link-local addresses {}", reserved));
    }
  }
  const bool is_v4 = cidr->family() == Family::kIpv4;
  const auto size = spec.number("blockSize").value_or(0);
  const auto least = is_v4 ? 20 : 116;
  if (size != 0 && (size < least || size > bits_of(cidr->family()))) {
    spec.complain("blockSize", fmt::format("must be from {} to {} in an {} pool", least,
                                           bits_of(cidr->family()), is_v4 ? "IPv4" : "IPv6"));
  } else if (size != 0 && cidr->length > size && !spec.is_true("disabled")) {
    spec.complain(
        "cidr",
        fmt::format("must hold at least one block of /{}; make it larger or blockSize smaller", size));
  }
  if (!is_v4 && encapsulates(spec, "ipipMode")) spec.complain("ipipMode", "must be Never in an IPv6 pool");
}

void check_pool_uses(const Scope& spec) {
  const PoolUses uses = uses_of(spec);
  if (uses.tunnel && spec.is_set("namespaceSelector")) {
    spec.complain("namespaceSelector",
                  "cannot be combined with the use Tunnel; set allowedUses to [Workload]");
  }
  if (!uses.load_balancer) return;
  if (uses.workload || uses.tunnel) spec.complain("allowedUses", "LoadBalancer must stand alone");
  for (const auto* mode : {"ipipMode", "vxlanMode"}) {
    if (encapsulates(spec, mode)) spec.complain(mode, "must be Never in a pool for load balancers");
  }
  if (spec.is_true("disableBGPExport"))
    spec.complain("disableBGPExport", "must be false in a pool for load balancers");
  if (spec.text("nodeSelector") != "all()")
    spec.complain("nodeSelector", "must be all() in a pool for load balancers");
}

}  // namespace

void check_tier(const Scope& document) {
  struct BuiltIn {
    std::string_view name;
    double order;
    std::string_view action;
  };
  static constexpr BuiltIn kBuiltIn[] = {
      {"default", 1'000'000, "Deny"}, {"kube-admin", 1'000, "Pass"}, {"kube-baseline", 10'000'000, "Pass"}};
  std::string_view name;
  document.in("metadata", [&](const Scope& metadata) { name = metadata.text("name"); });
  const auto* tier = std::ranges::find(kBuiltIn, name, &BuiltIn::name);
  if (tier == std::end(kBuiltIn)) return;
  document.in("spec", [&](const Scope& spec) {
    const auto* order = spec.find("order");
    if (order != nullptr && order->is_number() && order->to_number<double>() != tier->order) {
      spec.complain("order", fmt::format("must be {:.0f} in the built-in tier {}", tier->order, name));
    }
    if (spec.is_set("defaultAction") && spec.text("defaultAction") != tier->action) {
      spec.complain("defaultAction", fmt::format("must be {} in the built-in tier {}", tier->action, name));
    }
  });
}

void check_network_set(const Scope& document) {
  document.in("metadata", [](const Scope& metadata) {
    metadata.in("labels", [](const Scope& labels) {
      constexpr std::string_view kNamespace = "projectcalico.org/namespace";
      if (labels.has(kNamespace)) labels.complain(kNamespace, "is set by the system; leave it out");
    });
  });
}

void check_workload_endpoint(const Scope& document) {
  if (!document.has("spec"))
    document.complain("spec", "required, and missing: the endpoint's name is made from it");
  check_endpoint_name(document);
  document.in("spec", [](const Scope& spec) {
    check_endpoint_addresses(spec);
    spec.each("ports", check_endpoint_port);
  });
}

void check_host_endpoint(const Scope& document) {
  if (!document.has("spec")) document.complain("spec", "required, and missing");
  document.in("spec", [](const Scope& spec) {
    if (!spec.is_set("node")) spec.complain("node", "required, and missing");
    if (!spec.is_set("interfaceName") && !spec.is_set("expectedIPs")) {
      spec.complain("interfaceName", "required where there are no expectedIPs");
    }
    spec.each("ports", check_endpoint_port);
  });
}

void check_node(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    if (spec.object("bgp") != nullptr && !spec.is_set("bgp")) {
      spec.complain("bgp", "must not be empty; leave it out or give an address or AS number");
    }
    spec.each("addresses", [](const Scope& address) {
      if (!address.is_set("address")) address.complain("address", "required, and missing");
    });
    for (const auto* name : {"vxlanTunnelMACAddr", "vxlanTunnelMACAddrV6"}) {
      const auto mac = MacAddress::parse(spec.text(name));
      const bool ends_a_tunnel = mac && *mac != MacAddress{} && (mac->bytes[0] & 1) == 0;
      if (spec.is_set(name) && !ends_a_tunnel)
        spec.complain(name, "must be the MAC address of one interface, such as 66:00:5e:10:00:01");
    }
  });
}

void check_ip_pool(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    check_pool_range(spec);
    if (encapsulates(spec, "ipipMode") && encapsulates(spec, "vxlanMode")) {
      spec.complain("vxlanMode", "must be Never where ipipMode is not; a pool has one encapsulation");
    }
    check_pool_uses(spec);
    refuse_global(spec, "nodeSelector");
    refuse_global(spec, "namespaceSelector");
  });
}

void check_block_affinity(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    if (spec.is_true("deleted")) spec.complain("deleted", "must be false; delete the object instead");
  });
}

}  // namespace ocicat::rules
