// Rules of FelixConfiguration.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <string>

#include "base/ip.h"
#include "resources/rules_scope.h"

namespace ocicat::rules {

namespace json = boost::json;

namespace {

constexpr std::int64_t kMaxTable = 0xffffffff;
constexpr std::int64_t kMaxTables = 65535;

void check_selector(const Scope& spec, std::string_view name) {
  if (!spec.is_set("nodeSelector")) return;
  if (name == "default" || name.starts_with("node.")) {
    return spec.complain("nodeSelector",
                         "must be left out here; it is for configurations with names of their own");
  }
  // Calico ignores a configuration whose selector it cannot read. Nobody means that.
  if (auto rule = schema::check_text("selector", spec.text("nodeSelector")); !rule.empty()) {
    spec.complain("nodeSelector", std::move(rule));
  }
}

void check_route_tables(const Scope& spec) {
  if (spec.has("routeTableRange") && spec.has("routeTableRanges")) {
    spec.complain("routeTableRange", "cannot be combined with routeTableRanges, which replaces it");
  }
  spec.in("routeTableRange", [&](const Scope& range) {
    const auto min = range.number("min");
    const auto max = range.number("max");
    if (min && max && !(1 <= *min && *min <= *max && *max <= 250)) {
      spec.complain("routeTableRange", "must be from 1 to 250, min before max");
    }
  });
  std::int64_t tables = 0;
  spec.each("routeTableRanges", [&](const Scope& range) {
    const auto min = range.number("min");
    const auto max = range.number("max");
    if (!min || !max) return;
    if (*min < 1 || *min > *max) return range.complain("min must be at least 1 and not above max");
    if (*max > kMaxTable) return range.complain("max", fmt::format("must be at most {}", kMaxTable));
    tables += std::min(*max - *min + 1, kMaxTables + 1);
  });
  if (tables > kMaxTables) {
    spec.complain("routeTableRanges", fmt::format("must name at most {} tables together", kMaxTables));
  }
}

void check_address(const Scope& spec, std::string_view key, Family family) {
  if (!spec.is_set(key)) return;
  auto rule = schema::check_text(family == Family::kIpv4 ? "ipv4" : "ipv6", spec.text(key));
  if (!rule.empty()) spec.complain(key, std::move(rule));
}

void check_failsafe(const Scope& port) {
  const auto protocol = port.text("protocol");
  if (port.is_set("protocol") && protocol != "TCP" && protocol != "UDP" && protocol != "SCTP") {
    port.complain("protocol", "must be one of TCP, UDP, SCTP");
  }
  const auto number = port.number("port");
  if (number && (*number < 0 || *number > 65535)) port.complain("port", "must be from 0 to 65535");
  if (!port.is_set("net")) return;
  if (auto rule = schema::check_text("cidr", port.text("net")); !rule.empty())
    port.complain("net", std::move(rule));
}

void check_health_timeout(const Scope& entry) {
  static const re2::RE2 kName("[a-zA-Z0-9_ -]+");
  const auto name = entry.text("name");
  if (entry.has("name") && !re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), kName)) {
    entry.complain("name", "must be letters, digits, _, - and blanks");
  }
  if (entry.text("timeout").starts_with('-')) entry.complain("timeout", "must not be negative");
}

}  // namespace

void check_felix_configuration(const Scope& document) {
  std::string_view name;
  document.in("metadata", [&](const Scope& metadata) { name = metadata.text("name"); });
  document.in("spec", [&](const Scope& spec) {
    check_selector(spec, name);
    check_route_tables(spec);
    check_address(spec, "natOutgoingAddress", Family::kIpv4);
    check_address(spec, "deviceRouteSourceAddress", Family::kIpv4);
    check_address(spec, "deviceRouteSourceAddressIPv6", Family::kIpv6);
    spec.each_text("kubeNodePortRanges", [&](std::size_t i, std::string_view range) {
      if (range.find_first_not_of("0123456789:") != std::string_view::npos) {
        spec.complain("kubeNodePortRanges", i, "must be a port or a range of ports, not a name");
      }
    });
    spec.each_text("externalNodesList", [&](std::size_t i, std::string_view net) {
      if (auto rule = schema::check_text("cidrv4", net); !rule.empty()) {
        spec.complain("externalNodesList", i, std::move(rule));
      }
    });
    constexpr std::size_t kMaxRegion = 63 - std::string_view("openstack-region-").size();
    const auto region = spec.text("openstackRegion");
    if (!region.empty() && (region.size() > kMaxRegion || !schema::check_dns_label(region).empty())) {
      spec.complain("openstackRegion",
                    fmt::format("must be a name of a-z, 0-9 and -, at most {} characters", kMaxRegion));
    }
    spec.each("failsafeInboundHostPorts", check_failsafe);
    spec.each("failsafeOutboundHostPorts", check_failsafe);
    spec.each("healthTimeoutOverrides", check_health_timeout);
  });
}

}  // namespace ocicat::rules
