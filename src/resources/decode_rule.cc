// Rules, as Calico's policies and profiles have them.
#include <array>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/number_or_string.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

Result<Action> read_action(const json::object& rule) {
  constexpr std::array kActions{
      std::pair<std::string_view, Action>{"Allow", Action::kAllow},
      std::pair<std::string_view, Action>{"Deny", Action::kDeny},
      std::pair<std::string_view, Action>{"Log", Action::kLog},
      std::pair<std::string_view, Action>{"Pass", Action::kPass},
  };
  const auto* value = fields::find(rule, "action");
  if (value == nullptr) return fields::wrong("action", "must be there");
  for (const auto& [name, action] : kActions) {
    if (fields::text_of(*value) == name) return action;
  }
  return fields::wrong("action", *value, "must be one of Allow, Deny, Log, Pass");
}

Result<std::optional<ProtocolMatch>> read_protocol_at(const json::object& rule, std::string_view name) {
  const auto* value = fields::find(rule, name);
  if (value == nullptr) return std::nullopt;
  const auto protocol = read_protocol(*value);
  if (!protocol) return fields::wrong(name, protocol.error().message);
  return *protocol;
}

Result<std::optional<IcmpMatch>> read_icmp_at(const json::object& rule, std::string_view name) {
  TRY(const auto* stated, fields::object_at(rule, name));
  if (stated == nullptr) return std::nullopt;
  if (auto known = fields::nothing_but(*stated, {"type", "code"}); !known)
    return fields::inside(name, std::move(known).error());
  const auto type = fields::integer_at(*stated, "type", 0, 254);
  if (!type) return fields::inside(name, type.error());
  const auto code = fields::integer_at(*stated, "code", 0, 255);
  if (!code) return fields::inside(name, code.error());
  if (*code && !*type) return fields::wrong(name, "a code needs a type");
  IcmpMatch icmp;
  if (*type) icmp.type = static_cast<std::uint8_t>(**type);
  if (*code) icmp.code = static_cast<std::uint8_t>(**code);
  return icmp;
}

Result<std::optional<HttpMatch>> read_http(const json::object& rule) {
  TRY(const auto* stated, fields::object_at(rule, "http"));
  if (stated == nullptr) return std::nullopt;
  HttpMatch http;
  TRY(http.methods, fields::strings_at(*stated, "methods"));
  TRY(const auto paths, fields::objects_at(*stated, "paths"));
  for (const auto* path : paths) {
    TRY(const auto exact, fields::string_at(*path, "exact"));
    TRY(const auto prefix, fields::string_at(*path, "prefix"));
    if (exact.empty() == prefix.empty())
      return fields::wrong("paths", "each must have one of exact and prefix");
    http.paths.push_back({exact.empty(), std::string(exact.empty() ? prefix : exact)});
  }
  return http;
}

Result<std::vector<Port>> read_ports(const json::object& entity, std::string_view name) {
  TRY(const auto* array, fields::array_at(entity, name));
  std::vector<Port> ports;
  if (array == nullptr) return ports;
  ports.reserve(array->size());
  for (const auto& value : *array) {
    auto port = read_port(value);
    if (!port) return fields::wrong(fmt::format("{}[{}]", name, ports.size()), port.error().message);
    ports.push_back(*std::move(port));
  }
  return ports;
}

Result<std::optional<ServiceAccountMatch>> read_service_accounts(const json::object& entity) {
  TRY(const auto* stated, fields::object_at(entity, "serviceAccounts"));
  if (stated == nullptr) return std::nullopt;
  if (auto known = fields::nothing_but(*stated, {"names", "selector"}); !known)
    return fields::inside("serviceAccounts", std::move(known).error());
  auto names = fields::strings_at(*stated, "names");
  if (!names) return fields::inside("serviceAccounts", names.error());
  auto selector = fields::selector_at(*stated, "selector");
  if (!selector) return fields::inside("serviceAccounts", selector.error());
  return ServiceAccountMatch{*std::move(names), *std::move(selector)};
}

Result<std::optional<ServiceMatch>> read_services(const json::object& entity) {
  TRY(const auto* stated, fields::object_at(entity, "services"));
  if (stated == nullptr) return std::nullopt;
  if (auto known = fields::nothing_but(*stated, {"name", "namespace"}); !known)
    return fields::inside("services", std::move(known).error());
  const auto name = fields::string_at(*stated, "name");
  if (!name) return fields::inside("services", name.error());
  const auto ns = fields::string_at(*stated, "namespace");
  if (!ns) return fields::inside("services", ns.error());
  if (name->empty()) return fields::wrong("services.name", "must be there");
  return ServiceMatch{std::string(*name), std::string(*ns)};
}

Result<EntityRule> read_entity(const json::object& stated) {
  EntityRule entity;
  TRY_VOID(fields::nothing_but(stated, {"selector", "notSelector", "namespaceSelector", "serviceAccounts",
                                        "services", "nets", "notNets", "ports", "notPorts"}));
  TRY(entity.selector, fields::selector_at(stated, "selector"));
  TRY(entity.not_selector, fields::selector_at(stated, "notSelector"));
  TRY(entity.namespace_selector, fields::selector_at(stated, "namespaceSelector"));
  TRY(entity.service_accounts, read_service_accounts(stated));
  TRY(entity.services, read_services(stated));
  TRY(entity.nets, fields::prefixes_at(stated, "nets"));
  TRY(entity.not_nets, fields::prefixes_at(stated, "notNets"));
  TRY(entity.ports, read_ports(stated, "ports"));
  TRY(entity.not_ports, read_ports(stated, "notPorts"));
  return entity;
}

Result<EntityRule> read_entity_at(const json::object& rule, std::string_view name) {
  TRY(const auto* stated, fields::object_at(rule, name));
  if (stated == nullptr) return EntityRule{};
  auto entity = read_entity(*stated);
  if (!entity) return fields::inside(name, std::move(entity).error());
  return entity;
}

}  // namespace

Result<Rule> read_rule(const json::object& stated) {
  Rule rule;
  TRY_VOID(fields::nothing_but(stated, {"action", "ipVersion", "protocol", "notProtocol", "icmp", "notICMP",
                                        "http", "source", "destination", "metadata"}));
  TRY(rule.action, read_action(stated));
  TRY(const auto version, fields::integer_at(stated, "ipVersion", 4, 6));
  if (version && *version == 5) return fields::wrong("ipVersion", "5: must be 4 or 6");
  if (version) rule.ip_version = *version == 4 ? Family::kIpv4 : Family::kIpv6;
  TRY(rule.protocol, read_protocol_at(stated, "protocol"));
  TRY(rule.not_protocol, read_protocol_at(stated, "notProtocol"));
  TRY(rule.icmp, read_icmp_at(stated, "icmp"));
  TRY(rule.not_icmp, read_icmp_at(stated, "notICMP"));
  auto http = read_http(stated);
  if (!http) return fields::inside("http", std::move(http).error());
  rule.http = *std::move(http);
  TRY(rule.source, read_entity_at(stated, "source"));
  TRY(rule.destination, read_entity_at(stated, "destination"));
  // Annotations decide nothing: what cannot be read of them is left out.
  if (const auto metadata = fields::object_at(stated, "metadata"); metadata && *metadata != nullptr) {
    if (auto annotations = fields::labels_at(**metadata, "annotations"))
      rule.annotations = *std::move(annotations);
  }
  return rule;
}

Result<std::vector<Rule>> read_rules(const json::object& spec, std::string_view name) {
  TRY(const auto stated, fields::objects_at(spec, name));
  std::vector<Rule> rules;
  rules.reserve(stated.size());
  for (const auto* entry : stated) {
    auto rule = read_rule(*entry);
    if (!rule) return fields::inside(name, rules.size(), std::move(rule).error());
    rules.push_back(*std::move(rule));
  }
  return rules;
}

}  // namespace ocicat::decoding
