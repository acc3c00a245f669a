// ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) as a global policy of the tier kube-admin or
// kube-baseline.
//
// Its rules allow, deny and pass, so no side of a mistake is safe by itself: a rule that cannot be converted
// becomes one that denies all, unless it accepts; then it is left out. Both are told in `unconverted`.
#include <map>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/kubernetes_parts.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

// The name of a rule becomes this annotation.
constexpr std::string_view kRuleName = "name";

// --- peers ---

Result<EntityRule> read_pods(const json::object& pods) {
  EntityRule entity;
  TRY(entity.selector, pod_selector(pods));
  TRY(const auto* namespaces, fields::object_at(pods, "namespaceSelector"));
  static const json::object kAll;
  auto text = namespace_selector(namespaces == nullptr ? kAll : *namespaces);
  if (!text) return fields::inside("namespaceSelector", std::move(text).error());
  entity.namespace_selector = *std::move(text);
  return entity;
}

Result<EntityRule> read_networks(const json::object& peer) {
  EntityRule entity;
  TRY(const auto networks, fields::strings_at(peer, "networks"));
  if (networks.empty()) return fields::wrong("networks", "must not be empty");
  for (std::size_t i = 0; i < networks.size(); ++i) {
    const auto net = Prefix::parse(networks[i]);
    if (!net) {
      return fields::wrong(fmt::format("networks[{}]", i), json::value(networks[i]), "must be a CIDR");
    }
    entity.nets.push_back(net->masked());
  }
  return entity;
}

// Exactly one field says who it is; another one than those known here is of a version that is newer than
// this, and nothing can be said about whom it means.
Result<EntityRule> read_peer(const json::object& peer, bool with_networks) {
  if (peer.size() != 1) return fields::wrong("peer", "must have exactly one field");
  const auto name = fields::view(peer.begin()->key());
  if (name == "namespaces") {
    TRY(const auto* namespaces, fields::object_at(peer, name));
    if (namespaces == nullptr) return fields::wrong(name, "must be a label selector");
    auto text = namespace_selector(*namespaces);
    if (!text) return fields::inside(name, std::move(text).error());
    EntityRule entity;
    entity.selector = any_pod();
    entity.namespace_selector = *std::move(text);
    return entity;
  }
  if (name == "pods") {
    TRY(const auto* pods, fields::object_at(peer, name));
    if (pods == nullptr) return fields::wrong(name, "must be an object");
    auto entity = read_pods(*pods);
    if (!entity) return fields::inside(name, std::move(entity).error());
    return entity;
  }
  if (name == "networks" && with_networks) return read_networks(peer);
  return fields::wrong(name, "is no peer that is known");
}

// --- protocols ---

// What some of the entries say together. No protocol: ports by name.
struct Ported {
  std::optional<Protocol> protocol;
  std::vector<Port> ports;
};
using PortedByName = std::map<std::string, Ported>;

Result<PortRange> read_port(const json::object& port) {
  if (port.size() != 1) return fields::wrong("destinationPort", "must have exactly one of number and range");
  TRY(const auto number, fields::integer_at(port, "number", 1, 65535));
  if (number) return PortRange{static_cast<std::uint16_t>(*number), static_cast<std::uint16_t>(*number)};
  TRY(const auto* range, fields::object_at(port, "range"));
  if (range == nullptr) return fields::wrong("destinationPort", "must have a number or a range");
  TRY(const auto start, fields::integer_at(*range, "start", 1, 65535));
  TRY(const auto end, fields::integer_at(*range, "end", 1, 65535));
  if (!start || !end || *start > *end)
    return fields::wrong("range", "must have a start, and an end after it");
  return PortRange{static_cast<std::uint16_t>(*start), static_cast<std::uint16_t>(*end)};
}

Result<void> add_ported(const json::object& entry, PortedByName& all) {
  if (entry.size() != 1) return fields::wrong("protocol", "must have exactly one field");
  const auto name = fields::view(entry.begin()->key());
  if (name == "destinationNamedPort") {
    TRY(const auto port, fields::string_at(entry, name));
    if (!is_port_name(port)) return fields::wrong(name, json::value(port), "must be the name of a port");
    all[""].ports.emplace_back(std::string(port));
    return {};
  }
  constexpr std::pair<std::string_view, Protocol> kKnown[] = {{"tcp", kTcp}, {"udp", kUdp}, {"sctp", kSctp}};
  for (const auto& [word, protocol] : kKnown) {
    if (word != name) continue;
    TRY(const auto* about, fields::object_at(entry, name));
    if (about == nullptr || about->size() != 1 || !about->contains("destinationPort")) {
      return fields::wrong(name, "must have a destinationPort and nothing else");
    }
    TRY(const auto* port, fields::object_at(*about, "destinationPort"));
    if (port == nullptr) return fields::wrong(name, "must have a destinationPort");
    auto range = read_port(*port);
    if (!range) return fields::inside(name, std::move(range).error());
    auto& ported = all[protocol_name(protocol)];
    ported.protocol = protocol;
    ported.ports.emplace_back(*range);
    return {};
  }
  return fields::wrong(name, "is no protocol that is known");
}

// --- rules ---

struct Direction {
  std::string_view rules;
  std::string_view peers;
  EntityRule Rule::* peer;
  bool with_networks;
};
constexpr Direction kIngress{"ingress", "from", &Rule::source, false};
constexpr Direction kEgress{"egress", "to", &Rule::destination, true};

// One for each protocol and peer.
Result<std::vector<Rule>> converted(const json::object& stated, Action action, const Direction& direction) {
  TRY_VOID(fields::nothing_but(stated, {"name", "action", direction.peers, "protocols"}));
  TRY(const auto peers, fields::objects_at(stated, direction.peers));
  if (peers.empty()) return fields::wrong(direction.peers, "must have at least one peer");
  std::vector<EntityRule> entities;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    auto entity = read_peer(*peers[i], direction.with_networks);
    if (!entity) return fields::inside(direction.peers, i, std::move(entity).error());
    entities.push_back(*std::move(entity));
  }
  TRY(const auto* list, fields::array_at(stated, "protocols"));
  TRY(const auto entries, fields::objects_at(stated, "protocols"));
  if (list != nullptr && entries.empty()) return fields::wrong("protocols", "must not be empty");
  PortedByName all;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (auto added = add_ported(*entries[i], all); !added) {
      return fields::inside("protocols", i, std::move(added).error());
    }
  }
  if (all.empty()) all[""];  // any

  Rule rule{.action = action};
  TRY(const auto name, fields::string_at(stated, "name"));
  if (!name.empty()) rule.annotations.emplace(kRuleName, name);
  std::vector<Rule> rules;
  for (const auto& [word, ported] : all) {
    if (ported.protocol) rule.protocol = ProtocolMatch{*ported.protocol, false};
    for (const auto& entity : entities) {
      auto& one = rules.emplace_back(rule);
      one.*direction.peer = entity;
      one.destination.ports = simplified(ported.ports);
    }
  }
  return rules;
}

Result<Action> read_action(const json::object& stated) {
  TRY(const auto action, fields::string_at(stated, "action"));
  if (action == "Accept") return Action::kAllow;
  if (action == "Deny") return Action::kDeny;
  if (action == "Pass") return Action::kPass;
  return fields::wrong("action", json::value(action), "must be Accept, Deny or Pass");
}

// What becomes of one rule as written.
std::vector<Rule> rules_for(const json::object& stated, const std::string& path, const Direction& direction,
                            std::vector<std::string>& unconverted) {
  const auto action = read_action(stated);
  auto rules = action ? converted(stated, *action, direction)
                      : Result<std::vector<Rule>>{std::unexpected(action.error())};
  if (rules) return *std::move(rules);
  const bool accepts = action && *action == Action::kAllow;
  unconverted.push_back(fmt::format("{}.{}: {}", path, rules.error().message,
                                    accepts ? "the rule is left out" : "the rule denies all"));
  if (accepts) return {};
  return {Rule{.action = Action::kDeny}};
}

Result<std::vector<Rule>> converted_rules(const json::object& spec, const Direction& direction,
                                          std::vector<std::string>& unconverted) {
  TRY(const auto stated, fields::objects_at(spec, direction.rules));
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < stated.size(); ++i) {
    for (auto& rule :
         rules_for(*stated[i], fmt::format("spec.{}[{}]", direction.rules, i), direction, unconverted)) {
      rule.written_at = static_cast<std::uint32_t>(i);
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

// A tier with default action Pass, so a direction without rules is one that the policy says nothing about.
Result<void> read_meaning(const json::object& spec, NetworkPolicy& policy) {
  TRY(const auto priority, fields::integer_at(spec, "priority", 0, 1000));
  if (!priority) return fields::wrong("priority", "must be there");
  policy.order = static_cast<double>(*priority);
  std::vector<std::string> unconverted;
  TRY(policy.ingress, converted_rules(spec, kIngress, unconverted));
  TRY(policy.egress, converted_rules(spec, kEgress, unconverted));
  policy.applies_to_ingress = !policy.ingress.empty();
  policy.applies_to_egress = !policy.egress.empty();
  policy.unconverted = fmt::format("{}", fmt::join(unconverted, "; "));
  return {};
}

// Where it stands and whom it selects; without these nothing can be said in its place.
Result<void> read_place(const json::object& spec, NetworkPolicy& policy) {
  TRY(const auto tier, fields::string_at(spec, "tier"));
  if (tier != "Admin" && tier != "Baseline") {
    return fields::wrong("tier", json::value(tier), "must be Admin or Baseline");
  }
  policy.tier = tier == "Admin" ? "kube-admin" : "kube-baseline";
  TRY(const auto* subject, fields::object_at(spec, "subject"));
  if (subject == nullptr) return fields::wrong("subject", "must be there");
  auto entity = read_peer(*subject, false);
  if (!entity) return fields::inside("subject", std::move(entity).error());
  policy.namespace_selector = entity->namespace_selector;
  policy.selector = entity->selector;
  return {};
}

}  // namespace

Result<NetworkPolicy> policy_of_cluster(const json::object& document) {
  NetworkPolicy policy;
  policy.kind = Kind::kClusterNetworkPolicy;
  TRY(policy.metadata, read_identity(policy.kind, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  if (auto place = read_place(*spec, policy); !place) return fields::inside("spec", std::move(place).error());
  policy.applies_to_ingress = policy.applies_to_egress = true;  // until they have been read
  if (auto meaning = read_meaning(*spec, policy); !meaning) {
    policy.broken = "spec." + meaning.error().message;
    policy.ingress.clear();
    policy.egress.clear();
  }
  return policy;
}

}  // namespace ocicat::decoding
