// Whom hosts speak BGP with, and what they tell them.
#include <algorithm>
#include <charconv>
#include <utility>

#include "resources/decoders.h"
#include "resources/fields.h"
#include "resources/schema_text.h"

namespace ocicat::decoding {
namespace json = boost::json;

namespace {

constexpr std::int64_t kMostMetric = 2147483646;

template <class T>
std::optional<T> narrowed(const std::optional<std::int64_t>& number) {
  return number ? std::optional(static_cast<T>(*number)) : std::nullopt;
}

// Text held to a check of the schema; empty where it is absent.
Result<std::string> text_as(const json::object& object, std::string_view name, std::string_view check) {
  TRY(const auto text, fields::string_at(object, name));
  if (text.empty()) return std::string();
  if (const auto rule = schema::find_text_check(check)(text); !rule.empty())
    return fields::wrong(name, json::value(text), rule);
  return std::string(text);
}

std::optional<AsNumber> as_number_of(const json::value& value) {
  const auto digits = [](std::string_view text, std::uint64_t most) -> std::optional<AsNumber> {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || number > most)
      return std::nullopt;
    return static_cast<AsNumber>(number);
  };
  if (const auto* number = value.if_int64())
    return *number >= 0 && *number <= UINT32_MAX ? std::optional(static_cast<AsNumber>(*number))
                                                 : std::nullopt;
  const auto text = fields::text_of(value);
  if (!text) return std::nullopt;
  const auto dot = text->find('.');
  if (dot == std::string_view::npos) return digits(*text, UINT32_MAX);
  const auto high = digits(text->substr(0, dot), UINT16_MAX);
  const auto low = digits(text->substr(dot + 1), UINT16_MAX);
  return high && low ? std::optional(*high << 16 | *low) : std::nullopt;
}

Result<std::optional<AsNumber>> as_number_at(const json::object& object, std::string_view name) {
  const auto* value = fields::find(object, name);
  if (value == nullptr) return std::nullopt;
  const auto number = as_number_of(*value);
  if (!number) return fields::wrong(name, *value, "must be an AS number");
  return *number == 0 ? std::nullopt : number;  // reserved (RFC 7607), and the same as none
}

Result<std::vector<AsNumber>> as_numbers_at(const json::object& object, std::string_view name) {
  TRY(const auto* list, fields::array_at(object, name));
  std::vector<AsNumber> numbers;
  if (list == nullptr) return numbers;
  for (const auto& value : *list) {
    const auto number = as_number_of(value);
    if (!number)
      return fields::wrong(fmt::format("{}[{}]", name, numbers.size()), value, "must be an AS number");
    numbers.push_back(*number);
  }
  return numbers;
}

// A length of time as Go writes it, in whole seconds, rounded up.
Result<std::optional<std::chrono::seconds>> seconds_at(const json::object& object, std::string_view name) {
  TRY(const auto text, fields::string_at(object, name));
  if (text.empty()) return std::nullopt;
  const auto wrong = [&] {
    return fields::wrong(name, json::value(text), "must be a duration up to a day, such as 90s or 1m30s");
  };
  double total = 0;
  for (auto rest = text; !rest.empty();) {
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{} || !(number >= 0)) return wrong();
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const auto unit = rest.substr(0, std::min(rest.find_first_of("0123456789."), rest.size()));
    const auto seconds = unit == "h"    ? 3600
                         : unit == "m"  ? 60
                         : unit == "s"  ? 1
                         : unit == "ms" ? 1e-3
                         : unit == "us" ? 1e-6
                         : unit == "ns" ? 1e-9
                                        : 0;
    if (seconds == 0 && !(unit.empty() && text == "0")) return wrong();
    total += number * seconds;
    rest.remove_prefix(unit.size());
  }
  if (total > 86400) return wrong();
  const auto whole = static_cast<std::int64_t>(total);
  return std::chrono::seconds(whole + (static_cast<double>(whole) < total ? 1 : 0));
}

Result<std::optional<IpAddress>> address_at(const json::object& object, std::string_view name,
                                            std::optional<Family> family = {}) {
  TRY(const auto text, fields::string_at(object, name));
  if (text.empty()) return std::nullopt;
  const auto address = IpAddress::parse(text);
  if (!address || (family && address->family() != *family))
    return fields::wrong(name, json::value(text), "must be an IP address of the right family");
  return address;
}

Result<std::optional<SecretKey>> secret_at(const json::object& object, std::string_view name) {
  TRY(const auto* password, fields::object_at(object, name));
  if (password == nullptr) return std::nullopt;
  const auto reference = fields::object_at(*password, "secretKeyRef");
  if (!reference) return fields::inside(name, reference.error());
  if (*reference == nullptr) return std::nullopt;
  SecretKey secret;
  for (const auto& [field, target] : {std::pair{"name", &secret.name}, {"key", &secret.key}}) {
    const auto text = fields::string_at(**reference, field);
    if (!text) return fields::inside(fmt::format("{}.secretKeyRef", name), text.error());
    *target = *text;
  }
  return secret;
}

Result<std::vector<Prefix>> service_nets_at(const json::object& spec, std::string_view name) {
  TRY(const auto entries, fields::objects_at(spec, name));
  std::vector<Prefix> nets;
  for (const auto* entry : entries) {
    const auto text = fields::string_at(*entry, "cidr");
    if (!text) return fields::inside(name, nets.size(), text.error());
    if (text->empty()) continue;
    const auto cidr = Prefix::parse(*text, true);
    if (!cidr)
      return fields::wrong(fmt::format("{}[{}].cidr", name, nets.size()), json::value(*text),
                           "must be a CIDR");
    nets.push_back(cidr->masked());
  }
  std::ranges::sort(nets);
  nets.erase(std::ranges::unique(nets).begin(), nets.end());
  return nets;
}

Result<std::map<std::string, Community, std::less<>>> read_communities(const json::object& spec) {
  std::map<std::string, Community, std::less<>> named;
  TRY(const auto entries, fields::objects_at(spec, "communities"));
  for (const auto* entry : entries) {
    TRY(const auto name, fields::string_at(*entry, "name"));
    TRY(const auto value, fields::string_at(*entry, "value"));
    const auto community = Community::parse(value);
    if (!community)
      return fields::wrong("communities", json::value(value), "must be a community such as 65000:1");
    named.insert_or_assign(std::string(name), *community);
  }
  return named;
}

Result<std::optional<std::vector<BgpConfiguration::Advertisement>>> read_advertisements(
    const json::object& spec) {
  if (fields::find(spec, "prefixAdvertisements") == nullptr) return std::nullopt;
  TRY(const auto named, read_communities(spec));
  TRY(const auto entries, fields::objects_at(spec, "prefixAdvertisements"));
  std::vector<BgpConfiguration::Advertisement> advertisements;
  for (const auto* entry : entries) {
    BgpConfiguration::Advertisement advertisement;
    TRY(const auto text, fields::string_at(*entry, "cidr"));
    const auto cidr = Prefix::parse(text, true);
    if (!cidr) return fields::wrong("prefixAdvertisements", json::value(text), "must be a CIDR");
    advertisement.cidr = cidr->masked();
    TRY(const auto communities, fields::strings_at(*entry, "communities"));
    for (const auto& word : communities) {
      const auto known = named.find(word);
      const auto community = known == named.end() ? Community::parse(word) : std::optional(known->second);
      if (!community)
        return fields::wrong("prefixAdvertisements", json::value(word),
                             "must be a community, or the name of one");
      advertisement.communities.push_back(*community);
    }
    advertisements.push_back(std::move(advertisement));
  }
  return advertisements;
}

Result<void> read_router(const json::object& spec, BgpConfiguration& configuration) {
  TRY(configuration.as_number, as_number_at(spec, "asNumber"));
  if (fields::find(spec, "nodeToNodeMeshEnabled") != nullptr) {
    TRY(configuration.mesh, fields::bool_at(spec, "nodeToNodeMeshEnabled"));
  }
  TRY(const auto bind, fields::string_at(spec, "bindMode"));
  if (bind == "NodeIP") configuration.bind_mode = BgpConfiguration::BindMode::kNodeAddress;
  if (bind == "None") configuration.bind_mode = BgpConfiguration::BindMode::kAny;
  TRY(const auto programs, fields::string_at(spec, "programClusterRoutes"));
  using Programs = BgpConfiguration::Programs;
  if (programs == "Enabled") configuration.programs = Programs::kAll;
  if (programs == "Disabled") configuration.programs = Programs::kNone;
  if (programs == "EnabledIPIPOnly") configuration.programs = Programs::kIpipOnly;
  if (programs == "EnabledNoEncapOnly") configuration.programs = Programs::kNoEncapsulationOnly;
  TRY(const auto port, fields::integer_at(spec, "listenPort", 1, 65535));
  configuration.listen_port = narrowed<std::uint16_t>(port);
  TRY(const auto severity, fields::string_at(spec, "logSeverityScreen"));
  configuration.log_severity = severity;
  TRY(configuration.ignored_interfaces, fields::strings_at(spec, "ignoredInterfaces"));
  for (const auto& pattern : configuration.ignored_interfaces) {
    if (const auto rule = schema::find_text_check("ignoredInterface")(pattern); !rule.empty())
      return fields::wrong("ignoredInterfaces", json::value(pattern), rule);
  }
  for (const auto& [name, index] :
       {std::pair{"ipv4NormalRoutePriority", 0}, {"ipv6NormalRoutePriority", 1}}) {
    TRY(const auto metric, fields::integer_at(spec, name, 1, kMostMetric));
    configuration.priorities.at(static_cast<std::size_t>(index)) = narrowed<std::uint32_t>(metric);
  }
  TRY(configuration.workload_peering[0], address_at(spec, "localWorkloadPeeringIPV4", Family::kIpv4));
  TRY(configuration.workload_peering[1], address_at(spec, "localWorkloadPeeringIPV6", Family::kIpv6));
  TRY(configuration.mesh_restart_time, seconds_at(spec, "nodeMeshMaxRestartTime"));
  TRY(configuration.mesh_password, secret_at(spec, "nodeMeshPassword"));
  return {};
}

Result<void> read_told(const json::object& spec, BgpConfiguration& configuration) {
  TRY(configuration.advertisements, read_advertisements(spec));
  TRY(configuration.service_cluster_nets, service_nets_at(spec, "serviceClusterIPs"));
  TRY(configuration.service_external_nets, service_nets_at(spec, "serviceExternalIPs"));
  TRY(configuration.service_load_balancer_nets, service_nets_at(spec, "serviceLoadBalancerIPs"));
  TRY(const auto aggregation, fields::string_at(spec, "serviceLoadBalancerAggregation"));
  configuration.aggregates_load_balancers = aggregation != "Disabled";
  return {};
}

// --- BGPPeer

Result<void> read_peer_address(const json::object& spec, BgpPeer& peer) {
  TRY(const auto text, text_as(spec, "peerIP", "IP:port"));
  if (text.empty()) return {};
  peer.address = IpAddress::parse(text);
  if (peer.address) return {};
  const auto colon = text.rfind(':');
  const auto host = std::string_view(text).substr(0, colon);
  peer.address = IpAddress::parse(host.starts_with('[') ? host.substr(1, host.size() - 2) : host);
  peer.port = static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)));  // the check has seen both
  return {};
}

Result<void> read_whom(const json::object& spec, BgpPeer& peer) {
  TRY(const auto node, fields::string_at(spec, "node"));
  peer.node = node;
  for (const auto& [name, target] : {std::pair{"nodeSelector", &peer.node_selector},
                                     {"peerSelector", &peer.peer_selector},
                                     {"localWorkloadSelector", &peer.local_workload_selector}}) {
    TRY(*target, fields::selector_at(spec, name));
  }
  TRY_VOID(read_peer_address(spec, peer));
  TRY(const auto number, as_number_at(spec, "asNumber"));
  peer.as_number = number.value_or(0);
  TRY(peer.local_as_number, as_number_at(spec, "localASNumber"));
  TRY(const auto reverse, fields::string_at(spec, "reversePeering"));
  peer.reverse = reverse != "Manual";
  return {};
}

Result<void> read_how(const json::object& spec, BgpPeer& peer) {
  TRY(peer.filters, fields::strings_at(spec, "filters"));
  TRY(const auto keep, fields::bool_at(spec, "keepOriginalNextHop"));
  TRY(const auto next_hop, fields::string_at(spec, "nextHopMode"));
  peer.next_hop = keep || next_hop == "Keep" ? BgpPeer::NextHop::kKeep
                  : next_hop == "Self"       ? BgpPeer::NextHop::kSelf
                                             : BgpPeer::NextHop::kAuto;
  TRY(const auto source, fields::string_at(spec, "sourceAddress"));
  peer.from_node_address = source != "None";
  TRY(peer.password, secret_at(spec, "password"));
  TRY(peer.restart_time, seconds_at(spec, "maxRestartTime"));
  TRY(peer.keepalive_time, seconds_at(spec, "keepaliveTime"));
  TRY(const auto allowed, fields::integer_at(spec, "numAllowedLocalASNumbers", 0, INT32_MAX));
  peer.allowed_local_as_numbers = narrowed<std::uint32_t>(allowed);
  TRY(const auto hops, fields::integer_at(spec, "ttlSecurity", 0, 255));
  peer.ttl_hops = narrowed<std::uint8_t>(hops);
  TRY(peer.reachable_by, address_at(spec, "reachableBy"));
  return {};
}

// --- BGPFilter

Result<Community> read_community(const json::value& value) {
  const auto text = fields::text_of(value);
  const auto community = text ? Community::parse(*text) : std::nullopt;
  if (!community)
    return fields::wrong("communities", value, "must be a community such as 65000:1 or 65000:1:2");
  return *community;
}

Result<BgpFilterRule::Operation> read_operation(const json::object& operation) {
  TRY(const auto* add, fields::object_at(operation, "addCommunity"));
  if (add != nullptr) {
    const auto* value = fields::find(*add, "value");
    if (value == nullptr) return fields::wrong("addCommunity.value", "must be there");
    TRY(const auto community, read_community(*value));
    return BgpFilterRule::AddCommunity{community};
  }
  TRY(const auto* prepend, fields::object_at(operation, "prependASPath"));
  if (prepend != nullptr) {
    TRY(auto prefix, as_numbers_at(*prepend, "prefix"));
    return BgpFilterRule::PrependAsPath{std::move(prefix)};
  }
  TRY(const auto* set, fields::object_at(operation, "setPriority"));
  if (set == nullptr)
    return fields::wrong("operations", "must be addCommunity, prependASPath or setPriority");
  TRY(const auto metric, fields::integer_at(*set, "value", 1, kMostMetric));
  if (!metric) return fields::wrong("setPriority.value", "must be there");
  return BgpFilterRule::SetPriority{static_cast<std::uint32_t>(*metric)};
}

Result<void> read_prefix_match(const json::object& object, Family family, BgpFilterRule& rule) {
  TRY(const auto cidr, fields::string_at(object, "cidr"));
  if (!cidr.empty()) {
    const auto prefix = Prefix::parse(cidr, true);
    if (!prefix || prefix->family() != family)
      return fields::wrong("cidr", json::value(cidr), "must be a CIDR of the rule's family");
    rule.cidr = prefix->masked();
    TRY(const auto match, fields::string_at(object, "matchOperator"));
    using Match = BgpFilterRule::Match;
    if (match != "Equal" && match != "NotEqual" && match != "In" && match != "NotIn")
      return fields::wrong("matchOperator", json::value(match), "must be Equal, NotEqual, In or NotIn");
    rule.match = match == "Equal"      ? Match::kEqual
                 : match == "NotEqual" ? Match::kNotEqual
                 : match == "In"       ? Match::kIn
                                       : Match::kNotIn;
  }
  TRY(const auto* length, fields::object_at(object, "prefixLength"));
  if (length == nullptr) return {};
  for (const auto& [name, target] : {std::pair{"min", &rule.least_length}, {"max", &rule.most_length}}) {
    const auto bits = fields::integer_at(*length, name, 0, bits_of(family));
    if (!bits) return fields::inside("prefixLength", bits.error());
    *target = narrowed<std::uint8_t>(*bits);
  }
  return {};
}

Result<BgpFilterRule> read_filter_rule(const json::object& object, Family family) {
  BgpFilterRule rule;
  TRY(const auto action, fields::string_at(object, "action"));
  if (action != "Accept" && action != "Reject")
    return fields::wrong("action", json::value(action), "must be Accept or Reject");
  rule.accept = action == "Accept";
  TRY_VOID(read_prefix_match(object, family, rule));
  TRY(rule.interface_name, text_as(object, "interface", "bgpFilterInterface"));
  TRY(const auto source, fields::string_at(object, "source"));
  rule.from_remote_peers = source == "RemotePeers";
  if (!source.empty() && !rule.from_remote_peers)
    return fields::wrong("source", json::value(source), "must be RemotePeers");
  TRY(const auto type, fields::string_at(object, "peerType"));
  if (type == "eBGP") rule.peer_type = BgpFilterRule::PeerType::kExternal;
  if (type == "iBGP") rule.peer_type = BgpFilterRule::PeerType::kInternal;
  if (!type.empty() && !rule.peer_type)
    return fields::wrong("peerType", json::value(type), "must be eBGP or iBGP");
  TRY(const auto* communities, fields::object_at(object, "communities"));
  if (communities != nullptr) {
    const auto values = fields::array_at(*communities, "values");
    if (!values) return fields::inside("communities", values.error());
    if (*values == nullptr || (*values)->size() != 1)
      return fields::wrong("communities.values", "must have one entry");
    TRY(rule.community, read_community((*values)->front()));
  }
  TRY(rule.as_path_prefix, as_numbers_at(object, "asPathPrefix"));
  TRY(const auto priority, fields::integer_at(object, "priority", 1, kMostMetric));
  rule.priority = narrowed<std::uint32_t>(priority);
  TRY(const auto operations, fields::objects_at(object, "operations"));
  for (std::size_t i = 0; i < operations.size(); ++i) {
    auto operation = read_operation(*operations[i]);
    if (!operation) return fields::inside("operations", i, operation.error());
    rule.operations.push_back(*std::move(operation));
  }
  return rule;
}

Result<std::vector<BgpFilterRule>> read_filter_rules(const json::object& spec, std::string_view name,
                                                     Family family) {
  TRY(const auto entries, fields::objects_at(spec, name));
  std::vector<BgpFilterRule> rules;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto rule = read_filter_rule(*entries[i], family);
    if (!rule) return fields::inside(name, i, rule.error());
    rules.push_back(*std::move(rule));
  }
  return rules;
}

// The value that `read` fills in from the spec; an error says that it is there.
template <class T, class Read>
Result<T> from_spec(Kind kind, const json::object& document, Read read) {
  T value;
  TRY(value.metadata, read_identity(kind, document));
  TRY(const auto* spec, fields::object_at(document, "spec"));
  if (spec == nullptr) return value;
  if (const auto done = read(*spec, value); !done) return fields::inside("spec", done.error());
  return value;
}

}  // namespace

Result<BgpConfiguration> bgp_configuration(const json::object& document) {
  return from_spec<BgpConfiguration>(Kind::kBgpConfiguration, document,
                                     [](const json::object& spec, BgpConfiguration& value) -> Result<void> {
                                       TRY_VOID(read_router(spec, value));
                                       return read_told(spec, value);
                                     });
}

Result<BgpPeer> bgp_peer(const json::object& document) {
  return from_spec<BgpPeer>(Kind::kBgpPeer, document,
                            [](const json::object& spec, BgpPeer& value) -> Result<void> {
                              TRY_VOID(read_whom(spec, value));
                              return read_how(spec, value);
                            });
}

Result<BgpFilter> bgp_filter(const json::object& document) {
  return from_spec<BgpFilter>(
      Kind::kBgpFilter, document, [](const json::object& spec, BgpFilter& value) -> Result<void> {
        TRY(value.export_rules[0], read_filter_rules(spec, "exportV4", Family::kIpv4));
        TRY(value.export_rules[1], read_filter_rules(spec, "exportV6", Family::kIpv6));
        TRY(value.import_rules[0], read_filter_rules(spec, "importV4", Family::kIpv4));
        TRY(value.import_rules[1], read_filter_rules(spec, "importV6", Family::kIpv6));
        return {};
      });
}

std::optional<AsNumber> read_as_number(const json::value& value) {
  return as_number_of(value);
}

}  // namespace ocicat::decoding
