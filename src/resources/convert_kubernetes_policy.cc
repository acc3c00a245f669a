// Kubernetes NetworkPolicy, and its staged twin, as a policy of the tier `default`.
//
// Its rules only ever allow, so leaving one out is the safe side of a mistake: a rule with a port that cannot
// be understood is left out. Where a peer cannot be, or where the document is not of the right shape, the
// policy is `broken` and allows nothing at all, which is reported.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/selector/tokenizer.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr double kOrder = 1000;
// Peers times ports of one rule: what it costs in memory, and far beyond what anyone means.
constexpr std::size_t kMostPorts = 200'000;
constexpr std::string_view kKubernetesEndpoints = "projectcalico.org/orchestrator == 'k8s'";

bool is_label_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxLabelName && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '/' || c == '-';
  });
}

// A string of the selector language; nothing where it cannot say it.
std::optional<std::string> quoted(std::string_view value) {
  if (value.find('\'') == std::string_view::npos) return fmt::format("'{}'", value);
  if (value.find('"') == std::string_view::npos) return fmt::format("\"{}\"", value);
  return std::nullopt;
}

Result<std::string> requirement(const json::object& expression) {
  TRY(const auto key, fields::string_at(expression, "key"));
  TRY(const auto op, fields::string_at(expression, "operator"));
  TRY(auto values, fields::strings_at(expression, "values"));
  if (!is_label_name(key)) return fields::wrong("key", json::value(key), "must be the name of a label");
  if (op == "Exists") return fmt::format("has({})", key);
  if (op == "DoesNotExist") return fmt::format("! has({})", key);
  if (op != "In" && op != "NotIn") {
    return fields::wrong("operator", json::value(op), "must be In, NotIn, Exists or DoesNotExist");
  }
  for (auto& value : values) {
    auto text = quoted(value);
    if (!text) return fields::wrong("values", json::value(value), "must be the value of a label");
    value = *std::move(text);
  }
  return fmt::format("{} {} {{ {} }}", key, op == "In" ? "in" : "not in", fmt::join(values, ", "));
}

// A Kubernetes label selector in the words of ours, ANDed after `first`, which may be empty.
Result<std::string> label_selector(const json::object& selector, std::string_view first) {
  std::vector<std::string> terms;
  if (!first.empty()) terms.emplace_back(first);
  TRY(const auto labels, fields::labels_at(selector, "matchLabels"));  // sorted by name
  for (const auto& [name, value] : labels) {
    const auto text = quoted(value);
    if (!is_label_name(name) || !text) {
      return fields::wrong("matchLabels", json::value(name),
                           "must be the name of a label with a value it can have");
    }
    terms.push_back(fmt::format("{} == {}", name, *text));
  }
  TRY(const auto expressions, fields::objects_at(selector, "matchExpressions"));
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    auto term = requirement(*expressions[i]);
    if (!term) return fields::inside("matchExpressions", i, std::move(term).error());
    terms.push_back(*std::move(term));
  }
  return fmt::format("{}", fmt::join(terms, " && "));
}

// Pods of Kubernetes that the selector selects; all where it is absent.
Result<std::string> pod_selector(const json::object& owner) {
  TRY(const auto* selector, fields::object_at(owner, "podSelector"));
  if (selector == nullptr) return std::string(kKubernetesEndpoints);
  auto text = label_selector(*selector, kKubernetesEndpoints);
  if (!text) return fields::inside("podSelector", std::move(text).error());
  return text;
}

Result<EntityRule> read_ip_block(const json::object& block) {
  EntityRule entity;
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
  auto text = label_selector(*namespaces, {});
  if (!text) return fields::inside("namespaceSelector", std::move(text).error());
  entity.namespace_selector = text->empty() ? "all()" : *std::move(text);
  return entity;
}

// By protocol, the ports that an entry names; none of a protocol means all of it.
using PortsByProtocol = std::map<std::string, std::pair<Protocol, std::vector<Port>>>;

enum class Understood { kYes, kNo };

// Adds what one entry of `ports` says. No protocol is TCP; no port is every port.
Result<Understood> add_port(const json::object& entry, PortsByProtocol& all) {
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
  const bool named = name && !name->empty() && name->size() <= 128 && is_label_name(*name) &&
                     name->find('/') == std::string_view::npos;
  if (!named || end_port != nullptr) return Understood::kNo;
  if (!every) ports.emplace_back(std::string(*name));
  return Understood::kYes;
}

// Named ports first, then the fewest ranges, ascending.
std::vector<Port> simplified(const std::vector<Port>& ports) {
  std::vector<Port> simple;
  std::vector<PortRange> ranges;
  std::set<std::string_view> names;
  for (const auto& port : ports) {
    if (const auto* range = std::get_if<PortRange>(&port)) {
      ranges.push_back(*range);
    } else if (names.insert(std::get<std::string>(port)).second) {
      simple.push_back(port);
    }
  }
  std::ranges::sort(ranges);
  std::optional<PortRange> open;
  for (const auto& range : ranges) {
    if (open && range.first <= open->last + 1) {
      open->last = std::max(open->last, range.last);
      continue;
    }
    if (open) simple.emplace_back(*open);
    open = range;
  }
  if (open) simple.emplace_back(*open);
  return simple;
}

struct Direction {
  std::string_view rules;  // the field of the policy
  std::string_view peers;  // and of the rule
  EntityRule Rule::* peer;
};
constexpr Direction kIngress{"ingress", "from", &Rule::source};
constexpr Direction kEgress{"egress", "to", &Rule::destination};

// One rule of Kubernetes becomes one for each protocol and peer; none where a port is not understood.
Result<void> add_rules(const json::object& stated, const Direction& direction, std::vector<Rule>& rules) {
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
  if (!understood) return {};
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
  return {};
}

Result<std::vector<Rule>> converted_rules(const json::object& spec, const Direction& direction) {
  TRY(const auto stated, fields::objects_at(spec, direction.rules));
  std::vector<Rule> rules;
  for (std::size_t i = 0; i < stated.size(); ++i) {
    if (auto added = add_rules(*stated[i], direction, rules); !added) {
      return fields::inside(direction.rules, i, std::move(added).error());
    }
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
    TRY(const auto action, fields::string_at(spec, "stagedAction"));
    policy.staged_delete = action == "Delete";
  }
  TRY(policy.ingress, converted_rules(spec, kIngress));
  TRY(policy.egress, converted_rules(spec, kEgress));
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
