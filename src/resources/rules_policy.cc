// Rules of Calico's policy kinds and of Profile, which has the same rules inside.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/ip.h"
#include "resources/number_or_string.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

constexpr const char* kPortLists[] = {"ports", "notPorts"};
constexpr const char* kNetLists[] = {"nets", "notNets"};
constexpr const char* kSides[] = {"source", "destination"};

// The number behind what `protocol` says, where it says one of those that rules speak of; else nothing.
std::optional<int> protocol_number(const json::value* value) {
  if (value == nullptr) return std::nullopt;
  const auto protocol = read_protocol(*value);
  return protocol ? std::optional<int>(protocol->number) : std::nullopt;
}

bool is_named_port(const json::value& port) {
  const auto read = read_port(port);
  return read && std::holds_alternative<std::string>(*read);
}

struct RuleContext {
  Kind kind;
  bool is_ingress;

  bool is_policy() const { return kind != Kind::kProfile; }
  bool is_global() const {
    return kind == Kind::kGlobalNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy;
  }
};

void check_http(const Scope& rule) {
  const auto protocol = protocol_number(rule.find("protocol"));
  if (rule.has("protocol") && protocol != 6)
    rule.complain("protocol", "must be TCP, or missing, in a rule with http");
  if (rule.text("action") != "Allow") rule.complain("action", "must be Allow in a rule with http");
  rule.in("http", [](const Scope& http) {
    std::set<std::string_view> methods;
    http.each_text("methods", [&](std::size_t i, std::string_view method) {
      if (!methods.insert(method).second) http.complain("methods", i, "stands in the list twice");
    });
    http.each("paths", [](const Scope& path) {
      if (path.is_set("exact") == path.is_set("prefix"))
        return path.complain("must have one of exact and prefix");
      const auto* key = path.is_set("exact") ? "exact" : "prefix";
      const auto value = path.text(key);
      if (!value.starts_with('/')) path.complain(key, "must begin with /");
      if (value.find_first_of("?# ") != std::string_view::npos)
        path.complain(key, "must not contain ?, # or blanks");
    });
  });
}

void check_icmp(const Scope& rule) {
  const auto protocol = protocol_number(rule.find("protocol"));
  if (rule.has("icmp") && protocol != 1 && protocol != 58) {
    rule.complain("protocol", "must be ICMP or ICMPv6 in a rule with icmp");
  }
  for (const auto* key : {"protocol", "notProtocol"}) {
    const auto number = protocol_number(rule.find(key));
    const auto version = rule.number("ipVersion");
    if (version && number == 1 && *version != 4)
      rule.complain("ipVersion", fmt::format("must be 4 with {} ICMP", key));
    if (version && number == 58 && *version != 6)
      rule.complain("ipVersion", fmt::format("must be 6 with {} ICMPv6", key));
  }
  for (const auto* key : {"icmp", "notICMP"}) {
    rule.in(key, [](const Scope& icmp) {
      if (icmp.has("code") && !icmp.has("type")) icmp.complain("code", "needs the type it belongs to");
    });
  }
}

void check_ports(const Scope& rule) {
  const auto protocol = protocol_number(rule.find("protocol"));
  const bool has_protocol = rule.has("protocol");
  for (const auto* side : kSides) {
    rule.in(side, [&](const Scope& entity) {
      for (const auto* key : kPortLists) {
        const auto* ports = entity.list(key);
        if (ports == nullptr || ports->empty()) continue;
        if (has_protocol && protocol != 6 && protocol != 17 && protocol != 132) {
          entity.complain(
              key, "only TCP, UDP and SCTP have ports; leave them out or set one of these as the protocol");
        }
        for (std::size_t i = 0; !has_protocol && i < ports->size(); ++i) {
          if (!is_named_port((*ports)[i]))
            entity.complain(key, i, "needs a protocol in the rule, TCP, UDP or SCTP");
        }
      }
    });
  }
}

// All nets of a rule are of one family, the one that ipVersion says.
void check_nets(const Scope& rule) {
  const auto version = rule.number("ipVersion");
  std::optional<Family> family;
  if (version == 4) family = Family::kIpv4;
  if (version == 6) family = Family::kIpv6;
  for (const auto* side : kSides) {
    rule.in(side, [&](const Scope& entity) {
      for (const auto* key : kNetLists) {
        entity.each_text(key, [&](std::size_t i, std::string_view text) {
          const auto net = Prefix::parse(text, true);
          if (!net) return;  // found against the table
          if (text.find('/') == std::string_view::npos) {
            return entity.complain(key, i, fmt::format("must be a CIDR; write {}", net->to_string()));
          }
          if (family && net->family() != *family) {
            return entity.complain(key, i,
                                   version ? fmt::format("is not of ipVersion {}", *version)
                                           : "IPv4 and IPv6 must not be mixed in one rule; write two rules");
          }
          family = net->family();
          if (std::string_view(key) == "notNets" && net->length == 0) {
            entity.complain(key, i, "would exclude every address");
          }
        });
      }
    });
  }
}

void check_services(const Scope& entity, const RuleContext& context) {
  for (const auto* other : {"namespaceSelector", "selector", "notSelector", "nets", "notNets"}) {
    if (entity.is_set(other)) entity.complain(other, "cannot be combined with services");
  }
  if (entity.has("serviceAccounts")) entity.complain("serviceAccounts", "cannot be combined with services");
  entity.in("services", [&](const Scope& services) {
    if (!services.is_set("name")) services.complain("name", "required, and missing");
    if (context.is_global() && !services.is_set("namespace")) {
      services.complain("namespace", "required in a policy that is not in a namespace itself");
    }
  });
}

void check_namespace_selector(const Scope& entity) {
  const auto selector = entity.text("namespaceSelector");
  if (selector.find("global(") == std::string_view::npos) return;
  std::string bare(selector);
  std::erase_if(bare, [](char c) { return c == ' ' || c == '\t'; });
  if (bare != "global()") entity.complain("namespaceSelector", "global() must stand alone");
}

void check_entity(const Scope& rule, std::string_view side, const RuleContext& context) {
  rule.in(side, [&](const Scope& entity) {
    refuse_global(entity, "selector");
    check_namespace_selector(entity);
    if (!entity.has("services")) return;
    check_services(entity, context);
    const bool own_side = (side == "destination") == context.is_ingress;
    if (context.is_policy() && own_side) {
      entity.complain("services", fmt::format("cannot stand in the {} of {} rule", side,
                                              context.is_ingress ? "an ingress" : "an egress"));
    }
    if (side == "destination" && (entity.is_set("ports") || entity.is_set("notPorts"))) {
      entity.complain(entity.is_set("ports") ? "ports" : "notPorts",
                      "cannot be combined with services, which bring their own ports");
    }
  });
}

void check_rule(const Scope& rule, const RuleContext& context) {
  if (!context.is_policy() && !rule.has("action")) {
    rule.complain("action", "required, and missing; one of Allow, Deny, Log, Pass");
  }
  if (rule.has("http")) check_http(rule);
  if (rule.has("http") && context.is_policy() && !context.is_ingress) {
    rule.complain("http", "cannot stand in an egress rule");
  }
  check_icmp(rule);
  check_ports(rule);
  check_nets(rule);
  for (const auto* side : kSides) check_entity(rule, side, context);
  rule.in("metadata", check_annotations);
}

// A staged policy that deletes says nothing else.
void check_staged_delete(const Scope& spec) {
  for (const auto& [key, value] : spec.json()) {
    const std::string_view name = key;
    if (name == "tier" || name == "stagedAction" || is_zero(value)) continue;
    spec.complain(name, "must be left out where stagedAction is Delete");
  }
}

void check_global_spec(const Scope& spec) {
  refuse_global(spec, "namespaceSelector");
  const bool untracked = spec.is_true("doNotTrack");
  const bool pre_dnat = spec.is_true("preDNAT");
  if (untracked && pre_dnat) spec.complain("preDNAT", "cannot be combined with doNotTrack");
  if ((untracked || pre_dnat) && !spec.is_true("applyOnForward")) {
    spec.complain("applyOnForward",
                  fmt::format("must be true with {}", untracked ? "doNotTrack" : "preDNAT"));
  }
  if (!pre_dnat) return;
  if (spec.is_set("egress"))
    spec.complain("egress", "cannot be combined with preDNAT, which is for ingress only");
  spec.each_text("types", [&](std::size_t i, std::string_view type) {
    if (type == "Egress")
      spec.complain("types", i, "cannot be combined with preDNAT, which is for ingress only");
  });
}

}  // namespace

void check_policy(Kind kind, const Scope& document) {
  document.in("spec", [&](const Scope& spec) {
    const bool staged = kind == Kind::kStagedNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy;
    if (staged && spec.text("stagedAction") == "Delete") return check_staged_delete(spec);
    refuse_global(spec, "selector");
    refuse_global(spec, "serviceAccountSelector");
    if (RuleContext{kind, true}.is_global()) check_global_spec(spec);
    spec.each("ingress", [&](const Scope& rule) { check_rule(rule, {kind, true}); });
    spec.each("egress", [&](const Scope& rule) { check_rule(rule, {kind, false}); });
  });
}

}  // namespace ocicat::rules
