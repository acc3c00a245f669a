#include "policy/host_settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time_text.h"
#include "policy/settings_in_effect.h"
#include "resources/labels.h"

namespace ocicat {

namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool selects(const FelixConfiguration& configuration, const Labels& labels) {
  if (configuration.node_selector.empty()) return false;
  const auto selector = Selector::parse(configuration.node_selector);
  return selector && selector->matches(LabelsOf{labels});
}

// In falling precedence.
std::vector<const FelixConfiguration*> sources_of(const FelixConfigurations& configurations,
                                                  const std::optional<std::string>& node,
                                                  const Labels& labels) {
  std::vector<const FelixConfiguration*> sources;
  const auto add = [&](const std::string& name) {
    if (const auto it = configurations.find(name); it != configurations.end()) sources.push_back(&it->second);
  };
  if (node) {
    add("node." + *node);
    for (const auto& [name, configuration] : configurations) {
      if (name == "default" || name.starts_with("node.") || !selects(configuration, labels)) continue;
      sources.push_back(&configuration);
      break;
    }
  }
  add("default");
  return sources;
}

bool is_interface_prefix(const std::string& text) {
  return !text.empty() && text.size() <= 15 && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const auto c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::optional<bool> parse_bool(const std::string& text) {
  const auto word = lower(text);
  for (const auto* yes : {"true", "1", "yes", "y", "t"}) {
    if (word == yes) return true;
  }
  for (const auto* no : {"false", "0", "no", "n", "f"}) {
    if (word == no) return false;
  }
  return std::nullopt;
}

// At least 1.
std::optional<std::uint32_t> parse_number(const std::string& text, std::uint32_t most) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number == 0 || number > most)
    return std::nullopt;
  return number;
}

std::optional<std::uint16_t> parse_port(const std::string& text) {
  return parse_number(text, 0xffff);
}

// "0xffff0000" or a number; at least one bit.
std::optional<std::uint32_t> parse_mask(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  std::uint32_t mask = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mask, hex ? 16 : 10);
  if (error != std::errc{} || end != text.data() + text.size() || mask == 0) return std::nullopt;
  return mask;
}

HostSettings::ServiceLoops parse_service_loops(const std::string& text) {
  const auto word = lower(text);
  if (word == "reject") return HostSettings::ServiceLoops::kReject;
  if (word == "disabled") return HostSettings::ServiceLoops::kForward;
  return HostSettings::ServiceLoops::kDrop;
}

// Nothing where one of them cannot be read.
std::vector<Prefix> parse_nets(const std::string& text) {
  std::vector<Prefix> nets;
  for (const auto& part : split(text)) {
    const auto net = Prefix::parse(part, true);
    if (!net) return {};
    nets.push_back(net->masked());
  }
  return nets;
}

// Whoever may reach them.
std::vector<Prefix> services_of(const BgpConfiguration& configuration) {
  auto nets = configuration.service_cluster_nets;
  for (const auto* more : {&configuration.service_external_nets, &configuration.service_load_balancer_nets})
    nets.insert(nets.end(), more->begin(), more->end());
  std::ranges::sort(nets);
  nets.erase(std::ranges::unique(nets).begin(), nets.end());
  return nets;
}

HostSettings::Overlays overlays_of(const std::map<std::string, IpPool>& pools) {
  HostSettings::Overlays overlays;
  constexpr auto kNever = IpPool::Encapsulation::kNever;
  for (const auto& [name, pool] : pools) {
    const bool v4 = pool.cidr.family() == Family::kIpv4;
    if (pool.vxlan != kNever) (v4 ? overlays.vxlan4 : overlays.vxlan6) = true;
    if (pool.ipip != kNever) overlays.ipip = true;
  }
  return overlays;
}

// "N" or "N:M"; nothing: any.
std::pair<std::uint16_t, std::uint16_t> parse_port_range(const std::string& text) {
  const auto colon = text.find(':');
  const auto first = parse_port(text.substr(0, colon));
  const auto last = colon == std::string::npos ? first : parse_port(text.substr(colon + 1));
  if (!first || !last || *first > *last) return {};
  return {*first, *last};
}

HostSettings::NatOutgoing nat_of(const std::map<std::string, IpPool>& pools) {
  HostSettings::NatOutgoing nat;
  for (const auto& [name, pool] : pools) {
    // Addresses of services alone are nobody's own.
    if (pool.allowed_uses == static_cast<std::uint8_t>(PoolUse::kLoadBalancer)) continue;
    nat.inside.push_back(pool.cidr);
    if (pool.nat_outgoing) nat.sources.push_back(pool.cidr);
  }
  std::ranges::sort(nat.inside);
  std::ranges::sort(nat.sources);
  return nat;
}

// One of "NAME=VALUE,…"; nothing: it is not among them, or says neither yes nor no.
std::optional<bool> parse_override(const std::string& text, std::string_view name) {
  for (const auto& entry : split(text)) {
    const auto equals = entry.find('=');
    if (equals != std::string::npos && entry.substr(0, equals) == name)
      return parse_bool(entry.substr(equals + 1));
  }
  return std::nullopt;
}

// "10/minute"; what cannot be read limits nothing.
HostSettings::LogLimit parse_log_limit(const std::string& text) {
  using std::chrono::seconds;
  const auto slash = text.find('/');
  const auto lines = parse_number(text.substr(0, slash), 9999);
  if (!lines || slash == std::string::npos) return {};
  for (const auto& [unit, per] : {std::pair{"second", seconds(1)},
                                  {"minute", std::chrono::minutes(1)},
                                  {"hour", std::chrono::hours(1)},
                                  {"day", std::chrono::hours(24)}}) {
    if (text.substr(slash + 1) == unit) return {.lines = *lines, .per = per};
  }
  return {};
}

// "1.5", seconds, or "1m30s"; more than nothing, and not more than a week.
std::optional<std::chrono::milliseconds> parse_time_span(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_bare = error == std::errc{} && end == text.data() + text.size();
  const auto seconds = is_bare ? std::optional(number) : seconds_of(text);
  if (!seconds || !(*seconds > 0)) return std::nullopt;
  using Seconds = std::chrono::duration<double>;
  return std::chrono::ceil<std::chrono::milliseconds>(
      std::min(Seconds(*seconds), Seconds(HostSettings::Timeouts::kLongest)));
}

// "tcpSynSent=20s,udpTimeout=Auto"; Auto, and what cannot be read, is the built-in value.
HostSettings::Timeouts parse_timeouts(const std::string& text) {
  HostSettings::Timeouts timeouts;
  const std::map<std::string_view, std::chrono::milliseconds*> names{
      {"tcpsynsent", &timeouts.tcp_opening}, {"tcpestablished", &timeouts.tcp},
      {"tcpfinsseen", &timeouts.tcp_ended},  {"tcpresetseen", &timeouts.tcp_reset},
      {"udptimeout", &timeouts.udp},         {"icmptimeout", &timeouts.icmp},
      {"generictimeout", &timeouts.others}};
  for (const auto& entry : split(text)) {
    const auto equals = entry.find('=');
    const auto name = names.find(lower(entry.substr(0, equals)));
    if (equals == std::string::npos || name == names.end()) continue;
    *name->second = parse_time_span(entry.substr(equals + 1)).value_or(*name->second);
  }
  return timeouts;
}

// What the configuration named `node.<host>` says of it, else `default`.
OpenConnections open_connections_of(const AgentConfigurations& configurations,
                                    const std::optional<std::string>& node) {
  for (const auto& name : {node ? "node." + *node : std::string(), std::string("default")}) {
    const auto found = configurations.find(name);
    if (found != configurations.end() && found->second.open_connections)
      return *found->second.open_connections;
  }
  return OpenConnections::kFollowPolicy;
}

HostSettings::WayBack parse_way_back(const std::string& text) {
  const auto word = lower(text);
  if (word == "strict") return HostSettings::WayBack::kStrict;
  return word == "disabled" ? HostSettings::WayBack::kUnchecked : HostSettings::WayBack::kLoose;
}

// Netkit is of devices that no workload has here.
HostSettings::AttachType parse_attach_type(const std::string& text) {
  const auto word = lower(text);
  if (word == "tc") return HostSettings::AttachType::kTc;
  return word == "tcx" ? HostSettings::AttachType::kTcx : HostSettings::AttachType::kBest;
}

HostSettings::ToHost parse_to_host(const std::string& text) {
  const auto word = lower(text);
  if (word == "accept") return HostSettings::ToHost::kAccept;
  if (word == "return") return HostSettings::ToHost::kReturn;
  return HostSettings::ToHost::kDrop;
}

}  // namespace

HostSettings resolve_settings(const FelixConfigurations& configurations,
                              const std::optional<std::string>& node, const Labels& labels,
                              const NetworkResources& network,
                              const AgentConfigurations& agent_configurations) {
  const auto sources = sources_of(configurations, node, labels);
  const auto value = [&](const std::string& field) -> const std::string* {
    CHECK(find_setting(field) != nullptr);
    for (const auto* source : sources) {
      const auto it = source->values.find(field);
      if (it != source->values.end() && !it->second.empty()) return &it->second;
    }
    return nullptr;
  };
  const auto mtu = [&](const std::string& field) -> std::uint32_t {
    const auto* text = value(field);
    return text == nullptr ? 0 : parse_number(*text, 0xffff).value_or(0);
  };
  HostSettings settings;
  if (const auto* text = value("interfacePrefix")) {
    auto prefixes = split(*text);
    if (std::ranges::all_of(prefixes, is_interface_prefix)) settings.workload_prefixes = std::move(prefixes);
  }
  if (const auto* text = value("defaultEndpointToHostAction"))
    settings.endpoint_to_host = parse_to_host(*text);
  if (const auto* text = value("disableConntrackInvalidCheck")) {
    settings.drop_invalid = !parse_bool(*text).value_or(false);
  }
  if (const auto* text = value("bpfEnforceRPF")) settings.way_back = parse_way_back(*text);
  if (const auto* text = value("bpfAttachType")) settings.attach_type = parse_attach_type(*text);
  if (const auto* text = value("bpfRedirectToPeer")) settings.redirect = lower(*text) != "disabled";
  if (const auto* text = value("xdpEnabled")) settings.at_driver = parse_bool(*text).value_or(true);
  if (const auto* text = value("iptablesFilterDenyAction")) settings.reject = lower(*text) == "reject";
  if (const auto* text = value("nftablesFilterDenyAction"))
    settings.nftables_rejects = lower(*text) == "reject";
  auto& encapsulation = settings.encapsulation;
  if (const auto* text = value("allowVXLANPacketsFromWorkloads")) {
    encapsulation.allow_vxlan = parse_bool(*text).value_or(false);
  }
  if (const auto* text = value("allowIPIPPacketsFromWorkloads")) {
    encapsulation.allow_ipip = parse_bool(*text).value_or(false);
  }
  if (const auto* text = value("vxlanPort")) encapsulation.vxlan_port = parse_port(*text).value_or(4789);
  for (const auto& [field, ports] : {std::pair{"failsafeInboundHostPorts", &settings.failsafes.inbound},
                                     {"failsafeOutboundHostPorts", &settings.failsafes.outbound}}) {
    const auto* text = value(field);
    if (text == nullptr) continue;
    if (auto parsed = policy::parse_failsafes(*text)) *ports = *std::move(parsed);
  }
  if (const auto* text = value("nftablesMarkMask")) {
    if (const auto mask = parse_mask(*text)) {
      settings.accept_mark = *mask & -*mask;
      const auto rest = *mask & ~settings.accept_mark;
      settings.revoked_mark = rest == 0 ? settings.accept_mark : rest & -rest;
      const auto last = rest & ~settings.revoked_mark;
      settings.elsewhere_mark = last & -last;
    }
  }
  if (const auto* text = value("workloadSourceSpoofing")) settings.allow_spoofing = lower(*text) == "any";
  settings.overlays = overlays_of(network.pools);
  for (const auto& [field, target] :
       {std::pair{"vxlanEnabled", &settings.overlays.vxlan4}, {"ipipEnabled", &settings.overlays.ipip}}) {
    if (const auto* text = value(field)) *target = parse_bool(*text).value_or(*target);
  }
  const auto wireguard_port = [&](const char* enabled, const char* port,
                                  std::uint16_t usual) -> std::uint16_t {
    const auto* on = value(enabled);
    if (on == nullptr || !parse_bool(*on).value_or(false)) return 0;
    const auto* text = value(port);
    return text == nullptr ? usual : parse_port(*text).value_or(usual);
  };
  settings.overlays.wireguard_ports = {
      wireguard_port("wireguardEnabled", "wireguardListeningPort", 51820),
      wireguard_port("wireguardEnabledV6", "wireguardListeningPortV6", 51821)};
  if (const auto* text = value("vxlanVNI"))
    settings.overlays.vni = parse_number(*text, 0xffffff).value_or(settings.overlays.vni);
  settings.overlays.mtus = {mtu("vxlanMTU"), mtu("vxlanMTUV6")};
  settings.overlays.ipip_mtu = mtu("ipipMTU");
  if (const auto* text = value("featureDetectOverride"))
    settings.overlays.checksum_offload_broken = parse_override(*text, "ChecksumOffloadBroken");
  if (const auto* text = value("mtuIfacePattern")) settings.uplinks = *text;
  if (const auto* text = value("externalNodesList")) settings.overlays.external_nodes = parse_nets(*text);
  if (const auto* text = value("serviceLoopPrevention")) settings.service_loops = parse_service_loops(*text);
  if (const auto it = network.bgp_configurations.find("default"); it != network.bgp_configurations.end())
    settings.service_nets = services_of(it->second);
  settings.nat = nat_of(network.pools);
  if (const auto* text = value("natOutgoingAddress")) {
    const auto address = IpAddress::parse(*text);
    if (address && address->is_v4()) settings.nat.address = address;
  }
  if (const auto* text = value("natOutgoingExclusions"))
    settings.nat.hosts_inside = lower(*text) == "ippoolsandhostips";
  if (const auto* text = value("natPortRange")) settings.nat.ports = parse_port_range(*text);
  if (const auto* text = value("iptablesNATOutgoingInterfaceFilter")) settings.nat.interface = *text;
  if (const auto* text = value("floatingIPs")) settings.floating_addresses = lower(*text) == "enabled";
  if (const auto* text = value("logPrefix")) settings.log_prefix = lower(*text) == "none" ? "" : *text;
  if (const auto* text = value("logActionRateLimit")) settings.log_limit = parse_log_limit(*text);
  if (const auto* text = value("logActionRateLimitBurst"))
    settings.log_limit.burst = parse_number(*text, 9999).value_or(settings.log_limit.burst);
  if (const auto* text = value("flowLogsFlushInterval"))
    settings.flow_window = parse_time_span(*text).value_or(settings.flow_window);
  if (const auto* text = value("bpfConntrackTimeouts")) settings.timeouts = parse_timeouts(*text);
  settings.open_connections = open_connections_of(agent_configurations, node);
  return settings;
}

}  // namespace ocicat
