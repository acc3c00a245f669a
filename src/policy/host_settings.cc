#include "policy/host_settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

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

std::optional<std::uint16_t> parse_port(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
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

HostSettings::ToHost parse_to_host(const std::string& text) {
  const auto word = lower(text);
  if (word == "accept") return HostSettings::ToHost::kAccept;
  if (word == "return") return HostSettings::ToHost::kReturn;
  return HostSettings::ToHost::kDrop;
}

}  // namespace

HostSettings resolve_settings(const FelixConfigurations& configurations,
                              const std::optional<std::string>& node, const Labels& labels) {
  const auto sources = sources_of(configurations, node, labels);
  const auto value = [&](const std::string& field) -> const std::string* {
    for (const auto* source : sources) {
      const auto it = source->values.find(field);
      if (it != source->values.end() && !it->second.empty()) return &it->second;
    }
    return nullptr;
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
  if (const auto* text = value("iptablesFilterDenyAction")) settings.reject = lower(*text) == "reject";
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
    if (const auto mask = parse_mask(*text)) settings.accept_mark = *mask & -*mask;
  }
  if (const auto* text = value("workloadSourceSpoofing")) settings.allow_spoofing = lower(*text) == "any";
  if (const auto* text = value("logPrefix")) settings.log_prefix = lower(*text) == "none" ? "" : *text;
  return settings;
}

}  // namespace ocicat
