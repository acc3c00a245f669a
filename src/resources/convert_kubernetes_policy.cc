// Kubernetes NetworkPolicy, and its staged twin, as a policy of the tier `default`.
//
// Its rules only ever allow, so leaving one out is the safe side of a mistake: a rule with a port that cannot
// be understood is left out. Where a peer cannot be, or where the document is not of the right shape, the
// policy is `broken` and allows nothing at all, which is reported.
#include <map>
#include <span>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/kubernetes_parts.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr double kOrder = 1000;
// Peers times ports of one rule: what it costs in memory, and far beyond what anyone means.
constexpr std::size_t kMostPorts = 200'000;

Result<EntityRule> read_ip_block(const json::object& block) {
  EntityRule entity;
  if (auto known = fields::nothing_but(block, {"cidr", "except"}); !known)
    return fields::inside("ipBlock", std::move(known).error());
  TRY(const auto text, fields::string_at(block, "cidr"));
  const auto cidr = Prefix::parse(text);
  if (!cidr) return fields::wrong("ipBlock.cidr", json::value(text), "must be a CIDR");
  entity.nets.push_back(cidr->masked());
  auto except = fields::prefixes_at(block, "except");
  if (!except) return fields::inside("ipBlock", std::move(except).error());
  entity.not_nets = *std::move(except);
  return entity;
}

Result<EntityRule> read_peer(const json::object& peer) {
  TRY_VOID(fields::nothing_but(peer, {"podSelector", "namespaceSelector", "ipBlock"}));
  TRY(const auto* block, fields::object_at(peer, "ipBlock"));
  if (block != nullptr) return read_ip_block(*block);
  EntityRule entity;
  TRY(entity.selector, pod_selector(peer));
  TRY(const auto* namespaces, fields::object_at(peer, "namespaceSelector"));
  if (namespaces == nullptr) {
    if (fields::find(peer, "podSelector") == nullptr) {
      return fields::wrong("podSelector", "must be there where namespaceSelector and ipBlock are not");
    }
    return entity;
  }
  auto text = namespace_selector(*namespaces);
  if (!text) return fields::inside("namespaceSelector", std::move(text).error());
  entity.namespace_selector = *std::move(text);
  return entity;
}

// By protocol, the ports that an entry names; none of a protocol means all of it.
using PortsByProtocol = std::map<std::string, std::pair<Protocol, std::vector<Port>>>;

enum class Understood { kYes, kNo };

// Adds what one entry of `ports` says. No protocol is TCP; no port is every port.
Result<Understood> add_port(const json::object& entry, PortsByProtocol& all) {
  TRY_VOID(fields::nothing_but(entry, {"protocol", "port", "endPort"}));
  TRY(auto protocol_text, fields::string_at(entry, "protocol"));
  if (protocol_text.empty()) protocol_text = "TCP";
  const auto* port = fields::find(entry, "port");
  const auto* end_port = fields::find(entry, "endPort");
  std::optional<Protocol> protocol;
  for (const auto known : {kTcp, kUdp, kSctp}) {
    if (protocol_text == protocol_name(known)) protocol = known;
  }
  if (!protocol) return Understood::kNo;
  auto [it, added] = all.try_emplace(std::string(protocol_text), *protocol, std::vector<Port>{});
  auto& ports = it->second.second;
  const bool every = !added && ports.empty();
  if (port == nullptr) {
    if (end_port != nullptr) return Understood::kNo;
    ports.clear();
    return Understood::kYes;
  }
  const auto* number = port->if_int64();
  if (number != nullptr && *number >= 1 && *number <= 65535) {
    const auto last = fields::integer_at(entry, "endPort", *number, 65535);
    if (!last) return Understood::kNo;
    if (!every) {
      ports.emplace_back(PortRange{static_cast<std::uint16_t>(*number),
                                   static_cast<std::uint16_t>(last->value_or(*number))});
    }
    return Understood::kYes;
  }
  const auto name = fields::text_of(*port);
  if (!name && number == nullptr) return fields::wrong("port", *port, "must be a number or a name");
  if (!name || !is_port_name(*name) || end_port != nullptr) return Understood::kNo;
  if (!every) ports.emplace_back(std::string(*name));
  return Understood::kYes;
}

struct Direction {
  std::string_view rules;  // the field of the policy
  std::string_view peers;  // and of the rule
  EntityRule Rule::* peer;
};
constexpr Direction kIngress{"ingress", "from", &Rule::source};
constexpr Direction kEgress{"egress", "to", &Rule::destination};

// One rule of Kubernetes becomes one for each protocol and peer; none where a port is not understood.
Result<Understood> add_rules(const json::object& stated, const Direction& direction,
                             std::vector<Rule>& rules) {
  TRY_VOID(fields::nothing_but(stated, {direction.peers, "ports"}));
  TRY(const auto peers, fields::objects_at(stated, direction.peers));
  TRY(const auto entries, fields::objects_at(stated, "ports"));
  std::vector<EntityRule> entities;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    auto entity = read_peer(*peers[i]);
    if (!entity) return fields::inside(direction.peers, i, std::move(entity).error());
    entities.push_back(*std::move(entity));
  }
  if (peers.empty()) entities.emplace_back();  // anyone

  PortsByProtocol ports;
  bool understood = true;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto added = add_port(*entries[i], ports);
    if (!added) return fields::inside("ports", i, added.error());
    understood &= *added == Understood::kYes;
  }
  if (!understood) return Understood::kNo;
  Rule rule{.action = Action::kAllow};
  if (ports.empty()) {
    for (const auto& entity : entities) rules.emplace_back(rule).*direction.peer = entity;
  }
  for (const auto& [name, of_protocol] : ports) {
    rule.protocol = ProtocolMatch{of_protocol.first, false};
    const auto simple = simplified(of_protocol.second);
    if (simple.size() * entities.size() > kMostPorts) {
      return fields::wrong("ports", fmt::format("peers times ports must not exceed {}", kMostPorts));
    }
    for (const auto& entity : entities) {
      auto& converted = rules.emplace_back(rule);
      converted.*direction.peer = entity;
      converted.destination.ports = simple;
    }
  }
  return Understood::kYes;
}

Result<std::vector<Rule>> converted_rules(const json::object& spec, const Direction& direction,
                                          std::string& unconverted) {
  TRY(const auto stated, fields::objects_at(spec, direction.rules));
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < stated.size(); ++i) {
    const auto before = rules.size();
    auto added = add_rules(*stated[i], direction, rules);
    if (!added) return fields::inside(direction.rules, i, std::move(added).error());
    for (auto& rule : std::span(rules).subspan(before)) rule.written_at = static_cast<std::uint32_t>(i);
    if (*added == Understood::kYes) continue;
    unconverted += fmt::format("{}spec.{}[{}].ports: one cannot be understood: the rule is left out",
                               unconverted.empty() ? "" : "; ", direction.rules, i);
  }
  return rules;
}

// Not stated, they are Ingress, and Egress where there are egress rules.
Result<void> read_policy_types(const json::object& spec, NetworkPolicy& policy) {
  TRY(const auto types, fields::strings_at(spec, "policyTypes"));
  bool ingress = false;
  bool egress = false;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "Ingress" && types[i] != "Egress") {
      return fields::wrong(fmt::format("policyTypes[{}]", i), json::value(types[i]),
                           "must be Ingress or Egress");
    }
    (types[i] == "Ingress" ? ingress : egress) = true;
  }
  if (types.empty()) {
    TRY(const auto* rules, fields::array_at(spec, "egress"));
    ingress = true;
    egress = rules != nullptr && !rules->empty();
  }
  policy.applies_to_ingress = ingress;
  policy.applies_to_egress = egress;
  return {};
}

Result<void> read_meaning(const json::object& spec, NetworkPolicy& policy) {
  TRY_VOID(read_policy_types(spec, policy));
  if (policy.staged()) {
    TRY(policy.staged_delete, stages_a_deletion(spec));
  }
  TRY(policy.ingress, converted_rules(spec, kIngress, policy.unconverted));
  TRY(policy.egress, converted_rules(spec, kEgress, policy.unconverted));
  return {};
}

}  // namespace

Result<NetworkPolicy> policy_of_kubernetes(Kind kind, const json::object& document) {
  NetworkPolicy policy;
  policy.kind = kind;
  policy.order = kOrder;
  TRY(policy.metadata, read_identity(kind, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return fields::wrong("spec", "must be there");
  auto selector = pod_selector(*spec);
  if (!selector) return fields::inside("spec", std::move(selector).error());
  policy.selector = *std::move(selector);
  policy.applies_to_ingress = policy.applies_to_egress = true;  // until they have been read
  if (auto meaning = read_meaning(*spec, policy); !meaning) {
    policy.broken = "spec." + meaning.error().message;
    policy.ingress.clear();
    policy.egress.clear();
  }
  return policy;
}

}  // namespace ocicat::decoding
