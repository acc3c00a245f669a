// Rules of the kinds that say whom BGP speaks with, and what passes (validation.md 3.13, 3.14).
#include <fmt/format.h>

#include "base/ip.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {
namespace {

std::optional<Family> family_of_peer(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (const auto address = IpAddress::parse(text)) return address->family();
  return text.starts_with('[') ? Family::kIpv6 : Family::kIpv4;
}

void check_whom(const Scope& spec) {
  if (spec.is_set("node") && spec.is_set("nodeSelector"))
    spec.complain("nodeSelector", "cannot be combined with node; both say which hosts it is for");
  if (spec.is_set("peerIP") && spec.is_set("peerSelector"))
    spec.complain("peerSelector", "cannot be combined with peerIP; both say whom to speak with");
  if (spec.is_set("peerSelector") && spec.is_set("asNumber"))
    spec.complain("asNumber", "cannot be combined with peerSelector; each host has its own");
  if (spec.is_set("localWorkloadSelector")) {
    for (const auto* field : {"peerIP", "peerSelector"}) {
      if (spec.is_set(field))
        spec.complain(field, "cannot be combined with localWorkloadSelector; both say whom to speak with");
    }
    if (!spec.is_set("asNumber"))
      spec.complain("asNumber", "required with localWorkloadSelector, and missing");
  }
}

void check_filter_rule(const Scope& rule) {
  if (rule.is_set("cidr") && !rule.is_set("matchOperator"))
    rule.complain("matchOperator", "required with cidr, and missing");
  if (!rule.is_set("cidr")) {
    for (const auto* field : {"matchOperator", "prefixLength"}) {
      if (rule.has(field)) rule.complain(field, "says something of cidr, which is missing");
    }
  }
  if (rule.has("operations") && rule.text("action") != "Accept")
    rule.complain("operations", "are for the action Accept only");
}

}  // namespace

void check_bgp_peer(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    check_whom(spec);
    if (spec.is_set("reachableBy")) {
      const auto peer = family_of_peer(spec.text("peerIP"));
      const auto gateway = IpAddress::parse(spec.text("reachableBy"));
      if (!peer) {
        spec.complain("reachableBy", "is the way to peerIP, which is missing");
      } else if (gateway && gateway->family() != *peer) {
        spec.complain("reachableBy", "must be of the family of peerIP");
      }
    }
    if (spec.is_true("keepOriginalNextHop") && spec.is_set("nextHopMode"))
      spec.complain("nextHopMode", "cannot be combined with keepOriginalNextHop, which it replaces");
  });
}

void check_bgp_filter(const Scope& document) {
  document.in("spec", [](const Scope& spec) {
    for (const auto* list : {"exportV4", "importV4", "exportV6", "importV6"})
      spec.each(list, check_filter_rule);
  });
}

}  // namespace ocicat::rules
